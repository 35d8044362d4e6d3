package relay_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/record/bolt"
	"wabek/internal/relay"
	"wabek/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patient = 10 * time.Second
	session = "aaaaaaaa"
)

// node is the API's side without HTTP: records, relay and statuses over a NATS server of its own.
type node struct {
	t       *testing.T
	dir     string
	log     *slog.Logger
	ahead   atomic.Int64
	addr    string
	nats    *embed.Server
	nc      *nats.Conn
	broker  *queue.Broker
	store   *bolt.Store
	relay   *relay.Relay
	service *otp.Service
	stop    func()

	published atomic.Int64
}

// counted counts what goes through a publisher.
type counted struct {
	relay.Publisher
	count *atomic.Int64
}

func (c counted) Publish(ctx context.Context, e job.Envelope, left time.Duration, done func(error)) {
	c.count.Add(1)
	c.Publisher.Publish(ctx, e, left, done)
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), addr: "127.0.0.1:0"}
	n.startNATS()
	return n
}

func (n *node) now() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

func (n *node) startNATS() {
	n.t.Helper()
	server, err := embed.Start(embed.Options{Dir: filepath.Join(n.dir, "nats"), Logger: n.log, Listen: n.addr})
	require.NoError(n.t, err)
	n.nats, n.addr = server, server.Addr()
	n.t.Cleanup(server.Shutdown)
}

// start opens the records and begins to relay, with a queue that is there or not.
func (n *node) start(relaying bool) {
	n.t.Helper()
	var err error
	n.nc, err = queue.Dial("nats://"+n.addr, queue.DialOptions{Name: "test", Logger: n.log})
	require.NoError(n.t, err)
	n.broker, err = queue.New(n.nc, queue.Options{Logger: n.log, AckTimeout: time.Second})
	require.NoError(n.t, err)
	n.store, err = bolt.Open(bolt.Options{
		Path: filepath.Join(n.dir, "records.db"), Now: n.now, Logger: n.log,
		Committed: func(e job.Envelope) { n.relay.Offer(e) }, Withdrawn: func(id job.ID) { n.relay.Withdrawn(id) },
	})
	require.NoError(n.t, err)
	n.relay = relay.New(relay.Config{
		Outbox: n.store, Publisher: counted{n.broker, &n.published}, Log: n.broker, Now: n.now, Logger: n.log, Silence: 300 * time.Millisecond,
		Connected: func() (bool, uint64) { return n.broker.Connected(), n.nc.Stats().Reconnects },
	})
	secret, err := keys.NewSecret(strings.Repeat("secret ", 8))
	require.NoError(n.t, err)
	stored, err := n.store.Keys()
	require.NoError(n.t, err)
	ring, changed, err := keys.OpenRing(stored, secret, keys.Secret{})
	require.NoError(n.t, err)
	if changed != nil {
		require.NoError(n.t, n.store.SaveKeys(n.t.Context(), changed))
	}
	n.service, err = otp.NewService(n.store, ring, keys.DeriveSealKeys(secret, keys.Secret{}),
		otp.Policy{Length: 6, Expiry: 10 * time.Minute, MaxAttempts: 5}, rand.Reader, n.now)
	require.NoError(n.t, err)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	running := 1
	go func() { ended <- n.broker.Run(ctx) }()
	if relaying {
		running = 3
		go func() { n.relay.Run(ctx); ended <- nil }()
		noted := status.SinkFunc(func(_ context.Context, s []job.Status) error { n.relay.Note(s); return nil })
		go func() { ended <- n.broker.Statuses(ctx, "records", status.Fan(n.store, noted).Apply) }()
	}
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range running {
			require.NoError(n.t, <-ended)
		}
		n.nc.Close()
		require.NoError(n.t, n.store.Close())
	}
	n.t.Cleanup(n.stop)
}

func (n *node) issue(digits string) otp.ID {
	n.t.Helper()
	to, err := phone.Parse("+" + digits)
	require.NoError(n.t, err)
	issued, err := n.service.Issue(n.t.Context(), otp.Request{App: otp.DefaultApp, Pool: job.DefaultPool, Phone: to, Purpose: "login"})
	require.NoError(n.t, err)
	return issued.ID
}

// jobs opens a sender's source of jobs on this queue.
func (n *node) jobs() *queue.Jobs {
	n.t.Helper()
	jobs, err := n.broker.Jobs(context.Background(), job.DefaultPool, session, nil)
	require.NoError(n.t, err)
	n.t.Cleanup(func() { require.NoError(n.t, jobs.Close()) })
	return jobs
}

func (n *node) next(jobs *queue.Jobs) *queue.Delivery {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patient)
	defer cancel()
	d, err := jobs.Next(ctx)
	require.NoError(n.t, err)
	return d
}

func (n *node) say(id otp.ID, state job.State) {
	n.t.Helper()
	_, _, err := job.Raise(n.t.Context(), n.broker, job.Status{
		Job: job.ID(id.String()), Pool: job.DefaultPool, State: state, Session: session, At: n.now().UTC(),
	}, 0)
	require.NoError(n.t, err)
}

func (n *node) becomes(id otp.ID, state job.State) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		r, err := n.store.Get(n.t.Context(), id)
		return err == nil && r.Delivery == state
	}, patient, 5*time.Millisecond, "the record never says %s", state)
}

func (n *node) settles() {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return n.relay.Stats().Pending == 0 }, patient, 5*time.Millisecond)
	left, err := n.store.Pending(n.t.Context(), "", 10)
	require.NoError(n.t, err)
	require.Empty(n.t, left)
}

func TestRelay_ACommittedJobReachesTheQueueAndItsStatusTheRecord(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	id := n.issue("905550000001")
	d := n.next(n.jobs())
	require.Equal(t, job.ID(id.String()), d.Job().ID)
	require.Equal(t, int64(1), n.relay.Stats().Pending)
	n.say(id, job.Sent)
	require.NoError(t, d.Ack())
	n.becomes(id, job.Sent)
	n.settles()
	n.say(id, job.Read)
	n.becomes(id, job.Read)
	require.Zero(t, n.relay.Stats().Republished)
}

// The crash: between the commit and the publish. Nobody but the outbox knows of the job then.
func TestRelay_RepublishesWhatAnEarlierRunLeft(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(false)
	n.relay = relay.New(relay.Config{Now: n.now, Logger: n.log}) // never runs: the process dies here
	id := n.issue("905550000002")
	n.stop()

	n.start(true)
	d := n.next(n.jobs())
	require.Equal(t, job.ID(id.String()), d.Job().ID)
	require.EqualValues(t, 1, n.relay.Stats().Republished)
	n.say(id, job.Sent)
	require.NoError(t, d.Ack())
	n.settles()
}

func TestRelay_AsksForTheStatusBeforeItRepublishes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(false)
	id := n.issue("905550000003")
	<-n.broker.Ready()
	n.say(id, job.Sent) // its sender was done, but no record heard of it
	n.stop()

	n.start(true)
	n.becomes(id, job.Sent)
	n.settles()
	require.Zero(t, n.relay.Stats().Republished)
}

func TestRelay_QueueAway(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.nats.Shutdown()
	n.start(true)
	var ids []otp.ID
	for i := range 20 {
		ids = append(ids, n.issue("9055500001"+string(rune('0'+i/10))+string(rune('0'+i%10))))
	}
	n.startNATS()
	jobs := n.jobs()
	got := map[job.ID]bool{}
	for range ids {
		d := n.next(jobs)
		require.False(t, got[d.Job().ID], "a job came twice")
		got[d.Job().ID] = true
		require.NoError(t, d.Ack())
	}
}

func TestRelay_QueueThatLostItsDisk(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	id := n.issue("905550000004")
	require.NotNil(t, n.next(n.jobs()), "it was in the queue")
	n.nats.Shutdown()
	require.NoError(t, os.RemoveAll(filepath.Join(n.dir, "nats")))
	n.startNATS()
	d := n.next(n.jobs())
	require.Equal(t, job.ID(id.String()), d.Job().ID)
	require.Positive(t, n.relay.Stats().Republished)
}

func TestRelay_AJobThatWaitsIsNotDoubled(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	id := n.issue("905550000005")
	// Nobody takes it: the relay asks after it, publishes it again, and the queue still has it.
	require.Eventually(t, func() bool { return n.published.Load() >= 3 }, patient, 5*time.Millisecond)
	require.Zero(t, n.relay.Stats().Republished, "a long queue is no trouble")
	d := n.next(n.jobs())
	n.say(id, job.Sent)
	require.NoError(t, d.Ack())
	n.settles()
	other := n.issue("905550000006")
	require.Equal(t, job.ID(other.String()), n.next(n.jobs()).Job().ID, "no second copy of the first is there")
}

func TestRelay_SaysExpiredWhenNobodyElseDoes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	id := n.issue("905550000007")
	require.Eventually(t, func() bool { return n.relay.Stats().Pending == 1 }, patient, time.Millisecond)
	n.ahead.Store(int64(10*time.Minute + 31*time.Second))
	n.becomes(id, job.Expired)
	n.settles()
}

func TestRelay_LeavesAClaimedJobToItsSenderPastItsExpiry(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	id := n.issue("905550000008")
	_ = n.next(n.jobs())
	n.ahead.Store(int64(10*time.Minute + 31*time.Second))
	n.say(id, job.Sending) // claimed just now, so its send may be under way
	before := n.relay.Stats().Pending
	require.EqualValues(t, 1, before)
	n.say(id, job.Sent)
	n.becomes(id, job.Sent)
	n.settles()
}

func TestRelay_GivesUpAClaimOfASenderThatNeverCameBack(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	id := n.issue("905550000009")
	_ = n.next(n.jobs())
	n.say(id, job.Sending)
	n.ahead.Store(int64(10*time.Minute + 31*time.Second + 51*time.Second))
	n.becomes(id, job.Expired)
	n.settles()
}

func TestRelay_CancelsTheSupersededJobThatStillWaits(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.start(true)
	older := n.issue("905550000010")
	newer := n.issue("905550000010")
	n.becomes(older, job.Cancelled)
	require.Eventually(t, func() bool { return n.relay.Stats().Pending == 1 }, patient, 5*time.Millisecond)
	r, err := n.store.Get(t.Context(), older)
	require.NoError(t, err)
	require.Equal(t, job.ReasonWithdrawn, r.Reason)
	last, _, err := n.broker.Last(t.Context(), job.DefaultPool, job.ID(older.String()))
	require.NoError(t, err)
	require.Equal(t, job.Cancelled, last.State, "a sender that claims it now reads this")
	n.say(newer, job.Sent)
	n.settles()
}
