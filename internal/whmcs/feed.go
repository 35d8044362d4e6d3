package whmcs

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// sweepEvery is how often the events that wait are held against those known to be in the queue.
	sweepEvery = 30 * time.Second
	// feedPage is how many are read at once.
	feedPage = 512
	// mostFresh bounds the events held in memory for their first publish; beyond it a sweep finds them.
	mostFresh = 8192
)

// feed gets every event that waits into the queue, and says which apps have any. It may put one there twice, which the
// queue refuses, or whoever resolves it sees.
type feed struct {
	cfg   Config
	wake  chan struct{}
	found func(app string) // called for each event, by the goroutine of run

	mu    sync.Mutex
	fresh []Waiting
	swept bool            // a sweep is due: fresh has overflowed, or the queue didn't take an event
	held  map[ID]struct{} // known to be in the queue, since it was reached anew
}

func newFeed(cfg Config) *feed {
	return &feed{cfg: cfg, wake: make(chan struct{}, 1), held: map[ID]struct{}{}}
}

// offer takes an event that has just been stored. It never blocks.
func (f *feed) offer(w Waiting) {
	f.mu.Lock()
	if len(f.fresh) < mostFresh {
		f.fresh = append(f.fresh, w)
	} else {
		f.swept = true
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default: // one is enough
	}
}

// resolved forgets an event that waits no more.
func (f *feed) resolved(id ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, id)
}

// run feeds until ctx ends, beginning with what an earlier run has left.
func (f *feed) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	retry := time.NewTicker(time.Second) // while the queue is away
	defer retry.Stop()
	var times uint64
	due := true // a sweep is
	for {
		up, now := f.cfg.Queue.Connected()
		if up && now != times {
			times, due = now, true
			f.forgetHeld() // a queue that was away may have lost any
		}
		if up {
			f.publishFresh(ctx)
		}
		if up && (due || f.overflown()) {
			due = f.sweep(ctx) != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-tick.C:
			due = true
		case <-retry.C:
		}
	}
}

func (f *feed) forgetHeld() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.held)
}

func (f *feed) overflown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.swept
	f.swept = false
	return was
}

func (f *feed) publishFresh(ctx context.Context) {
	f.mu.Lock()
	batch := f.fresh
	f.fresh = nil
	f.mu.Unlock()
	for _, w := range batch {
		f.publish(ctx, w)
	}
}

// sweep publishes each event that waits and isn't known to be in the queue, and forgets what is held and waits no more: one may
// be resolved before the queue's word of it is here.
func (f *feed) sweep(ctx context.Context) error {
	var after ID
	waits := map[ID]struct{}{}
	for {
		list, err := f.cfg.Store.Unresolved(ctx, after, feedPage)
		if err != nil {
			if ctx.Err() == nil {
				f.cfg.Logger.Error("events that wait can't be read", "err", err)
			}
			return err
		}
		for _, w := range list {
			f.mu.Lock()
			_, there := f.held[w.ID]
			f.mu.Unlock()
			waits[w.ID] = struct{}{}
			if !there {
				f.publish(ctx, w)
			}
			after = w.ID
		}
		if len(list) == feedPage && ctx.Err() == nil {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		maps.DeleteFunc(f.held, func(id ID, _ struct{}) bool { _, ok := waits[id]; return !ok })
		return ctx.Err()
	}
}

// publish puts an event into the queue. Its message says nothing of it: who resolves it has the records.
func (f *feed) publish(ctx context.Context, w Waiting) {
	f.found(w.App)
	f.cfg.Queue.PutEvent(ctx, w.App, w.ID.String(), []byte("{}"), func(_ bool, err error) {
		if err != nil {
			f.cfg.Logger.Debug("event not in the queue yet", "event", w.ID.String(), "err", err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			f.swept = true // within a second
			return
		}
		f.held[w.ID] = struct{}{}
	})
}
