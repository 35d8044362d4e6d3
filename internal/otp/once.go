package otp

import (
	"encoding/binary"
	"errors"
	"time"

	"wabek/internal/keys"
)

// OnceLife is how long an answer is remembered under its idempotency key.
const OnceLife = 24 * time.Hour

// ErrKeyReused says that an idempotency key came before with a request that says something else.
var ErrKeyReused = errors.New("idempotency key was used for another request")

// Replay is the answer that a request with the same idempotency key and content got before. Nothing was done for
// this one.
type Replay struct { //nolint:errname // an answer more than an error
	Answer []byte
}

// Error says that it is a replay; the answer isn't in it.
func (r *Replay) Error() string { return "answered before" }

// OnceHash is HMAC-SHA-256, cut to 16 bytes.
type OnceHash [16]byte

// Once makes an operation happen once per idempotency key: the store keeps the answer in the transaction that makes
// the change, and returns it for OnceLife wherever the key comes again. Only what an operation answers when its rule
// agrees is kept, so a refusal may be tried again.
//
// See the draft of the IETF, draft-ietf-httpapi-idempotency-key-header-07.
type Once struct {
	Key    OnceHash // of the app, the operation and the client's key
	Body   OnceHash // of what was asked
	Answer func() []byte
}

// NewOnce makes a Once for a client's key and the content of its request. Both are hashed under a key of the ring:
// the content holds numbers and codes, which a bare hash would give away. Its Answer is to be set: it is called
// after the rule has agreed, perhaps more than once, and may not block.
func NewOnce(ring *keys.Ring, app, operation, key string, content []byte) *Once {
	return &Once{
		Key:  onceHash(ring, []byte(app), []byte(operation), []byte(key)),
		Body: onceHash(ring, []byte("content"), content),
	}
}

// Operations that idempotency keys are for.
const (
	OpIssue  = "issue"
	OpVerify = "verify"
	OpResend = "resend"
)

func onceHash(ring *keys.Ring, parts ...[]byte) OnceHash {
	text := []byte("once")
	for _, p := range parts {
		text = binary.BigEndian.AppendUint32(text, uint32(len(p))) //nolint:gosec // a request has at most 16 KiB
		text = append(text, p...)                                  // behind its length, so that no two lists of parts are one text
	}
	sum := ring.PhoneHashKey().Sum(text)
	return OnceHash(sum[:16])
}
