package stories_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	issuers   = 8   // clients that ask for OTPs
	crowd     = 100 // customers who wait at once, so that nobody waits long; while NATS is away there may be more
	followers = 32  // owners of phones, each with one code to wait for and to type in
	glance    = 150 * time.Millisecond
)

// load is a steady stream of customers: each asks for an OTP on a number of its own, waits for the message and
// types in the code. It goes on, whatever dies, until it is told to stop and everybody has had their code.
type load struct {
	w       *world
	numbers numbers
	stop    chan struct{}
	issuing sync.WaitGroup
	follow  sync.WaitGroup
	open    chan *customer // answered 200, and not yet verified

	mu        sync.Mutex
	customers []*customer
	away      int // requests made while NATS was away
	taken     int // of these, the ones answered 200
	natsAway  atomic.Bool

	accepted, verified, refused, cut, turnedAway atomic.Int64
}

// customer is one number with one OTP.
type customer struct {
	digits string
	id     string
	valid  bool // the answer was valid:true
	cut    bool // the connection that would have carried an answer was cut
	wrong  string
}

// startLoad begins with a customer every pace.
func (w *world) startLoad(pace time.Duration) *load {
	l := &load{w: w, stop: make(chan struct{}), open: make(chan *customer, 100_000)}
	tick := time.NewTicker(pace)
	w.t.Cleanup(tick.Stop)
	for range issuers {
		l.issuing.Go(func() {
			for {
				select {
				case <-tick.C:
					if l.natsAway.Load() || l.accepted.Load()-l.verified.Load() < crowd {
						l.ask(l.newCustomer())
					}
				case <-l.stop:
					return
				}
			}
		})
	}
	for range followers {
		l.follow.Go(func() {
			for c := range l.open {
				l.readAndVerify(c)
			}
		})
	}
	w.t.Cleanup(l.abandon)
	return l
}

// newCustomer is somebody with a phone of their own; every number that ever asked is looked at in the end.
func (l *load) newCustomer() *customer {
	c := &customer{digits: l.numbers.next()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.customers = append(l.customers, c)
	return c
}

// ask asks once. Where the API is down or says 503, this customer goes away.
func (l *load) ask(c *customer) {
	away := l.natsAway.Load()
	a, err := l.w.client.issue(c.digits)
	switch {
	case errors.Is(err, errRefused):
		l.refused.Add(1)
		return
	case err != nil:
		l.cut.Add(1)
	}
	if away = away && l.natsAway.Load(); away && err == nil { // away from beginning to end
		l.mu.Lock()
		l.away++
		if a.status == http.StatusOK {
			l.taken++
		}
		l.mu.Unlock()
	}
	if err != nil {
		return
	}
	if a.status != http.StatusOK {
		l.turnedAway.Add(1)
		return
	}
	c.id = a.otpID()
	l.accepted.Add(1)
	l.open <- c
}

// readAndVerify waits for the message, for as long as the story lasts, and types in its code.
func (l *load) readAndVerify(c *customer) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	code := ""
	for ; ; <-tick.C {
		if code == "" {
			shown, err := l.w.phones.shows(c.digits)
			if err != nil {
				return // the story is over
			}
			if len(shown) == 0 {
				continue
			}
			code = shown[0].code()
		}
		v, err := l.w.client.verify(c.id, code)
		switch {
		case errors.Is(err, errRefused):
			continue
		case err != nil:
			c.cut = true // perhaps it was verified, and nobody will tell
			continue
		case v.Valid:
			c.valid = true
		default:
			c.wrong = v.Reason
		}
		l.verified.Add(1)
		return
	}
}

// untilMoreAccepted waits until n more OTPs are accepted.
func (l *load) untilMoreAccepted(n int) {
	l.w.t.Helper()
	want := l.accepted.Load() + int64(n)
	require.Eventually(l.w.t, func() bool { return l.accepted.Load() >= want }, 10*time.Minute, 10*time.Millisecond)
}

// finish lets nobody in any more and waits until everybody has verified, for as long as somebody still does.
func (l *load) finish() {
	l.w.t.Helper()
	close(l.stop)
	l.issuing.Wait()
	for moved, last := time.Now(), int64(0); l.verified.Load() < l.accepted.Load(); <-time.After(glance) {
		if now := l.verified.Load(); now > last {
			moved, last = time.Now(), now
		}
		if time.Since(moved) > time.Minute {
			l.w.t.Logf("what is said of those who wait: %v", l.w.history().of(l.waiting()))
			require.FailNow(l.w.t, "some OTPs never arrive", "%d of %d", l.accepted.Load()-last, l.accepted.Load())
		}
	}
	close(l.open)
	l.follow.Wait()
}

// waiting lists the OTPs whose message hasn't come, up to ten.
func (l *load) waiting() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.customers {
		if shown, err := l.w.phones.shows(c.digits); c.id != "" && err == nil && len(shown) == 0 && len(ids) < 10 {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// abandon ends the load where the story has failed.
func (l *load) abandon() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
}

// everybodyIsServed checks each customer's phone, and tells how often copies of a message came.
func (l *load) everybodyIsServed() map[string]int {
	t := l.w.t
	t.Helper()
	copies := map[string]int{}
	for _, c := range l.customers {
		shown, err := l.w.phones.shows(c.digits)
		require.NoError(t, err)
		require.LessOrEqual(t, len(shown), 1, "%s shows more than one message", c.digits)
		if c.id == "" {
			continue // wasn't answered 200, and may have got one all the same
		}
		require.Len(t, shown, 1)
		copies[c.id] = shown[0].Copies
		if !c.valid { // then only because the answer was lost
			require.True(t, c.cut, "OTP %s: %q", c.id, c.wrong)
			require.Equal(t, reasonUsed, c.wrong, "OTP %s", c.id)
		}
	}
	return copies
}

// lostVerdicts counts the customers whose valid:true was on a connection that was cut.
func (l *load) lostVerdicts() (n int) {
	for _, c := range l.customers {
		if c.id != "" && !c.valid {
			n++
		}
	}
	return n
}

// acceptedWhileAway is how many of the requests made while NATS was away were answered 200.
func (l *load) acceptedWhileAway() (taken, away int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken, l.away
}
