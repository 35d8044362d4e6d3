package otp

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"

	"wabek/internal/keys"
)

// Bounds of a code's length in digits. Six digits and five tries leave a guesser 5 in a million
// (NIST SP 800-63B section 5.1.3.2 asks for at least six digits).
const (
	MinLength = 6
	MaxLength = 10
)

// NewCode draws a code of length digits, each equally likely; leading zeros count.
func NewCode(random io.Reader, length int) (string, error) {
	if length < MinLength || length > MaxLength {
		return "", fmt.Errorf("code length %d is not within %d to %d digits", length, MinLength, MaxLength)
	}
	code := make([]byte, 0, MaxLength)
	var buf [2 * MaxLength]byte
	for len(code) < length {
		if _, err := io.ReadFull(random, buf[:]); err != nil {
			return "", fmt.Errorf("draw code: %w", err)
		}
		for _, b := range buf {
			// 250 is the largest multiple of ten in a byte: dropping the rest keeps the digits uniform.
			if b < 250 && len(code) < length {
				code = append(code, '0'+b%10)
			}
		}
	}
	return string(code), nil
}

// Digest is what is stored of a code: HMAC-SHA-256(pepper, id ‖ code). A bare hash of six digits falls to a
// million guesses; this one only to who has the pepper too.
type Digest struct {
	Pepper uint32 // the id of the pepper in the ring
	Sum    [sha256.Size]byte
}

func newDigest(ring *keys.Ring, id ID, code string) Digest {
	pepperID, pepper := ring.Pepper()
	return Digest{Pepper: pepperID, Sum: sum(pepper, id, code)}
}

// matches compares in constant time. A pepper that the ring doesn't hold matches nothing.
func (d Digest) matches(ring *keys.Ring, id ID, code string) bool {
	pepper := ring.PepperByID(d.Pepper)
	if pepper == nil {
		return false
	}
	got := sum(pepper, id, code)
	return hmac.Equal(got[:], d.Sum[:])
}

func sum(pepper *keys.MAC, id ID, code string) [sha256.Size]byte {
	return pepper.Sum(id[:], []byte(code))
}
