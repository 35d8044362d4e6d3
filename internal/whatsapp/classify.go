package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/store"

	"wabek/internal/job"
)

// The pauses that WhatsApp's answers ask for.
const (
	rateLimitPause = 30 * time.Second // 429
	reachOutPause  = time.Minute      // 463: hammering lengthens the lock, but another session may send sooner
	refusalPause   = 3 * time.Second  // refusals whose cause passes
)

// ackErrors is what the codes of refused messages mean, from users' threads (tulir/whatsmeow 1074, 1197;
// WhiskeySockets/Baileys 2441). Any other code is one that passes.
func ackErrors() map[int]job.Failure {
	return map[int]job.Failure{
		429: {Class: job.SessionFault, Reason: job.ReasonRateLimited, RetryAfter: rateLimitPause},
		463: {Class: job.SessionFault, Reason: job.ReasonReachOutLimited, RetryAfter: reachOutPause},
		479: {Class: job.NotSent, Reason: job.ReasonRefused, RetryAfter: refusalPause}, // stale device or session data
	}
}

// classify says what an error of SendMessage means. out says that the stanza may have left.
func classify(err error, out bool) *job.Failure {
	var f job.Failure
	switch {
	case errors.Is(err, whatsmeow.ErrServerReturnedError):
		f = refusal(err)
	case out:
		f = afterStanza(err)
	default:
		f = beforeStanza(err)
	}
	f.Err = masked(err)
	return &f
}

// refusal reads the code, which whatsmeow gives in the text alone: "server returned error 463".
func refusal(err error) job.Failure {
	text := err.Error()
	code, convErr := strconv.Atoi(text[strings.LastIndexByte(text, ' ')+1:])
	f, known := ackErrors()[code]
	if convErr != nil || !known {
		return job.Failure{Class: job.NotSent, Reason: job.ReasonRefused, RetryAfter: refusalPause}
	}
	return f
}

// afterStanza judges errors of a message that was handed to the socket.
func afterStanza(err error) job.Failure {
	// These two prove that nothing left, but only from the first write: after a lost connection whatsmeow writes the
	// stanza a second time and gives the same errors, unwrapped.
	first := errors.Unwrap(err) != nil
	if first && (errors.Is(err, whatsmeow.ErrNotConnected) || errors.Is(err, socket.ErrSocketClosed)) {
		return job.Failure{Class: job.NotSent, Reason: job.ReasonDisconnected}
	}
	return job.Failure{Class: job.UnknownOutcome, Reason: job.ReasonUnconfirmed}
}

// beforeStanza judges errors of a message that surely didn't leave.
func beforeStanza(err error) job.Failure {
	var disconnected *whatsmeow.DisconnectedError
	switch {
	case errors.Is(err, errNoDevices), strings.Contains(err.Error(), "no LID found for"): // whatsmeow has no sentinel for it
		return job.Failure{Class: job.RecipientFault, Reason: job.ReasonNotOnWhatsApp}
	case errors.Is(err, ErrIDTaken):
		return job.Failure{Class: job.Poison, Reason: job.ReasonUnreadable}
	case errors.Is(err, store.ErrDeviceDeleted), errors.Is(err, whatsmeow.ErrNotLoggedIn):
		return job.Failure{Class: job.SessionFault, Reason: job.ReasonLoggedOut}
	case errors.Is(err, whatsmeow.ErrIQRateOverLimit):
		return job.Failure{Class: job.SessionFault, Reason: job.ReasonRateLimited, RetryAfter: rateLimitPause}
	case errors.As(err, &disconnected), errors.Is(err, whatsmeow.ErrNotConnected), errors.Is(err, socket.ErrSocketClosed),
		errors.Is(err, whatsmeow.ErrIQTimedOut), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return job.Failure{Class: job.NotSent, Reason: job.ReasonDisconnected}
	default:
		return job.Failure{Class: job.NotSent, Reason: job.ReasonUnreachable}
	}
}

// downFailure is the failure of a message for a session that isn't connected.
func downFailure(s State) *job.Failure {
	f := &job.Failure{
		Class: job.NotSent, Reason: job.ReasonDisconnected,
		Err: fmt.Errorf("%w: %s", errNotConnected, s.Code),
	}
	switch s.Code {
	case LoggedOut, Banned:
		f.Class, f.Reason = job.SessionFault, job.ReasonLoggedOut
	case Replaced, Refused:
		f.Class = job.SessionFault
	case Outdated:
		f.Class, f.Reason = job.OutdatedClient, job.ReasonOutdated
	case Stopped, Connecting, Connected:
	}
	return f
}
