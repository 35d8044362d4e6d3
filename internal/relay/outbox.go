package relay

import (
	"context"
	"time"

	"wabek/internal/job"
)

// Outbox is the durable list of jobs whose outcome isn't known yet. record/bolt has it.
type Outbox interface {
	// Pending lists jobs in the order of their ids, which is that of their age: up to limit ids above after.
	Pending(ctx context.Context, after job.ID, limit int) ([]job.ID, error)
	// Load gives a pending job as it must be published; false where it is settled meanwhile. An empty Sealed
	// means that nobody needs the message any more: its OTP was superseded, cancelled or already used.
	Load(ctx context.Context, id job.ID) (job.Envelope, bool, error)
	// Apply folds statuses into the records and settles the rows of jobs that are settled. It is durable when
	// it returns nil, and may be given a status twice and in any order.
	Apply(ctx context.Context, statuses []job.Status) error
}

// Publisher hands jobs to the queue. Package queue has it.
type Publisher interface {
	// Publish sends a job that has left to live, without waiting, and calls done exactly once, from any
	// goroutine: nil where the queue has stored the job or still has it from before, else an error, and the job is
	// published again. It blocks only while as many publishes are in flight as are allowed.
	Publish(ctx context.Context, e job.Envelope, left time.Duration, done func(error))
}
