package callback

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrSecret says that a text is no secret of a webhook.
var ErrSecret = errors.New("a webhook's secret is whsec_ and base64 of 24 to 64 bytes")

const (
	secretPrefix  = "whsec_"
	leastSecret   = 24 // bytes; the bounds are those of Standard Webhooks
	longestSecret = 64
	newSecret     = 32
)

// The headers of Standard Webhooks.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// Secret signs callbacks. It prints as [secret]; Reveal is the one way out. The zero Secret signs nothing.
type Secret struct{ key []byte }

// NewSecret draws a secret of 32 bytes.
func NewSecret() Secret {
	key := make([]byte, newSecret)
	_, _ = rand.Read(key) // never fails
	return Secret{key}
}

// SecretOf is the secret of a key that is derived or kept elsewhere: 24 to 64 bytes. Of none it is the zero Secret.
func SecretOf(key []byte) Secret { return Secret{bytes.Clone(key)} }

// ParseSecret reads whsec_ and base64, as Reveal writes it. The error is ErrSecret.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || strings.ContainsAny(encoded, "\r\n") || // which the decoder passes over
		len(key) < leastSecret || len(key) > longestSecret {
		return Secret{}, ErrSecret
	}
	return Secret{key}, nil
}

// Reveal is the secret as a receiver needs it: whsec_ and base64.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(s.key)
}

// IsZero says that there is no secret.
func (s Secret) IsZero() bool { return len(s.key) == 0 }

// Equal compares in constant time.
func (s Secret) Equal(other Secret) bool { return hmac.Equal(s.key, other.key) }

// String hides the secret.
func (s Secret) String() string { return "[secret]" }

// GoString hides the secret.
func (s Secret) GoString() string { return "[secret]" }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the secret: it is kept by whoever reveals it on purpose.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// sign is v1 and base64 of the HMAC-SHA-256 of id, timestamp and body.
func (s Secret) sign(id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// sign makes the headers of a try now: with one signature for each secret in force, the current one first.
func (e Endpoint) sign(id string, now time.Time, body []byte) http.Header {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	var signatures bytes.Buffer
	signatures.WriteString(e.Secret.sign(id, timestamp, body))
	if !e.Previous.IsZero() && now.Before(e.PreviousUntil) {
		signatures.WriteString(" " + e.Previous.sign(id, timestamp, body))
	}
	// Without a value it isn't sent. It tells net/http that a callback may be sent again at once over another connection,
	// where the one at hand turns out to have ended: receivers end idle ones when they like.
	h := http.Header{"Idempotency-Key": nil}
	h.Set("Content-Type", "application/json")
	h.Set(headerID, id)
	h.Set(headerTimestamp, timestamp)
	h.Set(headerSignature, signatures.String())
	return h
}
