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
	apps      map[string]*rate.Limiter
	addresses *lru.Cache[addressOf, *rate.Limiter]
}

type addressOf struct {
	app     string
	network netip.Prefix
}

// NewLimiter makes a Limiter; now is the clock.
func NewLimiter(now func() time.Time) *Limiter {
	addresses, err := lru.New[addressOf, *rate.Limiter](mostAddresses)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Limiter{now: now, apps: map[string]*rate.Limiter{}, addresses: addresses}
}

// Admit says whether an app may ask for another OTP, for an end user at an address; the zero address is nobody's. The
// error is an *otp.LimitError. An address of version 6 counts with its /64, which is what one household has.
func (l *Limiter) Admit(a *App, address netip.Addr) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var of, whole *rate.Limiter
	if a.PerAddress > 0 && address.IsValid() {
		of = l.address(a, address.Unmap(), now)
		if wait := untilToken(of, now); wait > 0 {
			return &otp.LimitError{Limit: LimitAddress, Allowed: a.PerAddress, Window: time.Hour, RetryAfter: wait}
		}
	}
	if a.Rate > 0 {
		whole = bucket(l.apps[a.Name], rate.Limit(a.Rate), a.Burst, now)
		l.apps[a.Name] = whole
		if wait := untilToken(whole, now); wait > 0 {
			return &otp.LimitError{Limit: LimitApp, Allowed: a.Burst, Window: atRate(float64(a.Burst), a.Rate), RetryAfter: wait}
		}
	}
	// Both have room, so neither pays for the other's refusal.
	for _, b := range []*rate.Limiter{of, whole} {
		if b != nil {
			b.AllowN(now, 1)
		}
	}
	return nil
}

// bucket is b with a limit and a burst of now, or a new and full one where there is none. One that is there keeps its
// tokens, else whoever changes a setting would give a burst away, and requests from before and after the change one each.
func bucket(b *rate.Limiter, limit rate.Limit, burst int, now time.Time) *rate.Limiter {
	if b == nil {
		return rate.NewLimiter(limit, burst)
	}
	if b.Limit() != limit {
		b.SetLimitAt(now, limit)
	}
	if b.Burst() != burst {
		b.SetBurstAt(now, burst)
	}
	return b
}

func (l *Limiter) address(a *App, address netip.Addr, now time.Time) *rate.Limiter {
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits) // fails only for more bits than it has
	key := addressOf{app: a.Name, network: network}
	known, _ := l.addresses.Get(key)
	b := bucket(known, rate.Limit(float64(a.PerAddress)/time.Hour.Seconds()), a.PerAddress, now)
	if known == nil {
		l.addresses.Add(key, b)
	}
	return b
}

// untilToken is how long it takes until there is a token; 0 where there is one.
func untilToken(b *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - b.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Millisecond, atRate(missing, float64(b.Limit())))
}

// atRate is how long so many tokens take, at most a year: the lowest rates would go beyond what a Duration holds.
func atRate(tokens, perSecond float64) time.Duration {
	const year = 365 * 24 * time.Hour
	return time.Duration(min(tokens/perSecond, year.Seconds()) * float64(time.Second))
}

// SendsTo says whether an app sends to a country, by its code of ISO 3166-1; an empty one is unknown, which only an app
// that names countries refuses.
func (a *App) SendsTo(code string) bool {
	return !slices.Contains(a.Deny, code) && (len(a.Allow) == 0 || slices.Contains(a.Allow, code))
}
