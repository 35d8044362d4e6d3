package callback

import (
	"context"
	"errors"

	"wabek/internal/job"
)

// Load reads the state of the OTP that a send job belongs to, as it is now, after the status was applied to it. False:
// there is nothing to tell, because the job is of no OTP, or its OTP isn't known any more.
type Load func(ctx context.Context, id job.ID) (Event, bool, error)

// Sink is a status.Sink that enqueues the state of each OTP that a batch of statuses changed, once for the batch. It
// belongs behind the record's sink: a status is acknowledged only when both have returned nil, so a crash between them
// repeats the batch, and Load finds by then what the record says, whether or not this time changed it. Errors are
// those of Load and of the queue; an event that can't be posted is logged and passed over, for it would come for ever.
func (s *Service) Sink(load Load) func(ctx context.Context, statuses []job.Status) error {
	return func(ctx context.Context, statuses []job.Status) error {
		seen := make(map[job.ID]bool, len(statuses))
		var events []Event
		for _, st := range statuses {
			if seen[st.Job] {
				continue
			}
			seen[st.Job] = true
			e, ok, err := load(ctx, st.Job)
			if err != nil {
				return err
			}
			if ok {
				events = append(events, e)
			}
		}
		err := s.Enqueue(ctx, events...)
		if errors.Is(err, ErrEvent) {
			s.cfg.Logger.ErrorContext(ctx, "event can't be posted, passed over", "error", err)
			return nil
		}
		return err
	}
}
