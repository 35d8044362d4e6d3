package apiapp

import (
	"sync"
	"time"

	"wabek/internal/api"
)

const (
	// paceWindow is how far back the pace is measured, and how long a backlog may stand of which nothing is taken at all.
	paceWindow = 8 * time.Second
	// paceFirst is how long a backlog must stand before the pace at which it is taken says something: until then it may
	// be a burst that the sessions haven't had time for.
	paceFirst = time.Second
	// paceSlot is the grain of the measurement.
	paceSlot = 250 * time.Millisecond
	// paceBacklog is a backlog that is none: an OTP behind so few isn't late.
	paceBacklog = 20
	// longestRefusal bounds what a client is told to wait.
	longestRefusal = time.Minute
)

// pace is how fast sessions take jobs, and so whether an OTP issued now would arrive in time. It measures only while
// jobs wait: then the sessions do what they can.
type pace struct {
	most time.Duration // an OTP may wait for its session so long; 0 for no bound
	now  func() time.Time

	mu    sync.Mutex
	since time.Time                                          // since when a backlog stands; zero where none does
	slots [paceWindow/paceSlot + 1]struct{ at, taken int64 } // those of the window, and the one that is running
}

func newPace(most time.Duration, now func() time.Time) *pace { return &pace{most: most, now: now} }

// took notes that sessions have taken jobs.
func (p *pace) took(jobs int) {
	if jobs == 0 {
		return
	}
	running := slotOf(p.now())
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := &p.slots[running%int64(len(p.slots))]
	if slot.at != running {
		slot.at, slot.taken = running, 0
	}
	slot.taken += int64(jobs)
}

// admit says whether one more job may join those that wait. known is false while the queue or the sessions are away:
// another rule decides then, and what waits says nothing of the pace.
func (p *pace) admit(waiting int64, known bool) error {
	if p.most == 0 {
		return nil
	}
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !known || waiting < paceBacklog:
		p.since = time.Time{}
		return nil
	case p.since.IsZero():
		p.since = now
		return nil
	}
	stood := min(now.Sub(p.since), paceWindow)
	if stood < paceFirst {
		return nil
	}
	// Whole slots, but for the one that is running and the one in which the backlog began.
	last := slotOf(now)
	first := max(slotOf(p.since)+1, last-int64(paceWindow/paceSlot))
	window, taken := time.Duration(last-first)*paceSlot, int64(0)
	for _, s := range p.slots {
		if first <= s.at && s.at < last {
			taken += s.taken
		}
	}
	if taken == 0 && stood < paceWindow {
		return nil
	}
	wait := longestRefusal + p.most
	if taken > 0 {
		wait = time.Duration(float64(waiting) / float64(taken) * float64(window))
	}
	if wait <= p.most {
		return nil
	}
	return &api.Refusal{Code: api.CodeOverloaded, RetryAfter: min(wait-p.most, longestRefusal)}
}

// slotOf numbers the slots.
func slotOf(t time.Time) int64 { return t.UnixMilli() / paceSlot.Milliseconds() }

// paces are those of all pools: one that nobody serves mustn't hold up another.
type paces struct {
	most time.Duration
	now  func() time.Time

	mu   sync.Mutex
	each map[string]*pace
}

func newPaces(most time.Duration, now func() time.Time) *paces {
	return &paces{most: most, now: now, each: map[string]*pace{}}
}

// of is the pace of a pool.
func (p *paces) of(pool string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.each[pool] == nil {
		p.each[pool] = newPace(p.most, p.now)
	}
	return p.each[pool]
}

// admission asks both: whether sessions are there, and whether they would get to it in time.
type admission struct {
	presence *presence
	paces    *paces
	waiting  func(pool string) int64
}

// Admit is api.Admission's.
func (a *admission) Admit(pool string) error {
	if err := a.presence.Admit(pool); err != nil {
		return err
	}
	return a.paces.of(pool).admit(a.waiting(pool), a.presence.working(pool))
}
