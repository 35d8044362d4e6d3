// Package keys holds every secret of wabek that is not a WhatsApp key: the operator's secret, the seal
// keys derived from it, and the data keys (pepper, phone hash, message id) wrapped under it.
//
// In: WABEK_SECRET, WABEK_POOL_KEYS and the wrapped keys of the record store. Out: sealed and opened
// job bodies, keys for digests. On failure: a sentinel error that names the setting, never a key.
package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Errors of this package.
var (
	// ErrShortSecret says that a secret has fewer than MinSecret characters.
	ErrShortSecret = errors.New("secret is too short")
	// ErrPoolKeys says that a list of pool keys can't be read.
	ErrPoolKeys = errors.New("malformed pool keys")
	// ErrNoKey says that the key which sealed something isn't among those held: another pool's,
	// or from before a rotation whose previous secret is not set.
	ErrNoKey = errors.New("no key for this sealed text")
	// ErrForged says that a sealed text doesn't open under the key that it names: it was altered,
	// or moved to another job, lane or pool.
	ErrForged = errors.New("sealed text does not open")
	// ErrNewerFormat says that a sealed text was written by a newer version of wabek: leave it for one.
	ErrNewerFormat = errors.New("sealed text has a newer format")
	// ErrWrongSecret says that the stored data keys were wrapped under another secret.
	ErrWrongSecret = errors.New("the stored keys do not open under this secret")
)

// MinSecret is the least number of characters of WABEK_SECRET: 32 characters of a password
// generator's base64 hold 192 bits.
const MinSecret = 32

// keyIDSize is the length in bytes of a key's public name.
const keyIDSize = 8

// adminKeySize is the length in bytes of the key for commands.
const adminKeySize = 16

// Secret is the operator's WABEK_SECRET. It prints as [secret], but for an unexported field of a struct that is printed
// whole: of those fmt asks no method.
type Secret struct{ text string }

// NewSecret takes the text of WABEK_SECRET; surrounding white space, as a file's last newline, doesn't count.
// The error wraps ErrShortSecret.
func NewSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	if len(text) < MinSecret {
		return Secret{}, fmt.Errorf("%w: it has %d characters, at least %d are needed (openssl rand -base64 48 makes one)",
			ErrShortSecret, len(text), MinSecret)
	}
	return Secret{text: text}, nil
}

// IsZero says that no secret is set.
func (s Secret) IsZero() bool { return s.text == "" }

// ID is a public name of the secret: 16 hex digits that tell two secrets apart and give nothing away.
func (s Secret) ID() string { return hex.EncodeToString(s.derive("id", keyIDSize)) }

// AdminKey is the API key by which commands on this machine speak to a running API: local_ and 32 hex digits. Both sides
// derive it, so that it is stored nowhere.
func (s Secret) AdminKey() string {
	return "local_" + hex.EncodeToString(s.derive("admin", adminKeySize))
}

// derive is HKDF-SHA-256 (RFC 5869) of the secret; info separates the uses.
func (s Secret) derive(info string, size int) []byte {
	key, err := hkdf.Key(sha256.New, []byte(s.text), nil, "wabek/"+info, size)
	if err != nil {
		panic("keys: hkdf: " + err.Error()) // only for sizes above 255 hashes; ours are constants
	}
	return key
}

// String hides the secret.
func (s Secret) String() string { return "[secret]" }

// GoString hides the secret.
func (s Secret) GoString() string { return "[secret]" }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
