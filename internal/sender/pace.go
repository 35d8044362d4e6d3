package sender

import (
	"math/rand/v2"
	"sync"
	"time"
)

// NoticePace is how fast one session sends notices, and whether it does at all: the rule of queue.Notices. OTPs aren't
// paced by it. Its methods may be called from many goroutines.
type NoticePace struct {
	every time.Duration // between two notices, on average; 0 for no pause
	kept  func() bool   // the session is the one that its pool keeps for OTPs
	alone func() bool   // no other session of the pool is up
	vary  func() float64

	mu   sync.Mutex
	next time.Time // when the next one may be taken
	last time.Time // when one was taken
}

// yieldFor is how long a session that has taken a notice leaves OTPs to others: it is likely to take the next one.
const yieldFor = 10 * time.Second

// NewNoticePace lets a session send so many notices a minute, 0 for no bound, with pauses that differ by a third: a machine's
// beat is what WhatsApp looks for. kept and alone say how the pool is; they must be quick.
func NewNoticePace(perMinute int, kept, alone func() bool) *NoticePace {
	p := &NoticePace{kept: kept, alone: alone, vary: rand.Float64}
	if perMinute > 0 {
		p.every = time.Minute / time.Duration(perMinute)
	}
	return p
}

// Kept says that the session is the one that its pool keeps for OTPs.
func (p *NoticePace) Kept(time.Time) bool { return p.kept() }

// Wait is how long until the session may take a notice, by its pace.
func (p *NoticePace) Wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.next.Sub(now))
}

// Took hears that the session takes a notice.
func (p *NoticePace) Took(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
	p.next = now.Add(time.Duration(float64(p.every) * (2 + 2*p.vary()) / 3)) // two thirds to four thirds of it
}

// Yields says that an OTP had better go to another session: this one has just taken a notice, and isn't alone.
func (p *NoticePace) Yields(now time.Time) bool {
	p.mu.Lock()
	recently := !p.last.IsZero() && now.Sub(p.last) < yieldFor
	p.mu.Unlock()
	return recently && !p.alone()
}
