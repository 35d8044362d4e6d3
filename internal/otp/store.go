package otp

import (
	"context"
	"errors"
	"time"

	"wabek/internal/job"
	"wabek/internal/phone"
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
	Record Record       // Sealed is the job's body
	Job    job.Envelope // zero for a test number
	Once   *Once        // nil where the caller gave no idempotency key
}

// History is what a store knows of the OTPs of one app and phone.
type History struct {
	Open    ID          // the latest one issued for the purpose; zero where there is none that may still be open
	Expires time.Time   // of that one
	Sends   []time.Time // messages within the last 24 hours for any purpose, oldest first; a repeated one at its OTP's latest
	Guesses Guesses     // for any purpose; zero where they have Lapsed, whether or not the store has dropped them
}

// Admit is the rule of issuing: it looks at the history and returns the new one, or an error that refuses
// the OTP. It is pure and may run again.
type Admit func(History) (History, error)

// Change is what Update does to a record.
type Change struct {
	// Rule decides. What it leaves in the record and in Guesses of the history is stored; the rest of the history is
	// to look at. It is pure and may run again.
	Rule func(*Record, *History) error
	Job  *job.Envelope // a further message to send if the rule agrees; nil for none
	Once *Once         // nil where the caller gave no idempotency key
}

// Store keeps OTP records.
//
// Both rules run inside the transaction, see every earlier commit, and may run more than once; nothing of
// an operation is visible before it is durable. An error or a panic of a rule fails its own operation alone.
type Store interface {
	// Issue stores a draft. Nil means: the record is on stable storage and the job will reach the queue,
	// whatever crashes. Where admit returns a history whose Open is another OTP than before, the older record
	// is superseded in the same transaction. Of the history that admit returns nothing else is looked at: the store
	// counts messages itself. Errors: what admit returned, *Replay and ErrKeyReused where the draft has a Once,
	// ErrBusy, ErrClosed, ErrRule, and the context's, after which the OTP may or may not have been stored.
	Issue(ctx context.Context, d Draft, admit Admit) error
	// Update changes one record by a rule. Nil means: what the rule left in the record is on stable storage, and a
	// job of the change will reach the queue. An error from the rule changes nothing and is returned. Errors:
	// ErrNoRecord, *Replay and ErrKeyReused where the change has a Once, ErrBusy, ErrClosed, ErrRule, and the
	// context's, after which the change may or may not have been stored.
	Update(ctx context.Context, id ID, c Change) error
	// Get reads a record, without waiting for what is being written. Errors: ErrNoRecord, ErrClosed, the context's.
	Get(ctx context.Context, id ID) (Record, error)
	// Latest is the id of the latest OTP of an app, phone and purpose that has not expired yet, whatever became of it.
	// Errors: ErrNoRecord, ErrClosed, the context's.
	Latest(ctx context.Context, app string, number phone.Hash, purpose string) (ID, error)
	// Answered gives the answer that is remembered under a key, as an error: *Replay, or ErrKeyReused where it was for
	// other content. Nil: nothing is. Other errors: ErrBusy, ErrClosed, the context's.
	Answered(ctx context.Context, once *Once) error
	// Forgive ends a phone's row of wrong codes. Nil means that it is on stable storage. Errors: ErrBusy, ErrClosed, the
	// context's.
	Forgive(ctx context.Context, app string, number phone.Hash) error
}
