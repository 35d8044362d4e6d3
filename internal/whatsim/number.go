package whatsim

import (
	"errors"
	"fmt"
	"strconv"

	"go.mau.fi/whatsmeow/types"
)

// ErrBadNumber says that a telephone number is not 5 to 15 digits without plus sign and leading zero.
var ErrBadNumber = errors.New("a number is 5 to 15 digits, without plus sign or leading zero")

const (
	lidBits = 50 // 15 digits fit into 50 bits
	lidMask = 1<<lidBits - 1
	// lidFactor is odd, so multiplying by it modulo 2^50 can be undone.
	lidFactor = 0x2545F4914F6CD1D & lidMask
)

func checkDigits(digits string) error {
	if len(digits) < 5 || len(digits) > 15 || digits[0] == '0' {
		return fmt.Errorf("%q: %w", digits, ErrBadNumber)
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return fmt.Errorf("%q: %w", digits, ErrBadNumber)
		}
	}
	return nil
}

// lidOf gives a number its LID, the pseudonym WhatsApp puts in place of the number. It is a function of the
// number that can be undone, because clients keep LIDs for ever: a simulator that has lost its last seconds
// must still know whom a LID means.
func lidOf(digits string) types.JID {
	n, _ := strconv.ParseUint(digits, 10, 64) // checkDigits has passed
	return types.NewJID(strconv.FormatUint(n*lidFactor&lidMask|1<<lidBits, 10), types.HiddenUserServer)
}

// digitsOf gives the number a JID stands for, be it a LID or a phone JID, of any device.
func digitsOf(jid types.JID) (string, bool) {
	digits := jid.User
	switch jid.Server {
	case types.DefaultUserServer, types.LegacyUserServer:
	case types.HiddenUserServer:
		n, err := strconv.ParseUint(jid.User, 10, 64)
		if err != nil || n>>lidBits != 1 {
			return "", false
		}
		digits = strconv.FormatUint(n*inverse(lidFactor)&lidMask, 10)
	default:
		return "", false
	}
	return digits, checkDigits(digits) == nil
}

// inverse gives x with m*x = 1 modulo 2^64, for odd m (Newton: each step doubles the right bits).
func inverse(m uint64) uint64 {
	x := m
	for range 6 {
		x *= 2 - m*x
	}
	return x
}

// short is a number for the log: its last four digits.
func short(digits string) string {
	return "*" + digits[max(0, len(digits)-4):]
}
