package apps

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"wabek/internal/otp"
)

// The limits that don't hang on a phone. The strings are part of the public contract.
const (
	LimitApp     otp.Limit = "app_rate"         // OTPs of an app
	LimitAddress otp.Limit = "address_per_hour" // OTPs for an end user's address
)

// mostAddresses is how many addresses are remembered. Whoever is forgotten begins anew.
const mostAddresses = 100_000

// Limiter holds apps to their rate, and end users' addresses to their share. It forgets at a restart. Its methods may be
// called from many goroutines, and let through exactly what is allowed.
type Limiter struct {
	now func() time.Time

	mu        sync.Mutex
	apps      map[string]*bucket
	addresses *lru.Cache[addressOf, *bucket]
}

type addressOf struct {
	app     string
	network netip.Prefix
}

type bucket struct {
	limit rate.Limit
	burst int
	*rate.Limiter
}

// NewLimiter makes a Limiter; now is the clock.
func NewLimiter(now func() time.Time) *Limiter {
	addresses, err := lru.New[addressOf, *bucket](mostAddresses)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Limiter{now: now, apps: map[string]*bucket{}, addresses: addresses}
}

// Admit says whether an app may ask for another OTP, for an end user at an address; the zero address is nobody's. The
// error is an *otp.LimitError. An address of version 6 counts with its /64, which is what one household has.
func (l *Limiter) Admit(a *App, address netip.Addr) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var of, whole *bucket
	if a.PerAddress > 0 && address.IsValid() {
		of = l.address(a, address.Unmap())
		if wait := of.wait(now); wait > 0 {
			return &otp.LimitError{Limit: LimitAddress, Allowed: a.PerAddress, Window: time.Hour, RetryAfter: wait}
		}
	}
	if a.Rate > 0 {
		whole = l.apps[a.Name]
		if whole == nil || whole.limit != rate.Limit(a.Rate) || whole.burst != a.Burst {
			whole = newBucket(rate.Limit(a.Rate), a.Burst)
			l.apps[a.Name] = whole
		}
		if wait := whole.wait(now); wait > 0 {
			return &otp.LimitError{Limit: LimitApp, Allowed: a.Burst, Window: time.Duration(float64(a.Burst) / a.Rate * float64(time.Second)), RetryAfter: wait}
		}
	}
	// Both have room, so neither pays for the other's refusal.
	for _, b := range []*bucket{of, whole} {
		if b != nil {
			b.AllowN(now, 1)
		}
	}
	return nil
}

func newBucket(limit rate.Limit, burst int) *bucket {
	return &bucket{limit: limit, burst: burst, Limiter: rate.NewLimiter(limit, burst)}
}

func (l *Limiter) address(a *App, address netip.Addr) *bucket {
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	network, err := address.Prefix(bits)
	if err != nil { // not of this many bits
		network = netip.PrefixFrom(address, address.BitLen())
	}
	key, limit := addressOf{app: a.Name, network: network}, rate.Limit(float64(a.PerAddress)/time.Hour.Seconds())
	b, ok := l.addresses.Get(key)
	if !ok || b.burst != a.PerAddress {
		b = newBucket(limit, a.PerAddress)
		l.addresses.Add(key, b)
	}
	return b
}

// wait is how long it takes until there is a token; 0 where there is one.
func (b *bucket) wait(now time.Time) time.Duration {
	missing := 1 - b.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(missing/float64(b.limit)*float64(time.Second)))
}

// SendsTo says whether an app sends to a country, by its code of ISO 3166-1; an empty one is unknown, which only an app
// that names countries refuses.
func (a *App) SendsTo(code string) bool {
	return !slices.Contains(a.Deny, code) && (len(a.Allow) == 0 || slices.Contains(a.Allow, code))
}
