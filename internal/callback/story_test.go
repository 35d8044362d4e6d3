package callback_test

import (
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/callback"
	"wabek/internal/outbound"
	"wabek/internal/outbound/dnstest"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
)

func TestStory_TheReceiverIsDownAndComesUp(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	r := receive(t, nil)
	secret := b.to.set(app, r.URL)
	address := r.Listener.Addr().String()
	r.Close()
	b.enqueue(app, numbers(50)...)
	require.Eventually(t, func() bool { return b.state().Failed > 5 }, patient, tick)
	require.Contains(t, b.state().Last, "connection refused")
	require.Equal(t, 50, b.stored())

	r = receiveAt(t, address, nil)
	r.waitFor(t, 50)
	b.empty()
	for _, g := range r.requests() {
		require.NoError(t, verify(t, secret, g))
	}
	require.Empty(t, b.dead())
}

// While the receiver is down only a probe now and then is lost to it: the callbacks behind keep their tries, and go out
// as soon as it is back, however long their own pauses are.
func TestStory_ALongOutageCostsTheCallbacksBehindNothing(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := running(t, func(c *callback.Config) { c.Now = clock.Now; c.Schedule, c.PauseLast = nil, 0 })
	r := receive(t, answer(http.StatusBadGateway))
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(200)...)
	last := 0
	for range 30 { // minutes
		require.Eventually(t, func() bool {
			s := b.state()
			return r.count() > last && s.Failed == uint64(r.count()) && s.Paused.After(clock.Now())
		}, patient, tick)
		last = r.count()
		clock.add(76 * time.Second)
	}
	require.Less(t, r.count(), 60)
	r.set(nil)
	clock.add(76 * time.Second)
	require.Eventually(t, func() bool { return r.distinct() >= 200-60 }, patient, tick, "without waiting for what is due later")
	clock.add(2 * time.Hour)
	r.waitFor(t, 200)
	b.empty()
}

func TestStory_ASlowReceiverDelaysNoOther(t *testing.T) {
	t.Parallel()
	b := running(t, func(c *callback.Config) { c.InFlight = 4 })
	release := make(chan struct{})
	slow := receive(t, func(http.ResponseWriter, got) bool { <-release; return true })
	fast := receive(t, nil)
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	b.to.set(app, slow.URL)
	b.to.set(other, fast.URL)
	b.enqueue(app, numbers(30)...)
	require.Eventually(t, func() bool { return slow.count() == 4 }, patient, tick)
	b.enqueue(other, numbers(200)...)
	fast.waitFor(t, 200)
	require.Equal(t, 4, slow.count(), "no more than may be under way at once")
	require.Zero(t, slow.distinct())
	letGo()
	slow.waitFor(t, 30)
	b.empty()
	require.Equal(t, 30, slow.count(), "each once")
}

func TestStory_ARedirectIsntFollowed(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	inner := receive(t, nil)
	r := receive(t, func(w http.ResponseWriter, _ got) bool {
		w.Header().Set("Location", inner.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return false
	})
	b.to.set(app, r.URL)
	b.enqueue(app, 1, 2, 3)
	require.Eventually(t, func() bool { return r.count() > 5 }, patient, tick)
	require.Equal(t, "status 307", b.state().Last)
	r.set(nil)
	r.waitFor(t, 3)
	require.Zero(t, inner.count())
}

func TestStory_ANameLeadsInsideAfterAWhile(t *testing.T) {
	t.Parallel()
	dns := dnstest.Start(t)
	inside := receive(t, nil)
	outside := receiveAt(t, "127.0.0.2:"+inside.port(), func(w http.ResponseWriter, _ got) bool {
		w.Header().Set("Connection", "close") // so that each connects anew
		return true
	})
	fine := receiveAt(t, "127.0.0.2:0", nil)
	dns.Set("rebind.test", "127.0.0.2")
	client := outbound.New(outbound.Options{
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, // stands for the public Internet
		Resolver: dns.Resolver(),
	})
	t.Cleanup(client.Close)
	b := running(t, func(c *callback.Config) { c.Client = client })
	secret := b.to.set(app, "http://rebind.test:"+inside.port()+"/hook?token=s3cr3t")
	b.to.set(other, fine.URL)
	b.enqueue(app, 0)
	outside.waitFor(t, 1)

	dns.Set("rebind.test", "127.0.0.1")
	b.enqueue(app, 1, 2, 3)
	b.enqueue(other, numbers(20)...)
	fine.waitFor(t, 20)
	require.Eventually(t, func() bool { return b.state().Failed > 5 }, patient, tick)
	require.Contains(t, b.state().Last, "target not allowed: the address is loopback")
	require.Zero(t, inside.count(), "nothing inside was reached")
	require.Equal(t, 1, outside.count())

	dns.Set("rebind.test", "127.0.0.2")
	outside.waitFor(t, 4)
	b.empty()
	for _, g := range outside.requests() {
		require.NoError(t, verify(t, secret, g))
	}
	require.Zero(t, inside.count())
	for _, text := range []string{b.book.String(), b.state().Last} {
		require.NotContains(t, text, "s3cr3t")
		require.NotContains(t, text, secret.Reveal()[6:])
	}
}

func TestStory_StoppedInTheMiddleNothingIsLostOrRepeated(t *testing.T) {
	t.Parallel()
	b := running(t, func(c *callback.Config) { c.InFlight = 3 })
	r := receive(t, nil)
	b.to.set(app, r.URL)
	for n := range 6 {
		b.enqueue(app, numbers(100*(n+1))...) // those that were posted come again with the same id
		require.Eventually(t, func() bool { return r.distinct() > 100*n+10 }, patient, tick)
		b.stop() // while requests are under way
		var err error
		b.Service, err = callback.New(b.cfg)
		require.NoError(t, err)
		b.run()
	}
	r.waitFor(t, 600)
	b.empty()
}

func TestStory_AStopLetsRequestsUnderWayEnd(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	release := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, got) bool { <-release; return true })
	b.to.set(app, r.URL)
	b.enqueue(app, 1, 2)
	require.Eventually(t, func() bool { return r.count() == 2 }, patient, tick)
	stopped := make(chan struct{})
	go func() {
		b.stop()
		close(stopped)
	}()
	close(release)
	<-stopped
	b.empty()
	require.Equal(t, 2, r.distinct())
}

func TestStory_AStopDoesntWaitForEver(t *testing.T) {
	t.Parallel()
	b := running(t, func(c *callback.Config) { c.Grace = 20 * time.Millisecond })
	release := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, got) bool { <-release; return true })
	t.Cleanup(func() { close(release) })
	b.to.set(app, r.URL)
	b.enqueue(app, 1, 2)
	require.Eventually(t, func() bool { return r.count() == 2 }, patient, tick)
	b.stop()
	require.Equal(t, 2, b.stored(), "what became of them isn't known, so they come again")
	r.set(nil)
	var err error
	b.Service, err = callback.New(b.cfg)
	require.NoError(t, err)
	b.run()
	r.waitFor(t, 2)
	b.empty()
}

func TestStory_TheProcessDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.connect(queue.Options{AckWait: time.Second})
	var err error
	b.Service, err = callback.New(b.cfg)
	require.NoError(t, err)
	b.run()
	release := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, got) bool { <-release; return true })
	secret := b.to.set(app, r.URL)
	b.enqueue(app, numbers(40)...)
	require.Eventually(t, func() bool { return r.count() == 16 }, patient, tick)
	b.nc.Close() // from here on it says nothing any more
	close(release)
	b.stop()
	require.Equal(t, 16, r.distinct(), "taken, but nobody could say so")

	b.connect(queue.Options{AckWait: time.Second})
	b.Service, err = callback.New(b.cfg)
	require.NoError(t, err)
	b.run()
	r.waitFor(t, 40)
	b.empty()
	require.Equal(t, 40+16, r.count(), "those come a second time, with the same id")
	for _, g := range r.requests() {
		require.NoError(t, verify(t, secret, g))
	}
}

func TestStory_NATSIsRestartedInTheMiddle(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *callback.Config) { c.InFlight = 4 })
	at := embed.Options{Dir: t.TempDir(), Logger: b.log, Listen: "127.0.0.1:0"}
	srv, err := embed.Start(at)
	require.NoError(t, err)
	at.Listen = srv.Addr()
	t.Cleanup(func() { srv.Shutdown() })
	nc, err := queue.Dial("nats://"+srv.Addr(), queue.DialOptions{Name: "test", Logger: b.log})
	require.NoError(t, err)
	b.use(nc, queue.Options{})
	b.Service, err = callback.New(b.cfg)
	require.NoError(t, err)
	b.run()
	r := receive(t, func(w http.ResponseWriter, g got) bool {
		return g.Data.Seq%3 > 0 || answer(http.StatusBadGateway)(w, g)
	})
	b.to.set(app, r.URL)
	enqueued := 0
	for range 3 {
		events := make([]callback.Event, 60)
		for n := range events {
			events[n] = event(app, enqueued+n)
			events[n].OTP.Seq = uint64(enqueued + n + 1) // a third of them fails for now
		}
		enqueued += len(events)
		require.Eventually(t, func() bool { return b.Enqueue(within(t), events...) == nil }, patient, tick, "as a projector does: again until it is stored")
		require.Eventually(t, func() bool { return r.distinct() > enqueued/2 }, patient, tick)
		srv.Shutdown()
		srv, err = embed.Start(at)
		require.NoError(t, err)
	}
	r.set(nil)
	r.waitFor(t, enqueued)
	b.empty()
	require.Empty(t, b.dead())
}

// The connection alone is lost: the server goes on, and with it the consumer that has handed the callbacks out. What is
// said of them meanwhile isn't heard, so it must be said again; else they would be kept alive for ever.
func TestStory_TheConnectionIsLostWhileCallbacksAreUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	srv, err := embed.Start(embed.Options{Dir: t.TempDir(), Logger: b.log, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(srv.Shutdown)
	line := layCable(t, srv.Addr())
	nc, err := queue.Dial("nats://"+line.Addr().String(), queue.DialOptions{Name: "test", Logger: b.log})
	require.NoError(t, err)
	b.use(nc, queue.Options{AckWait: 5 * time.Second})
	b.Service, err = callback.New(b.cfg)
	require.NoError(t, err)
	b.run()
	release := make(chan struct{})
	r := receive(t, func(w http.ResponseWriter, g got) bool {
		<-release
		return g.ID == eventID(1) || answer(http.StatusBadGateway)(w, g)
	})
	b.to.set(app, r.URL)
	b.enqueue(app, 1, 2)
	require.Eventually(t, func() bool { return r.count() == 2 }, patient, tick)
	line.set(true)
	require.Eventually(t, func() bool { return !nc.IsConnected() }, patient, tick)
	close(release)
	require.Eventually(t, func() bool { s := b.state(); return s.Posted == 1 && s.Failed == 1 }, patient, tick)
	r.set(nil)
	line.set(false)
	require.Eventually(t, nc.IsConnected, patient, tick)
	b.empty()
	r.waitFor(t, 2)
}

// A receiver ends idle connections, and one may end while a callback is on its way over it.
func TestStory_AConnectionThatHasJustEndedIsNoFailure(t *testing.T) {
	t.Parallel()
	b := running(t, func(c *callback.Config) { c.InFlight = 1 })
	var ended atomic.Int64
	r := receive(t, func(_ http.ResponseWriter, g got) bool {
		if g.ID == eventID(2) && ended.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		return true
	})
	b.to.set(app, r.URL)
	b.enqueue(app, 1)
	r.waitFor(t, 1)
	b.empty()
	b.enqueue(app, 2)
	r.waitFor(t, 2)
	b.empty()
	require.Zero(t, b.state().Failed)
	for _, g := range r.requests() {
		require.NotContains(t, g.Header, "Idempotency-Key")
	}
}
