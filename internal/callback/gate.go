package callback

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// failuresToClose is how many tries in a row fail before an app is left alone for a while.
const failuresToClose = 3

// gate leaves an app alone whose receiver fails, whatever the callback. Closed, nothing is taken from the queue, so the
// callbacks behind keep their tries and go out together once the receiver is back. After a pause one callback is
// tried alone; its success opens the gate, its failure closes it for longer.
type gate struct {
	now         func() time.Time
	first, last time.Duration
	step        time.Duration // how long to wait before the clock is looked at again

	mu    sync.Mutex
	turn  uint64 // rises at each closing: a failure of a try from before says nothing new
	fails int
	level int // how often it closed without a success since; 0: open
	until time.Time
	wake  chan struct{}
}

func newGate(c Config) *gate {
	return &gate{now: c.Now, first: c.PauseFirst, last: c.PauseLast, step: c.Park, wake: make(chan struct{}, 1)}
}

// wait waits until something may be taken, and says whether it must be tried alone. False: the context has ended.
func (g *gate) wait(ctx context.Context) (alone, ok bool) {
	for {
		closed, alone := g.closed()
		if closed <= 0 || ctx.Err() != nil {
			return alone, ctx.Err() == nil
		}
		t := time.NewTimer(min(closed, g.step))
		select {
		case <-ctx.Done():
		case <-g.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// closed is for how long still, and whether what comes then must be tried alone.
func (g *gate) closed() (left time.Duration, alone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.level == 0 {
		return 0, false
	}
	return g.until.Sub(g.now()), true
}

// pausedUntil is until when it is closed, zero where it isn't.
func (g *gate) pausedUntil() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.level == 0 {
		return time.Time{}
	}
	return g.until
}

// begin is called before a try, whose end is told with what it returns.
func (g *gate) begin() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.turn
}

// failed hears of a failure, and says whether that closed the open gate. asked is how long the receiver asked to be left
// alone, 0 where it didn't: that closes the gate at once, for so long at least.
func (g *gate) failed(turn uint64, asked time.Duration) (closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if turn != g.turn { // one of several that were under way
		if asked > 0 && g.level > 0 {
			g.until = later(g.until, g.now().Add(asked))
		}
		return false
	}
	if g.fails++; asked == 0 && g.level == 0 && g.fails < failuresToClose {
		return false
	}
	closed = g.level == 0
	// Whoever always says "in a second" is left alone for longer each time all the same.
	g.close(max(asked, vary(min(g.first<<min(g.level, 20), g.last))))
	return closed
}

// close closes; the caller holds mu.
func (g *gate) close(d time.Duration) {
	g.level++
	g.turn++
	g.fails = 0
	g.until = later(g.until, g.now().Add(d))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// succeeded hears of a success, and says whether that opened the closed gate. That of a try from before it closed
// doesn't: the receiver may have asked for a pause since.
func (g *gate) succeeded(turn uint64) (opened bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if turn != g.turn {
		return false
	}
	opened = g.level > 0
	g.fails, g.level, g.until = 0, 0, time.Time{}
	return opened
}

// reset opens the gate and wakes who waits at it: the receiver is another one.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fails, g.level, g.until = 0, 0, time.Time{}
	g.turn++
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// vary makes a pause up to a quarter shorter or longer, so that what failed together doesn't come back together.
func vary(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // nothing secret hangs on it
}
