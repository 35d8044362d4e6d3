// Package status carries what senders say of their jobs back to the API's side.
//
// In: batches of statuses from the queue, each at least once and in any order. Out: the same batches, to each
// sink in turn. On failure: the batch isn't acknowledged and comes again; sinks are idempotent.
package status

import (
	"context"

	"wabek/internal/job"
)

// Sink takes a batch of statuses. It may be given one twice; nil means that it needn't be given it again.
type Sink interface {
	Apply(ctx context.Context, statuses []job.Status) error
}

// SinkFunc is a function that is a Sink.
type SinkFunc func(ctx context.Context, statuses []job.Status) error

// Apply calls the function.
func (f SinkFunc) Apply(ctx context.Context, statuses []job.Status) error { return f(ctx, statuses) }

// Fan is a Sink that gives each batch to every one of sinks, in their order, and stops at the first that fails:
// the record first, then those that build on it.
func Fan(sinks ...Sink) Sink {
	return SinkFunc(func(ctx context.Context, statuses []job.Status) error {
		for _, s := range sinks {
			if err := s.Apply(ctx, statuses); err != nil {
				return err
			}
		}
		return nil
	})
}
