package job

import (
	"fmt"
	"time"
)

// FailureClass says what a failed try means for the next one.
type FailureClass int

// The classes.
const (
	// NotSent: the message surely didn't go out, and trying again may help.
	NotSent FailureClass = iota + 1
	// UnknownOutcome: it may have gone out. Only the same session may try again, with the same WhatsApp id.
	UnknownOutcome
	// SessionFault: surely not sent, and this session can't send now; another may.
	SessionFault
	// RecipientFault: surely not sent, and no session will ever reach this recipient.
	RecipientFault
	// OutdatedClient: surely not sent; WhatsApp wants a newer client, so no session of this program can send.
	OutdatedClient
	// Poison: the job itself is broken.
	Poison
)

// String is the class as logs and metrics name it.
func (c FailureClass) String() string {
	switch c {
	case NotSent:
		return "not_sent"
	case UnknownOutcome:
		return "unknown_outcome"
	case SessionFault:
		return "session"
	case RecipientFault:
		return "recipient"
	case OutdatedClient:
		return "outdated_client"
	case Poison:
		return "poison"
	default:
		return "unclassified"
	}
}

// Failure is why a try failed. It is the only kind of error that a session's send returns.
type Failure struct { //nolint:errname // a failure of a send is what it is
	Class      FailureClass
	Reason     Reason
	RetryAfter time.Duration // the least pause before the next try, 0 for the usual one
	Err        error         // the cause, without a number or a text in it
}

// Error says class, reason and cause.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s (%s): %v", f.Class, f.Reason, f.Err)
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }
