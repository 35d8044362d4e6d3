package relay

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"wabek/internal/job"
)

// lookAfterDue looks at rows that have come due, publishes each again or finds out what became of it, and says whether
// there may be more.
func (r *Relay) lookAfterDue(ctx context.Context) (more bool) {
	if ctx.Err() != nil || !r.up() {
		return false
	}
	rows := r.takeDue()
	work := make(chan dueRow)
	var group sync.WaitGroup
	for range min(askers, len(rows)) {
		group.Go(func() {
			for d := range work {
				r.lookAfter(ctx, d)
			}
		})
	}
	for _, d := range rows {
		work <- d
	}
	close(work)
	group.Wait()
	return len(rows) == page
}

type dueRow struct {
	id  job.ID
	ask bool
}

func (r *Relay) takeDue() []dueRow {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	var out []dueRow
	for len(r.due) > 0 && r.due[0].at <= now.UnixNano() && len(out) < page {
		entry := heap.Pop(&r.due).(dueEntry) //nolint:forcetypeassert // only schedule pushes
		w, ok := r.rows[entry.id]
		if !ok || w.due != entry.at {
			continue
		}
		out = append(out, dueRow{id: entry.id, ask: w.ask})
		if w.ask && w.asked < 4 {
			w.asked++
		}
		// Whatever happens to it now, it comes due again: a row is never without a time.
		r.schedule(entry.id, w, now.Add(r.cfg.Silence))
	}
	return out
}

// lookAfter deals with one row: gone, cancelled, over, known to a sender, or to be published again.
func (r *Relay) lookAfter(ctx context.Context, d dueRow) {
	e, pending, err := r.cfg.Outbox.Load(ctx, d.id)
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.Error("outbox row can't be read", "job", d.id, "err", err)
		}
		return
	}
	if !pending {
		r.mu.Lock()
		r.drop(d.id)
		r.mu.Unlock()
		return
	}
	r.mu.Lock()
	if w, ok := r.rows[d.id]; ok {
		r.of(w, e.Pool)
	}
	r.mu.Unlock()
	now := r.cfg.Now()
	over := !now.Before(e.Expires)
	wanted := len(e.Sealed) > 0
	if wanted && !over && !d.ask {
		r.publish(ctx, e)
		return
	}
	last, seq, err := r.cfg.Log.Last(ctx, e.Pool, e.ID)
	switch {
	case err != nil:
		r.again(d.id, now.Add(retryAfter), true)
	case last.State.Settled():
		// Its status was stored but never reached the record: say it directly.
		r.settle(ctx, last)
	case over && now.Before(e.Expires.Add(sendGrace)):
		r.again(d.id, e.Expires.Add(sendGrace), true)
	case over && (seq == 0 || now.Sub(last.At) > claimGrace):
		r.conclude(ctx, e, job.Expired, last.Reason, seq)
	case seq != 0:
		// A sender has claimed it; if that one is gone, the queue hands the job to the next.
		r.mu.Lock()
		if w, ok := r.rows[d.id]; ok {
			r.took(w)
		}
		r.mu.Unlock()
		r.askLater(d.id)
	case !wanted:
		r.conclude(ctx, e, job.Cancelled, job.ReasonWithdrawn, 0)
	default:
		r.publish(ctx, e)
	}
}

// conclude says what becomes of a job that no sender will conclude. It is said over exactly what was read, so a
// sender that claims or sends it in the meantime is right and we are late.
func (r *Relay) conclude(ctx context.Context, e job.Envelope, state job.State, reason job.Reason, seq uint64) {
	s := job.Status{Job: e.ID, Pool: e.Pool, State: state, Reason: reason, At: r.cfg.Now().UTC()}
	_, err := r.cfg.Log.Put(ctx, s, seq)
	switch {
	case errors.Is(err, job.ErrConflict):
		r.again(e.ID, r.cfg.Now().Add(time.Second), true)
	case err != nil:
		r.again(e.ID, r.cfg.Now().Add(retryAfter), true)
	default:
		r.settle(ctx, s)
	}
}

func (r *Relay) settle(ctx context.Context, s job.Status) {
	if err := r.cfg.Outbox.Apply(ctx, []job.Status{s}); err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.Error("status not applied", "job", s.Job, "err", err)
		}
		return
	}
	r.Note([]job.Status{s})
}
