// Package job is what crosses the queue: send jobs one way, their statuses the other way.
//
// In: a recipient and a text. Out: an Envelope whose body is sealed for one pool, and Status values whose
// rank only rises. On failure: a Failure, which says by its class who may try again.
package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"wabek/internal/keys"
	"wabek/internal/phone"
)

// ID names a send job: lower-case letters, digits and dashes, at most 64. An OTP's first job has the OTP's own id.
type ID string

// Lane separates what must never wait from what may.
type Lane string

// The lanes.
const (
	LaneOTP    Lane = "otp"    // one-time passwords
	LaneNotice Lane = "notice" // invoice notices and other bulk, behind every OTP
)

// AnySession is the target of a job that every session of its pool may take.
const AnySession = "any"

// DefaultPool is the pool of a wabek that has just one.
const DefaultPool = "default"

// Errors of this package.
var (
	// ErrName says that an id, a pool or a session has characters that can't stand in a subject of the queue.
	ErrName = errors.New("malformed name")
	// ErrMalformed says that a message of the queue can't be read.
	ErrMalformed = errors.New("malformed message")
	// ErrNewerFormat says that a newer version of wabek wrote the message: leave it for one.
	ErrNewerFormat = errors.New("message has a newer format")
)

var (
	idPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	poolPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	sessPattern = regexp.MustCompile(`^[a-z0-9]{8}$`)
)

// ParseID checks an id that came from outside. The error wraps ErrName.
func ParseID(s string) (ID, error) {
	if !idPattern.MatchString(s) {
		return "", fmt.Errorf("%w: a job id is 1 to 64 of a-z, 0-9 and -", ErrName)
	}
	return ID(s), nil
}

// CheckPool checks the name of a pool: 1 to 32 of a-z, 0-9 and dash. The error wraps ErrName.
func CheckPool(s string) error {
	if !poolPattern.MatchString(s) {
		return fmt.Errorf("%w: a pool is named with 1 to 32 of a-z, 0-9 and -", ErrName)
	}
	return nil
}

// CheckSession checks the id of a session: 8 of a-z and 0-9. The error wraps ErrName.
func CheckSession(s string) error {
	if !sessPattern.MatchString(s) {
		return fmt.Errorf("%w: a session's id is 8 of a-z and 0-9", ErrName)
	}
	return nil
}

// Envelope is a send job on its way: everything that the queue must know is outside, the rest is sealed.
type Envelope struct {
	ID      ID
	Lane    Lane
	Pool    string
	Target  string    // AnySession, or the id of the session that must send it
	Expires time.Time // when the message stops being worth sending, by the clock of who issued it
	Sealed  []byte    // a Body, sealed under the pool's key and bound to ID, Lane and Pool
}

// Body is the secret part of a send job.
type Body struct {
	To        phone.Number
	Text      string    // what the phone shows
	MessageID string    // the WhatsApp id, the same for every try of the job
	Expires   time.Time // never send after this, to the millisecond
}

// Sealer seals bodies; keys.SealKeys does.
type Sealer interface {
	Seal(pool string, bind, plain []byte) ([]byte, error)
}

// Opener opens bodies; keys.SealKeys does.
type Opener interface {
	Open(pool string, bind, sealed []byte) ([]byte, error)
}

var (
	_ Sealer = (*keys.SealKeys)(nil)
	_ Opener = (*keys.SealKeys)(nil)
)

// bodyVersion is the format of a sealed body. A reader leaves a newer one alone.
const bodyVersion = 1

type bodyJSON struct {
	Version   int    `json:"v"`
	To        string `json:"to"`
	Text      string `json:"text"`
	MessageID string `json:"wa_id"`
	Expires   int64  `json:"exp"` // Unix milliseconds
}

// Seal makes the envelope of a body.
func Seal(s Sealer, id ID, lane Lane, pool string, b Body) (Envelope, error) {
	plain, err := json.Marshal(bodyJSON{
		Version: bodyVersion, To: b.To.E164(), Text: b.Text, MessageID: b.MessageID, Expires: b.Expires.UnixMilli(),
	})
	if err != nil {
		return Envelope{}, fmt.Errorf("encode job body: %w", err)
	}
	sealed, err := s.Seal(pool, bind(id, lane, pool), plain)
	if err != nil {
		return Envelope{}, fmt.Errorf("seal job: %w", err)
	}
	return Envelope{ID: id, Lane: lane, Pool: pool, Target: AnySession, Expires: b.Expires, Sealed: sealed}, nil
}

// Open reads the body of an envelope. Errors: keys.ErrNoKey, keys.ErrForged, ErrMalformed, and
// ErrNewerFormat for what a newer version wrote.
func Open(o Opener, e Envelope) (Body, error) {
	plain, err := o.Open(e.Pool, bind(e.ID, e.Lane, e.Pool), e.Sealed)
	switch {
	case errors.Is(err, keys.ErrNewerFormat):
		return Body{}, ErrNewerFormat
	case err != nil:
		return Body{}, fmt.Errorf("open job: %w", err)
	}
	var b bodyJSON
	if err := json.Unmarshal(plain, &b); err != nil {
		return Body{}, fmt.Errorf("%w: job body", ErrMalformed) // the cause would quote the body
	}
	if b.Version > bodyVersion {
		return Body{}, ErrNewerFormat
	}
	to, err := phone.Restore(b.To)
	if err != nil || b.Text == "" || b.MessageID == "" {
		return Body{}, fmt.Errorf("%w: job body lacks a part", ErrMalformed)
	}
	return Body{To: to, Text: b.Text, MessageID: b.MessageID, Expires: time.UnixMilli(b.Expires)}, nil
}

// bind ties a sealed body to its job: moved under another id, lane or pool it doesn't open.
func bind(id ID, lane Lane, pool string) []byte {
	return []byte("wabek job/" + string(lane) + "/" + pool + "/" + string(id))
}
