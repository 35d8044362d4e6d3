package console

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	mostAttempts   = 10               // failed sign-ins of one address …
	attemptsWindow = 15 * time.Minute // … within this time
	mostAddresses  = 4096             // remembered; who is forgotten begins anew
)

// attempts bounds the failed sign-ins of each address. Nobody guesses 256 bits; it keeps those who try from filling the
// log, and tells them apart from a person with an old link.
type attempts struct {
	now func() time.Time

	mu   sync.Mutex
	seen *lru.Cache[netip.Prefix, *failures]
}

type failures struct {
	count int
	since time.Time
}

func newAttempts(now func() time.Time) *attempts {
	seen, err := lru.New[netip.Prefix, *failures](mostAddresses)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &attempts{now: now, seen: seen}
}

// fail counts a failed attempt. Where that is one too many it says how long to wait instead. Addresses of version 6
// count with their /64, which is what one household has.
func (a *attempts) fail(from netip.Addr) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, key := a.now(), network(from)
	f, known := a.seen.Get(key)
	if !known || now.Sub(f.since) >= attemptsWindow {
		f = &failures{since: now}
		a.seen.Add(key, f)
	}
	if f.count >= mostAttempts {
		return f.since.Add(attemptsWindow).Sub(now)
	}
	f.count++
	return 0
}

func network(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil { // the zero address: all those without one count together
		return netip.Prefix{}
	}
	return p
}
