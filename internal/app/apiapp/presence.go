package apiapp

import (
	"maps"
	"sync"
	"time"

	"wabek/internal/api"
	"wabek/internal/queue"
)

const (
	// freshFor is how long a heartbeat says that a session is up: three beats and a margin.
	freshFor = 10 * time.Second
	// rememberFor is how long a session that is silent still counts as one that should be there.
	rememberFor = 5 * time.Minute
	// retrySoon is what a client is told to wait when a session or the queue is away.
	retrySoon = 5 * time.Second
)

// presence is what this API knows of the sessions, from their heartbeats, and so whether an OTP issued now has
// a fair chance to be sent. It decides in memory, on every request.
type presence struct {
	grace     time.Duration // how long OTPs are taken on trust after a session was last seen
	now       func() time.Time
	connected func() bool
	firstSeen func() // called once, when the first session ever is seen; may be nil

	mu       sync.Mutex
	trust    time.Time                  // start of the grace that holds for every pool: our own start, if a session was ever seen
	lastUp   map[string]time.Time       // pool → when a session of it was last up
	sessions map[string]queue.Heartbeat // session → its last beat, At by our clock
	stopping bool
}

func newPresence(grace time.Duration, everSeen bool, now func() time.Time, connected func() bool, firstSeen func()) *presence {
	p := &presence{
		grace: grace, now: now, connected: connected, firstSeen: firstSeen,
		lastUp: map[string]time.Time{}, sessions: map[string]queue.Heartbeat{},
	}
	if everSeen {
		p.trust, p.firstSeen = now(), nil
	}
	return p
}

// beat takes in a heartbeat.
func (p *presence) beat(h queue.Heartbeat) {
	now := p.now()
	p.mu.Lock()
	h.At = now
	p.sessions[h.Session] = h
	maps.DeleteFunc(p.sessions, func(_ string, h queue.Heartbeat) bool { return now.Sub(h.At) > rememberFor })
	var tell func()
	if h.Up {
		p.lastUp[h.Pool] = now
		tell, p.firstSeen = p.firstSeen, nil
	}
	p.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// Admit says whether an OTP for a pool may be taken now.
func (p *presence) Admit(pool string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	switch {
	case p.stopping:
		return &api.Refusal{Code: api.CodeShuttingDown, RetryAfter: retrySoon, Detail: "This server is shutting down; send the request again."}
	case p.trusted(pool, now):
		return nil
	case !p.connected():
		return &api.Refusal{Code: api.CodeQueueUnavailable, RetryAfter: retrySoon, Detail: "The queue has been away for too long to promise delivery; try again soon."}
	}
	return &api.Refusal{
		Code: api.CodeNoSession, RetryAfter: retrySoon,
		Detail: "No WhatsApp session is connected that could deliver this OTP; pair one (see the README), or wait until it is back.",
	}
}

func (p *presence) trusted(pool string, now time.Time) bool {
	up, seen := p.lastUp[pool]
	if seen && now.Sub(up) < max(freshFor, p.grace) {
		return true
	}
	return !p.trust.IsZero() && now.Sub(p.trust) < p.grace
}

// working says that a session of the pool is up now, and that the queue can be reached.
func (p *presence) working(pool string) bool {
	if !p.connected() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	up, seen := p.lastUp[pool]
	return seen && p.now().Sub(up) < freshFor
}

// stop refuses everything from now on.
func (p *presence) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
}

// count tells how many sessions are up, and how many there should be.
func (p *presence) count() (up, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, h := range p.sessions {
		if now.Sub(h.At) > rememberFor {
			continue
		}
		total++
		if h.Up && now.Sub(h.At) < freshFor {
			up++
		}
	}
	return up, total
}
