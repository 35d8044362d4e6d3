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

// Verify tries a code and notes the outcome in the record: a right one uses it up, a wrong one counts.
// It is a rule for Store.Update: whoever stores the record must do so before the verdict is told, and in the
// same transaction in which it was read, or a code could be used twice.
//
// The last allowed wrong code still answers Wrong; the next try, whatever its code, TooManyAttempts.
func (r *Record) Verify(ring *keys.Ring, app, code string, now time.Time) Verdict {
	switch {
	case r.App != app, r.State == Cancelled:
		return NotFound
	case r.expired(now):
		return Expired
	case r.State == Superseded:
		return WasSuperseded
	case r.Attempts >= r.MaxAttempts:
		return TooManyAttempts
	case r.State == Used:
		return AlreadyUsed
	case !r.Digest.matches(ring, r.ID, code):
		r.Attempts++
		return Wrong
	}
	r.State, r.UsedAt = Used, now.Truncate(time.Millisecond)
	r.Sealed = nil
	return Valid
}
