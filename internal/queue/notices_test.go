package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

// rule is a queue.Notices that a test changes.
type rule struct {
	mu     sync.Mutex
	wait   time.Duration
	after  time.Duration // what wait becomes when a notice is taken
	kept   bool
	yields bool
	took   int
}

func (r *rule) Wait(time.Time) time.Duration { r.mu.Lock(); defer r.mu.Unlock(); return r.wait }
func (r *rule) Kept(time.Time) bool          { r.mu.Lock(); defer r.mu.Unlock(); return r.kept }
func (r *rule) Yields(time.Time) bool        { r.mu.Lock(); defer r.mu.Unlock(); return r.yields }
func (r *rule) Took(time.Time)               { r.mu.Lock(); defer r.mu.Unlock(); r.took++; r.wait = r.after }

func (r *rule) set(wait time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.wait = wait }
func (r *rule) keep(kept bool)         { r.mu.Lock(); defer r.mu.Unlock(); r.kept = kept }

func openWith(t *testing.T, b *queue.Broker, name string, r *rule) *queue.Jobs {
	t.Helper()
	j, err := b.Jobs(context.Background(), pool, name, r)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// A session that may take no notice takes OTPs, however many notices wait; and a notice as soon as it may.
func TestNotices_WaitForTheirTurnAndOTPsDoNot(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Hour})
	r := &rule{wait: time.Hour, after: time.Hour}
	j := openWith(t, b, session, r)
	for i := range 5 {
		require.NoError(t, publish(t, b, notice(fmt.Sprint("n-", i))))
		require.NoError(t, publish(t, b, own(notice(fmt.Sprint("own-", i)))))
	}
	for i := range 5 {
		require.NoError(t, publish(t, b, otp(fmt.Sprint("o-", i))))
		require.Equal(t, job.ID(fmt.Sprint("o-", i)), nextID(t, j))
	}
	r.set(0)
	require.Contains(t, []job.ID{"own-0", "n-0"}, nextID(t, j))
	require.Equal(t, 1, r.took)
	require.NoError(t, publish(t, b, otp("o-5")))
	require.Equal(t, job.ID("o-5"), nextID(t, j), "one turn is one notice")
}

// A session has one notice under way, so that an OTP never waits for two; the next comes when it has ended, however that is.
func TestNotices_OneAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Second})
	j := open(t, b, session)
	for i := range 4 {
		require.NoError(t, publish(t, b, notice(fmt.Sprint("n-", i))))
	}
	first := next(t, j)
	require.Equal(t, job.ID("n-0"), first.Job().ID)
	second := make(chan *queue.Delivery, 1)
	for range 2 {
		go func() {
			if d, err := j.Next(within(t)); err == nil {
				second <- d
			}
		}()
	}
	require.NoError(t, publish(t, b, otp("o-1")))
	require.Equal(t, job.ID("o-1"), (<-second).Job().ID)
	require.Empty(t, second)
	require.NoError(t, first.Ack())
	d := <-second
	require.Equal(t, job.ID("n-1"), d.Job().ID)
	// One that nobody ends, nor keeps alive, is the queue's again, and bars the way no longer.
	require.NotEqual(t, job.ID("n-0"), next(t, j).Job().ID)
}

// A session that is kept for OTPs takes none of the notices that others may, but its own, at their pace: it may have sent them
// already, so nobody else may send them.
func TestNotices_OfItsOwnGoOutThroughAKeptSessionToo(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Hour})
	r := &rule{kept: true}
	j := openWith(t, b, session, r)
	require.NoError(t, publish(t, b, notice("n-1")))
	require.NoError(t, publish(t, b, own(notice("own-1"))))
	d := next(t, j)
	require.Equal(t, job.ID("own-1"), d.Job().ID)
	require.NoError(t, d.Ack())
	require.NoError(t, publish(t, b, otp("o-1")))
	require.Equal(t, job.ID("o-1"), nextID(t, j))
	require.NoError(t, publish(t, b, own(notice("own-2"))))
	require.Equal(t, job.ID("own-2"), nextID(t, j), "and still not n-1")
	require.Equal(t, 2, r.took)
}

// A notice that a session holds when it is kept from now on goes to another one, long before the ack wait is over.
func TestNotices_ThatAreHeldGoToWhoMayTakeThem(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Hour})
	ready(t, b)
	r := &rule{}
	j := openWith(t, b, session, r)
	settle(t, nc, j)
	require.NoError(t, publish(t, b, notice("n-1")))
	require.Eventually(t, func() bool { return inFlight(t, nc, "WABEK_NOTICE") == 1 }, patient, 5*time.Millisecond)
	r.keep(true)
	require.Equal(t, job.ID("n-1"), nextID(t, open(t, b, other)))
}

// Of two sessions that wait, the one that doesn't yield gets each OTP; the other one gets what that one leaves.
func TestOTPs_GoToWhoDoesNotYield(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Hour})
	ready(t, b)
	busy, free := openWith(t, b, session, &rule{yields: true}), openWith(t, b, other, &rule{})
	type taken struct {
		by string
		id job.ID
	}
	got := make(chan taken, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var takers sync.WaitGroup
	defer takers.Wait()
	defer cancel()
	take := func(by string, j *queue.Jobs) {
		d, err := j.Next(ctx)
		if err != nil {
			return
		}
		_ = d.Ack()
		got <- taken{by, d.Job().ID}
	}
	takers.Go(func() { take("busy", busy) })
	waiters(t, nc, 1)
	for i := range 20 {
		takers.Go(func() { take("free", free) })
		waiters(t, nc, 2)
		require.NoError(t, publish(t, b, otp(fmt.Sprint("o-", i))))
		require.Equal(t, taken{"free", job.ID(fmt.Sprint("o-", i))}, <-got)
	}
	require.NoError(t, publish(t, b, otp("last")))
	require.Equal(t, taken{"busy", "last"}, <-got)
}

// waiters waits until so many sessions wait for an OTP.
func waiters(t *testing.T, nc *nats.Conn, n int) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		c, err := js.Consumer(within(t), "WABEK_OTP", "any-"+pool)
		return err == nil && c.CachedInfo().NumWaiting == n
	}, patient, time.Millisecond)
}

// A consumer that an older wabek made has no groups. It is given them, and loses nothing.
func TestJobs_AConsumerOfAnOlderWabekIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Hour})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateConsumer(within(t), "WABEK_OTP", jetstream.ConsumerConfig{
		Durable: "any-" + pool, FilterSubject: "wabek.job.otp." + pool + ".any.*", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour,
		MaxDeliver: -1, MaxAckPending: 10_000, MaxWaiting: 8192,
	})
	require.NoError(t, err)
	require.NoError(t, publish(t, b, otp("waited")))
	require.Equal(t, job.ID("waited"), nextID(t, open(t, b, session)))
}
