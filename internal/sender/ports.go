package sender

import (
	"context"
	"errors"
	"time"

	"wabek/internal/job"
)

// ErrSessionDead is returned by Session.Ready where the session will never send again.
var ErrSessionDead = errors.New("session is dead")

// Delivery is one job handed over by the queue. Until one of Ack, Retry, Forward or Drop ends it, the job is
// ours only as long as InProgress is called more often than the queue's ack wait.
type Delivery interface {
	// Job is the job. Its Expires is by this machine's clock.
	Job() job.Envelope
	// Deliveries counts how often the queue has handed this job out, this time included.
	Deliveries() int
	// Left is what is left of the job's life, by the queue server's clock.
	Left() time.Duration
	// InProgress tells the queue that we are still at it.
	InProgress() error
	// Ack removes the job: it is done.
	Ack() error
	// Retry gives the job back, to be handed out again after a pause.
	Retry(after time.Duration) error
	// Forward puts the job on a session's own subject and removes it here, in this order. Where the session
	// already has a copy of it, it gives the job back for a little while instead.
	Forward(ctx context.Context, session string) error
	// Drop removes the job unsent, for good, with a reason for the server's log.
	Drop(reason string) error
}

// Source hands out the jobs that one session may take: its own before any session's, OTPs before notices.
// It waits until there is one. Its error is the context's, or that the queue is gone for good.
type Source func(ctx context.Context) (Delivery, error)

// Session is a WhatsApp session. Package whatsapp has it. Its methods may be called from many goroutines.
type Session interface {
	// ID is the session's name in subjects: 8 of a-z and 0-9.
	ID() string
	// Fence is the number of the session's lease: of two holders the later one has the higher number.
	Fence() uint64
	// Ready waits until the session may send. Errors: ErrSessionDead, and the context's.
	Ready(ctx context.Context) error
	// Send sends a message and waits for WhatsApp's acknowledgement. A message that this session's ledger
	// knows as sent isn't sent again; that is no error. Every error is a *job.Failure.
	Send(ctx context.Context, m Message) error
}

// Message is what a session sends.
type Message struct {
	Job  job.Envelope // its sealed body is what the ledger keeps, so that no text lies about in the clear
	Body job.Body
}
