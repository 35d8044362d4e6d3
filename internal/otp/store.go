package otp

import (
	"context"
	"errors"
	"time"

	"wabek/internal/job"
)

// Errors of a Store.
var (
	// ErrNoRecord says that no record has this id, or no longer.
	ErrNoRecord = errors.New("no such OTP record")
	// ErrBusy says that as many writes wait as the store lets wait: try again in a moment.
	ErrBusy = errors.New("record store is busy")
	// ErrClosed says that the store is shutting down, or has stopped for good because it couldn't write.
	ErrClosed = errors.New("record store is closed")
	// ErrRule says that a rule given to the store panicked. The record is as it was.
	ErrRule = errors.New("rule panicked")
)

// Draft is an OTP about to be issued: its record and the job that delivers it.
type Draft struct {
	Record Record // Sealed is the job's body
	Job    job.Envelope
}

// History is what a store knows of the OTPs of one app, phone and purpose.
type History struct {
	Open    ID        // the latest one issued; zero where there is none that may still be open
	Expires time.Time // of that one
}

// Admit is the rule of issuing: it looks at the history and returns the new one, or an error that refuses
// the OTP. It is pure and may run again.
type Admit func(History) (History, error)

// Store keeps OTP records.
//
// Both rules run inside the transaction, see every earlier commit, and may run more than once; nothing of
// an operation is visible before it is durable. An error or a panic of a rule fails its own operation alone.
type Store interface {
	// Issue stores a draft. Nil means: the record is on stable storage and the job will reach the queue,
	// whatever crashes. Where admit returns a history whose Open is another OTP than before, the older record
	// is superseded in the same transaction. Errors: what admit returned, ErrBusy, ErrClosed, ErrRule, and
	// the context's, after which the OTP may or may not have been stored.
	Issue(ctx context.Context, d Draft, admit Admit) error
	// Update changes one record by a rule. Nil means: what the rule left in the record is on stable storage.
	// An error from the rule leaves the record as it was and is returned. Errors: ErrNoRecord, ErrBusy,
	// ErrClosed, ErrRule, and the context's, after which the change may or may not have been stored.
	Update(ctx context.Context, id ID, rule func(*Record) error) error
}
