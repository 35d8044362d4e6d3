// Package phone turns what a caller wrote into a telephone number.
//
// In: text from a request or a queue body. Out: a Number that prints masked.
// On failure: an error that wraps ErrInvalid and says how to write the number; it never repeats it.
package phone

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// ErrInvalid is wrapped by every error of Parse and Restore.
var ErrInvalid = errors.New("invalid phone number")

// maxInput bounds what Parse looks at: an E.164 number has at most 15 digits, and people write separators between them.
const maxInput = 40

// HashSize is the length of a Hash in bytes.
const HashSize = 16

// Hash stands for a number where the number itself must not be kept: in records, limits and look-ups.
type Hash [HashSize]byte

// Number is a telephone number in E.164 form. The zero value is no number.
//
// String, LogValue, GoString and MarshalText are masked, so that no log line, error or trace carries a whole number by
// accident; E164 and Digits are the only ways out. (But for an unexported field of a struct that is printed whole: of
// those fmt asks no method.)
type Number struct{ e164 string }

// Parse reads an international number: a plus, the country code, the subscriber's number
// (ITU-T E.164). Spaces, dots, dashes and brackets between the digits are allowed.
//
// It accepts numbers of a possible length for their country, not only those of ranges known to be
// in use: numbering plans grow faster than any table of them.
func Parse(s string) (Number, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return Number{}, fmt.Errorf("%w: it is empty; write it in international form, like +905551234567", ErrInvalid)
	case len(s) > maxInput:
		return Number{}, fmt.Errorf("%w: it is longer than %d characters", ErrInvalid, maxInput)
	case s[0] != '+':
		return Number{}, fmt.Errorf("%w: it must begin with + and the country code, like +905551234567", ErrInvalid)
	case !onlyNumberCharacters(s[1:]):
		return Number{}, fmt.Errorf("%w: it may hold digits, spaces, dots, dashes and brackets only, like +905551234567", ErrInvalid)
	}
	if n, ok := parsePlain(s); ok {
		return n, nil
	}
	return parseAny(s)
}

// parseAny reads every way to write an international number that the library knows.
func parseAny(s string) (Number, error) {
	parsed, err := phonenumbers.Parse(s, "")
	if err != nil {
		return Number{}, fmt.Errorf("%w: its country code or length is unknown; write it like +905551234567", ErrInvalid)
	}
	e164 := phonenumbers.Format(parsed, phonenumbers.E164)
	number, err := Restore(e164)
	if err == nil {
		// Some strings of zeros are read anew as another number each time; no telephone has one.
		var again *phonenumbers.PhoneNumber
		if again, err = phonenumbers.Parse(e164, ""); err == nil && phonenumbers.Format(again, phonenumbers.E164) != e164 {
			err = ErrInvalid
		}
	}
	if err != nil || !possible(parsed) {
		return Number{}, fmt.Errorf("%w: it has too few or too many digits for its country code", ErrInvalid)
	}
	return number, nil
}

// possible says whether a number has a length that its country's have. The library's own IsPossibleNumber would also take
// what can be dialled within one city alone, like +1 555 1234.
func possible(n *phonenumbers.PhoneNumber) bool {
	return phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE
}

// Restore takes a number back that Parse once gave out through E164, from a queue body or a file.
// It checks the form (plus, 7 to 15 digits, no leading zero), not the numbering plan.
func Restore(e164 string) (Number, error) {
	if len(e164) < 8 || len(e164) > 16 || e164[0] != '+' || e164[1] == '0' || !onlyDigits(e164[1:]) {
		return Number{}, fmt.Errorf("%w: not in E.164 form", ErrInvalid)
	}
	return Number{e164: e164}, nil
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func onlyNumberCharacters(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && !strings.ContainsRune(" .-()", rune(s[i])) {
			return false
		}
	}
	return true
}

// E164 is the whole number, like +905551234567. Use it only where the number itself must go:
// into a sealed job and to WhatsApp.
func (n Number) E164() string { return n.e164 }

// Digits is the whole number without its plus, as WhatsApp addresses it. The rule of E164 holds here too.
func (n Number) Digits() string { return strings.TrimPrefix(n.e164, "+") }

// IsZero says that this is no number.
func (n Number) IsZero() bool { return n.e164 == "" }

// Masked is the number with all but its first two and last four digits hidden, like +90•••••4567; of a short one less is
// shown, so that at least four digits are hidden. The count of dots is always five: the length is hidden too.
func (n Number) Masked() string {
	if n.IsZero() {
		return "(no number)"
	}
	const first, last, hidden = 3, 4, 4 // the plus counts
	shown := min(last, len(n.e164)-first-hidden)
	return n.e164[:first] + "•••••" + n.e164[len(n.e164)-shown:]
}

// String is Masked.
func (n Number) String() string { return n.Masked() }

// GoString is Masked.
func (n Number) GoString() string { return n.Masked() }

// LogValue is Masked.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.Masked()) }

// MarshalText is Masked: a Number can't be read back from JSON, on purpose.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.Masked()), nil }

// Keyed is HMAC-SHA-256 under a key; *keys.MAC is.
type Keyed interface {
	Sum(parts ...[]byte) [sha256.Size]byte
}

// Hash is HMAC-SHA-256 of the E.164 form, cut to 16 bytes. It must be keyed: all numbers of a country fall to a bare
// hash in minutes.
func (n Number) Hash(key Keyed) Hash {
	sum := key.Sum([]byte(n.e164))
	return Hash(sum[:HashSize])
}
