package otp

import (
	"time"

	"wabek/internal/keys"
)

// Verdict is the outcome of one try at an OTP.
type Verdict uint8

// The verdicts, in the order in which they are looked at.
const (
	NotFound Verdict = iota
	Expired
	WasSuperseded
	TooManyAttempts
	AlreadyUsed
	Wrong
	Valid
)

// Reason is the public sentence for a verdict, part of the contract: it never changes. Valid has none.
func (v Verdict) Reason() string {
	switch v { //nolint:exhaustive // Valid has no reason
	case NotFound:
		return "OTP not found"
	case Expired:
		return "OTP expired"
	case WasSuperseded:
		return "OTP superseded"
	case TooManyAttempts:
		return "Too many attempts"
	case AlreadyUsed:
		return "OTP already used"
	case Wrong:
		return "Invalid OTP"
	default:
		return ""
	}
}

// Verify tries a code and notes the outcome in the record: a right one uses it up, a wrong one counts, here and in the
// row of wrong codes of its phone. It is a rule for Store.Update: whoever stores the record must do so before the
// verdict is told, and in the same transaction in which it was read, or a code could be used twice.
//
// The last allowed wrong code still answers Wrong; the next try, whatever its code, TooManyAttempts. The error is a
// *LimitError where no code may be tried for the phone now.
func (r *Record) Verify(ring *keys.Ring, t Try, h *History, now time.Time) (Verdict, error) {
	switch {
	case !t.concerns(r, ring), r.State == Cancelled:
		return NotFound, nil
	case r.expired(now):
		return Expired, nil
	case r.State == Superseded:
		return WasSuperseded, nil
	case r.Locked():
		return TooManyAttempts, nil
	case r.State == Used:
		return AlreadyUsed, nil
	}
	if !r.Test() {
		if err := t.Limits.guess(h.Guesses, now); err != nil {
			return NotFound, err
		}
	}
	if !r.Digest.matches(ring, r.ID, t.Code) {
		r.Attempts++
		if !r.Test() {
			h.Guesses = t.Limits.guessed(h.Guesses, now)
		}
		return Wrong, nil
	}
	r.State, r.UsedAt = Used, now.Truncate(time.Millisecond)
	r.Sealed = nil
	if !r.Test() {
		h.Guesses = Guesses{}
	}
	return Valid, nil
}
