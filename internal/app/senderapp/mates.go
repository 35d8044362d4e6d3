package senderapp

import (
	"sync"
	"time"

	"wabek/internal/queue"
)

// mateFresh is how long a heartbeat says that a session is up: three beats and a margin.
const mateFresh = 10 * time.Second

// mates are the sessions of a pool, as one of them hears of them.
type mates struct {
	pool, self string
	now        func() time.Time

	mu sync.Mutex
	up map[string]time.Time // of the others: when they last said so
}

func newMates(pool, self string, now func() time.Time) *mates {
	return &mates{pool: pool, self: self, now: now, up: map[string]time.Time{}}
}

// beat takes in a heartbeat.
func (m *mates) beat(h queue.Heartbeat) {
	if h.Pool != m.pool || h.Session == m.self {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.Up {
		m.up[h.Session] = m.now()
	} else {
		delete(m.up, h.Session)
	}
}

// alone says that no other session is up.
func (m *mates) alone() bool { return m.least() == "" }

// kept says that this is the session that the pool keeps for OTPs: of two or more that are up, the one whose id sorts first. Two
// may think so for a moment while one comes or goes; then both do, or neither.
func (m *mates) kept() bool {
	other := m.least()
	return other != "" && m.self < other
}

// least is the first of the others that are up, empty where none is.
func (m *mates) least() (first string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for session, at := range m.up {
		switch {
		case now.Sub(at) >= mateFresh:
			delete(m.up, session)
		case first == "" || session < first:
			first = session
		}
	}
	return first
}
