package callback

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	countEvery   = 15 * time.Second // how often the queue is asked how many callbacks wait
	storeTimeout = 5 * time.Second  // for what the queue must acknowledge
	openPause    = time.Second
	sayPause     = time.Second // before the queue is told again what it didn't hear
	mostSaid     = 3           // how often it is told what it doesn't take although it is there
)

// worker posts the callbacks of one app: it takes as many at once as may be under way, and none while the gate is closed.
type worker struct {
	s    *Service
	app  string
	log  *slog.Logger
	gate *gate
	stop context.CancelFunc

	source Source // set before anything is taken

	waiting                atomic.Int64
	posted, failed, buried atomic.Uint64

	mu   sync.Mutex
	url  string
	gone string        // the URL whose receiver wants no more
	last string        // how the latest failed try ended
	back chan struct{} // closed where another URL takes the place of one that was gone; nil where none was
}

func newWorker(s *Service, app string, stop context.CancelFunc) *worker {
	return &worker{s: s, app: app, log: s.cfg.Logger.With("app", app), gate: newGate(s.cfg), stop: stop}
}

// follow hears where the app's callbacks go. A new URL begins with a clean slate.
func (w *worker) follow(url string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if url == w.url {
		return
	}
	w.url = url
	if w.back != nil {
		close(w.back)
		w.back, w.gone = nil, ""
	}
	w.gate.reset()
}

func (w *worker) isGone(url string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone != "" && w.gone == url
}

// leave notes that the receiver at a URL wants no more, once.
func (w *worker) leave(url string) {
	w.mu.Lock()
	first := w.gone != url && w.url == url
	if first {
		w.gone, w.back = url, make(chan struct{})
	}
	w.mu.Unlock()
	if first {
		w.log.Warn("the receiver wants no callbacks any more (410): stopped until its URL is set anew")
		w.s.cfg.Gone(w.app, url)
	}
}

// wanted waits until the receiver wants callbacks; false where the context ended.
func (w *worker) wanted(ctx context.Context) bool {
	w.mu.Lock()
	back := w.back
	w.mu.Unlock()
	if back == nil {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-back:
		return true
	}
}

// run takes and posts until ctx ends. Requests under way then have the grace to end by themselves.
func (w *worker) run(ctx context.Context) {
	if w.source = w.open(ctx); w.source == nil {
		return
	}
	trying, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var under, counting sync.WaitGroup
	counting.Go(func() { w.count(ctx) })

	w.take(ctx, trying, &under)
	grace := time.AfterFunc(w.s.cfg.Grace, abandon)
	under.Wait()
	grace.Stop()
	counting.Wait()
	if err := w.source.Close(); err != nil {
		w.log.Warn("source of callbacks not closed well", "error", err)
	}
}

func (w *worker) open(ctx context.Context) Source {
	for {
		source, err := w.s.cfg.Queue.OpenCallbacks(w.app)
		if err == nil {
			return source
		}
		w.log.Error("can't open callbacks", "error", err)
		if !pause(ctx, openPause) {
			return nil
		}
	}
}

// take takes callbacks, each as soon as a request more may be under way.
func (w *worker) take(ctx, trying context.Context, under *sync.WaitGroup) {
	slots := make(chan struct{}, w.s.cfg.InFlight)
	for {
		alone, ok := w.gate.wait(ctx)
		if !ok || !w.wanted(ctx) {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		d, err := w.source.Next(ctx)
		if err != nil {
			<-slots
			if ctx.Err() == nil {
				w.log.Error("no more callbacks can be read", "error", err)
			}
			return
		}
		if left, closed := w.gate.closed(); closed && !alone { // it closed while we waited
			w.later(ctx, d, max(left, 0))
			<-slots
			continue
		}
		done := make(chan struct{})
		under.Go(func() {
			w.handle(ctx, trying, d, alone)
			<-slots
			close(done)
		})
		if !alone {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// count asks now and then how many callbacks wait.
func (w *worker) count(ctx context.Context) {
	for {
		n, err := w.source.Waiting(ctx)
		if err == nil {
			w.waiting.Store(int64(n))
		}
		if !pause(ctx, countEvery) {
			return
		}
	}
}

// say says the last word about a callback until the queue has heard it: unheard, the callback would be kept alive for as
// long as this worker runs, and be handed to nobody. What it doesn't take while it is there is of a callback that was
// ended already. Once ctx has ended it is said just once: the source is closed then, and what isn't ended comes again.
func (w *worker) say(ctx context.Context, word func() error) {
	for said := 0; word() != nil && said < mostSaid; {
		if _, err := w.source.Waiting(ctx); err == nil {
			said++
		} else if !pause(ctx, sayPause) {
			return
		}
	}
}

// later gives a callback back, to be handed out again after a pause.
func (w *worker) later(ctx context.Context, d Delivery, after time.Duration) {
	w.say(ctx, func() error { return d.Later(min(after, w.s.cfg.Park)) })
}

// handle does with one callback what there is to be done now. trying is the context of the request, which outlives ctx
// by the grace.
func (w *worker) handle(ctx, trying context.Context, d Delivery, alone bool) {
	cfg := &w.s.cfg
	c, err := decodeStored(d.Data())
	switch {
	case errors.Is(err, errNewer):
		w.log.Warn("callback has a newer format, left for a newer wabek", "callback", d.ID())
		w.later(ctx, d, cfg.Park)
		return
	case err != nil:
		w.log.Error("malformed callback", "callback", d.ID())
		w.giveUp(ctx, d, stored{First: cfg.Now().UnixMilli(), Last: "malformed"}, ReasonMalformed)
		return
	}
	now := cfg.Now()
	end := time.UnixMilli(c.First).Add(cfg.Life)
	switch due := time.UnixMilli(c.Due); {
	case !now.Before(end) && (c.Tries > 0 || alone): // one that waited while nothing was posted at all has its try
		w.giveUp(ctx, d, c, ReasonTooOld)
		return
	case c.Due > 0 && due.After(now):
		w.later(ctx, d, due.Sub(now))
		return
	}
	turn := w.gate.begin() // before the endpoint is read: a failure of the old one mustn't count for a new one
	e, ok := cfg.Endpoints.Endpoint(w.app)
	if !ok || e.Secret.IsZero() || w.isGone(e.URL) {
		w.later(ctx, d, cfg.Park) // the worker is about to be stopped
		return
	}
	switch a := w.s.post(trying, e, d.ID(), c.Body); a.outcome {
	case posted:
		w.posted.Add(1)
		w.waiting.Add(-1)
		if w.gate.succeeded(turn) {
			w.log.Info("callbacks are taken again")
		}
		w.say(ctx, d.Ack) // lost on its way, the callback comes again
	case abandoned:
		w.later(ctx, d, 0)
	case unwanted:
		w.leave(e.URL)
		w.later(ctx, d, 0) // it stays, for whatever URL comes
	case failed:
		w.failed.Add(1)
		w.fail(e.URL, a, turn)
		w.again(ctx, d, c, a)
	}
}

// fail tells the gate of a failed try. One at a URL that isn't the app's any more says nothing about the new one.
func (w *worker) fail(url string, a answer, turn uint64) {
	w.mu.Lock()
	w.last = a.why
	closed := url == w.url && w.gate.failed(turn, a.wait)
	w.mu.Unlock()
	if closed {
		w.log.Warn("callbacks fail, pausing", "reason", a.why, "until", w.gate.pausedUntil())
	}
}

// again puts a callback off whose try failed, or gives it up.
func (w *worker) again(ctx context.Context, d Delivery, c stored, a answer) {
	schedule := w.s.cfg.Schedule
	wait := max(a.wait, vary(schedule[min(c.Tries, len(schedule)-1)]))
	c.Tries++
	c.Last = a.why
	due := w.s.cfg.Now().Add(wait)
	if !due.Before(time.UnixMilli(c.First).Add(w.s.cfg.Life)) {
		w.giveUp(ctx, d, c, ReasonTooOld)
		return
	}
	c.Due = due.UnixMilli()
	data, err := c.encode()
	if err != nil {
		w.log.Error("callback can't be put off", "callback", d.ID(), "error", err)
		w.later(ctx, d, w.s.cfg.Park)
		return
	}
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := d.Replace(storing, data); err != nil {
		w.later(ctx, d, wait) // this try isn't counted
	}
}

// giveUp stores the letter of a callback and removes the callback, in this order.
func (w *worker) giveUp(ctx context.Context, d Delivery, c stored, why string) {
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := w.s.bury(storing, w.app, d.ID(), c, why); err != nil {
		w.log.Error("dead letter not stored, trying on", "callback", d.ID(), "error", err)
		w.later(ctx, d, w.s.cfg.Park)
		return
	}
	w.waiting.Add(-1)
	w.say(ctx, func() error { return d.Drop(why) })
}

func (w *worker) state() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return State{
		App: w.app, Waiting: int(max(0, w.waiting.Load())), Posted: w.posted.Load(), Failed: w.failed.Load(), Dead: w.buried.Load(),
		Paused: w.gate.pausedUntil(), Gone: w.gone != "", Last: w.last,
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
