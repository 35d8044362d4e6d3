// Package relay gets every committed job into the queue, and notices when one got lost on the way.
//
// In: jobs, offered right after their commit or found in the outbox; statuses, as far as they are known.
// Out: publishes to the queue, and the verdicts expired and cancelled on jobs that no sender will conclude.
// On failure: the job's row stays in the outbox and comes due again; nothing is ever given up but by its life.
//
// Crash sequences: a crash between commit and publish, or before the publish is acknowledged, leaves the row,
// and the next start finds it. A queue that acknowledged and then lost the job says nothing of it for
// silence (30 s), and the job is published again. A job published twice meets its own copy in the queue, or,
// where that is done with, its status at the sender's claim: it isn't sent twice.
package relay

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"wabek/internal/job"
)

// Config is what a Relay needs. All fields but the durations must be set.
type Config struct {
	Outbox    Outbox
	Publisher Publisher
	Log       job.Log
	// Connected says whether the queue can be reached, and how often it has been reached anew. Rows wait while it
	// can't; each time it comes back, every row is asked after, as it may have lost anything.
	Connected func() (up bool, times uint64)
	Now       func() time.Time
	Logger    *slog.Logger

	Silence time.Duration // after which an acknowledged job without news is asked about; DefaultSilence if 0
}

// DefaultSilence is how long a published job may stay without a status before the relay asks after it.
const DefaultSilence = 30 * time.Second

const (
	// retryAfter is the pause before a publish that failed is tried again.
	retryAfter = 250 * time.Millisecond
	// sendGrace is how long after its life an unsettled job may still be with a sender: ack wait and send deadline.
	sendGrace = 30 * time.Second
	// claimGrace is the age at which a claim of an expired job is given up on: the send's deadline and 30 s.
	claimGrace = 50 * time.Second
	// maxFresh bounds the jobs held in memory for their first publish. Beyond it they are read from the outbox.
	maxFresh = 8192
	// page is how many rows are read from the outbox or looked after at once.
	page = 1024
	// askers is how many statuses are asked for at the same time.
	askers = 8
)

// row is an unsettled job.
type row struct {
	due     int64  // Unix nanoseconds; the heap entry with the same time is the live one
	asked   uint8  // how often its status was asked for: the pause grows
	ask     bool   // look at its last status before publishing
	offered bool   // it was handed to the publisher, by this run or an earlier one
	held    bool   // the queue has acknowledged it, and hasn't been away since
	taken   bool   // a sender has claimed it
	pool    string // empty until it is known, of what an earlier run left
}

// Relay is the outbox's way to the queue.
type Relay struct {
	cfg  Config
	wake chan struct{}

	mu    sync.Mutex
	rows  map[job.ID]*row
	due   dueHeap
	fresh []job.Envelope
	// waiting counts rows that aren't taken, by pool.
	waiting map[string]int64

	republished atomic.Int64
}

// New makes a Relay.
func New(cfg Config) *Relay {
	if cfg.Silence == 0 {
		cfg.Silence = DefaultSilence
	}
	return &Relay{cfg: cfg, wake: make(chan struct{}, 1), rows: map[job.ID]*row{}, waiting: map[string]int64{}}
}

// Stats tells how many jobs aren't settled yet, and how often one was published again that the queue hadn't
// acknowledged, or may have lost while it was away.
type Stats struct{ Pending, Republished int64 }

// Waiting is how many jobs of a pool no sender has claimed yet, as far as is known. Those of an earlier run that nobody has
// looked at yet count for each. It costs next to nothing.
func (r *Relay) Waiting(pool string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting[pool] + r.waiting[""]
}

// add makes a row. The caller holds mu.
func (r *Relay) add(id job.ID, w *row) {
	r.rows[id] = w
	r.waiting[w.pool]++
}

// count changes how many rows of a pool wait. The caller holds mu.
func (r *Relay) count(pool string, by int64) {
	if r.waiting[pool] += by; r.waiting[pool] == 0 {
		delete(r.waiting, pool)
	}
}

// of notes which pool a row is of. The caller holds mu.
func (r *Relay) of(w *row, pool string) {
	if w.pool != "" {
		return
	}
	if !w.taken {
		r.count("", -1)
		r.count(pool, 1)
	}
	w.pool = pool
}

// took notes that a sender has claimed a row's job. The caller holds mu.
func (r *Relay) took(w *row) {
	if !w.taken {
		w.taken = true
		r.count(w.pool, -1)
	}
}

// drop takes a row away. The caller holds mu.
func (r *Relay) drop(id job.ID) {
	if w, ok := r.rows[id]; ok {
		r.took(w)
		delete(r.rows, id)
	}
}

// Stats reads the counters.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Pending: int64(len(r.rows)), Republished: r.republished.Load()}
}

// Offer takes a job that has just been committed. It never blocks: it is called by the writer of the records.
func (r *Relay) Offer(e job.Envelope) {
	r.trace("job committed", e.ID)
	r.mu.Lock()
	if _, found := r.rows[e.ID]; !found { // recover may have been quicker: then it is due already
		w := &row{pool: e.Pool}
		r.add(e.ID, w)
		if len(r.fresh) < maxFresh {
			r.fresh = append(r.fresh, e)
		} else {
			r.schedule(e.ID, w, r.cfg.Now())
		}
	}
	r.mu.Unlock()
	r.nudge()
}

// Note hears the statuses that have been applied to the outbox.
func (r *Relay) Note(statuses []job.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range statuses {
		w, ok := r.rows[s.Job]
		switch {
		case !ok:
		case s.State.Settled():
			r.trace("job settled", s.Job)
			r.drop(s.Job)
		default:
			w.ask = true
			r.took(w)
		}
	}
}

// Withdrawn hears of a pending job whose message nobody needs any more: if no sender has it, it is cancelled.
// It never blocks.
func (r *Relay) Withdrawn(id job.ID) {
	r.again(id, r.cfg.Now(), true)
	r.nudge()
}

// trace logs a step of a job. It must cost nothing unless somebody looks: it runs for every OTP, in the writer too.
func (r *Relay) trace(step string, id job.ID) {
	r.cfg.Logger.LogAttrs(context.Background(), slog.LevelDebug, step, slog.String("job", string(id))) //nolint:sloglint // its callers name the steps
}

// nudge wakes Run; a nudge that it hasn't heard yet is enough.
func (r *Relay) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// schedule makes a row due, taking back any earlier time. The caller holds mu.
func (r *Relay) schedule(id job.ID, w *row, at time.Time) {
	w.due = at.UnixNano()
	heap.Push(&r.due, dueEntry{at: w.due, id: id})
}

// Run relays until ctx ends, beginning with what an earlier run left in the outbox.
func (r *Relay) Run(ctx context.Context) {
	var recovering sync.WaitGroup
	recovering.Go(func() { r.recover(ctx) })
	defer recovering.Wait()
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	_, seen := r.cfg.Connected()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-tick.C:
		}
		up, times := r.cfg.Connected()
		if !up {
			continue
		}
		if times != seen {
			seen = times
			r.askAfterAll()
		}
		// By turns, so that neither keeps the other waiting: what comes meanwhile nudges.
		r.publishFresh(ctx)
		if r.lookAfterDue(ctx) {
			r.nudge()
		}
	}
}

// askAfterAll makes every row due that has been published: the queue has been away.
func (r *Relay) askAfterAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	for id, w := range r.rows {
		if w.offered {
			w.ask, w.held, w.asked = true, false, 0
			r.schedule(id, w, now)
		}
	}
}

func (r *Relay) up() bool {
	up, _ := r.cfg.Connected()
	return up
}

// recover finds the rows of an earlier run: each one's last status is asked for first. Accepting doesn't wait
// for it.
func (r *Relay) recover(ctx context.Context) {
	var after job.ID
	for {
		ids, err := r.cfg.Outbox.Pending(ctx, after, page)
		if err != nil {
			r.cfg.Logger.Error("outbox can't be read", "err", err)
			if pause(ctx, time.Second) != nil {
				return
			}
			continue
		}
		r.mu.Lock()
		for _, id := range ids {
			if _, ok := r.rows[id]; ok {
				continue // offered since
			}
			w := &row{ask: true, offered: true}
			r.add(id, w)
			r.schedule(id, w, r.cfg.Now())
		}
		r.mu.Unlock()
		r.nudge()
		if len(ids) < page {
			return
		}
		after = ids[len(ids)-1]
	}
}

// publishFresh publishes the jobs that have been offered until now.
func (r *Relay) publishFresh(ctx context.Context) {
	r.mu.Lock()
	batch := r.fresh
	r.fresh = nil
	r.mu.Unlock()
	for i, e := range batch {
		if ctx.Err() != nil || !r.up() {
			r.putOff(batch[i:])
			return
		}
		r.publish(ctx, e)
	}
}

// putOff leaves jobs to be read from the outbox once the queue is back.
func (r *Relay) putOff(jobs []job.Envelope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	for _, e := range jobs {
		if w, ok := r.rows[e.ID]; ok {
			r.schedule(e.ID, w, now)
		}
	}
}

// publish hands a job to the queue. Whatever becomes of it, the row comes due again: soon where the queue
// didn't take it, else when it has been silent for too long.
func (r *Relay) publish(ctx context.Context, e job.Envelope) {
	left := e.Expires.Sub(r.cfg.Now())
	if left <= 0 {
		r.again(e.ID, e.Expires.Add(sendGrace), true)
		return
	}
	r.mu.Lock()
	w, ok := r.rows[e.ID]
	again := ok && w.offered && !w.held
	if ok {
		w.offered = true
	}
	r.mu.Unlock()
	if !ok {
		return
	}
	if again {
		r.republished.Add(1)
	}
	r.trace("job published", e.ID)
	r.cfg.Publisher.Publish(ctx, e, left, func(err error) {
		if err != nil {
			r.cfg.Logger.Debug("job not published", "job", e.ID, "err", err)
			r.again(e.ID, r.cfg.Now().Add(retryAfter), false)
			return
		}
		r.acknowledged(e.ID)
	})
}

// again makes a row due at a time, unless it is settled meanwhile.
func (r *Relay) again(id job.ID, at time.Time, ask bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.rows[id]; ok {
		w.ask = ask
		r.schedule(id, w, at)
	}
}

// acknowledged notes that the queue has a job.
func (r *Relay) acknowledged(id job.ID) {
	r.mu.Lock()
	if w, ok := r.rows[id]; ok {
		w.held = true
	}
	r.mu.Unlock()
	r.askLater(id)
}

// askLater makes a row due after a silence that doubles each time it was asked after, up to 16 times as long: a
// job that waits its turn in a long queue is no reason for work.
func (r *Relay) askLater(id job.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.rows[id]; ok {
		w.ask = true
		r.schedule(id, w, r.cfg.Now().Add(r.cfg.Silence<<w.asked))
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

type dueEntry struct {
	at int64
	id job.ID
}

// dueHeap has the earliest entry first. An entry whose time isn't its row's any more is stale.
type dueHeap []dueEntry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueEntry)) } //nolint:forcetypeassert // only schedule pushes

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
