package sender_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/sender"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patient = 10 * time.Second // how long a test waits for what must come
	ackWait = time.Second      // after which the queue hands out the job of a sender that has died
	ours    = "aaaaaaaa"
	other   = "bbbbbbbb"
)

// kit is a queue on a NATS server of its own, and what is needed to make jobs for it.
type kit struct {
	t    *testing.T
	dir  string
	log  *slog.Logger
	nats *embed.Server
	addr string
	line *line // the API's side
	seal *keys.SealKeys
}

// line is a connection to the queue.
type line struct {
	*queue.Broker
	nc   *nats.Conn
	hang func()
}

func newKit(t *testing.T) *kit {
	t.Helper()
	secret, err := keys.NewSecret(strings.Repeat("s", keys.MinSecret))
	require.NoError(t, err)
	k := &kit{
		t: t, dir: t.TempDir(), addr: "127.0.0.1:0", seal: keys.DeriveSealKeys(secret, keys.Secret{}),
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	k.startNATS()
	k.line = k.connect()
	<-k.line.Ready()
	return k
}

func (k *kit) startNATS() {
	k.t.Helper()
	server, err := embed.Start(embed.Options{Dir: k.dir, Logger: k.log, Listen: k.addr})
	require.NoError(k.t, err)
	k.nats, k.addr = server, server.Addr()
	k.t.Cleanup(server.Shutdown)
}

// connect opens a connection that ends with the test, or by hang.
func (k *kit) connect() *line {
	k.t.Helper()
	nc, err := queue.Dial("nats://"+k.addr, queue.DialOptions{Name: "test", Logger: k.log})
	require.NoError(k.t, err)
	broker, err := queue.New(nc, queue.Options{Logger: k.log, AckWait: ackWait, AckTimeout: time.Second})
	require.NoError(k.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(k.t, errOrClosed(broker.Run(ctx)))
	}()
	l := &line{Broker: broker, nc: nc, hang: sync.OnceFunc(func() {
		nc.Close()
		cancel()
		<-ended
	})}
	k.t.Cleanup(l.hang)
	return l
}

// errOrClosed passes over the end that hang is.
func errOrClosed(err error) error {
	if errors.Is(err, queue.ErrClosed) {
		return nil
	}
	return err
}

// envelope makes a job that lives for ten minutes.
func (k *kit) envelope(id job.ID) job.Envelope {
	k.t.Helper()
	to, err := phone.Restore("+905551234567")
	require.NoError(k.t, err)
	e, err := job.Seal(k.seal, id, job.LaneOTP, job.DefaultPool, job.Body{
		To: to, Text: "code of " + string(id), MessageID: "WA-" + strings.ToUpper(string(id)), Expires: time.Now().Add(10 * time.Minute),
	})
	require.NoError(k.t, err)
	return e
}

func (k *kit) publish(e job.Envelope, left time.Duration) {
	k.t.Helper()
	done := make(chan error, 1)
	k.line.Publish(k.within(), e, left, func(err error) { done <- err })
	require.NoError(k.t, <-done)
}

// give puts a job into the queue.
func (k *kit) give(id job.ID) {
	k.t.Helper()
	k.publish(k.envelope(id), 10*time.Minute)
}

// within is a context for one step.
func (k *kit) within() context.Context {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), patient)
	k.t.Cleanup(cancel)
	return ctx
}

// know stores a status as somebody else's.
func (k *kit) know(s job.Status) {
	k.t.Helper()
	last, at, err := k.line.Last(k.within(), job.DefaultPool, s.Job)
	require.NoError(k.t, err)
	require.Less(k.t, last.State.Rank(), s.State.Rank()+1)
	s.Pool, s.At = job.DefaultPool, time.Now().UTC()
	_, err = k.line.Put(k.within(), s, at)
	require.NoError(k.t, err)
}

func (k *kit) last(id job.ID) job.Status {
	k.t.Helper()
	s, _, err := k.line.Last(k.within(), job.DefaultPool, id)
	require.NoError(k.t, err)
	return s
}

// becomes waits until the latest status of a job is this.
func (k *kit) becomes(id job.ID, state job.State) job.Status {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return k.last(id).State == state }, patient, 5*time.Millisecond, "%s never is %s", id, state)
	return k.last(id)
}

// stored counts what a stream holds.
func (k *kit) stored(stream string) int {
	k.t.Helper()
	js, err := jetstream.New(k.line.nc)
	require.NoError(k.t, err)
	s, err := js.Stream(k.within(), stream)
	require.NoError(k.t, err)
	return int(s.CachedInfo().State.Msgs)
}

// isDone waits until no job is left in the queue.
func (k *kit) isDone() {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return k.stored("WABEK_OTP") == 0 }, patient, 5*time.Millisecond, "the job stays in the queue")
}

// script is a session that does as it is told, for what no real one can be made to do at will.
type script struct {
	id    string
	fence uint64
	dead  error
	// send is called for each message, with its number from 1 on; nil sends it at once.
	send func(ctx context.Context, n int, m sender.Message) error

	mu   sync.Mutex
	seen []string // WhatsApp ids, one for each call of Send
}

func (s *script) ID() string    { return s.id }
func (s *script) Fence() uint64 { return s.fence }

func (s *script) Ready(ctx context.Context) error { return errors.Join(ctx.Err(), s.dead) }

func (s *script) Send(ctx context.Context, m sender.Message) error {
	s.mu.Lock()
	s.seen = append(s.seen, m.Body.MessageID)
	n := len(s.seen)
	s.mu.Unlock()
	if s.send == nil {
		return nil
	}
	return s.send(ctx, n, m)
}

func (s *script) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.seen...)
}

// end is how a delivery ended.
type end struct {
	job   job.ID
	how   string // ack, retry, forward, drop
	where string // the session it was forwarded to
	after time.Duration
}

// watched is a delivery whose end the test sees.
type watched struct {
	sender.Delivery
	node *node
}

func (w *watched) say(e end, err error) error {
	if err == nil {
		e.job = w.Job().ID
		w.node.ends <- e
	}
	return err
}

func (w *watched) InProgress() error {
	w.node.beats <- w.Job().ID
	return w.Delivery.InProgress()
}

func (w *watched) Ack() error {
	if w.node.deaf.CompareAndSwap(true, false) {
		return errors.New("acknowledgement lost")
	}
	return w.say(end{how: "ack"}, w.Delivery.Ack())
}

func (w *watched) Retry(after time.Duration) error {
	return w.say(end{how: "retry", after: after}, w.Delivery.Retry(after))
}

func (w *watched) Forward(ctx context.Context, session string) error {
	return w.say(end{how: "forward", where: session}, w.Delivery.Forward(ctx, session))
}

func (w *watched) Drop(reason string) error {
	return w.say(end{how: "drop"}, w.Delivery.Drop(reason))
}

func failure(class job.FailureClass, reason job.Reason) error {
	return &job.Failure{Class: class, Reason: reason, Err: fmt.Errorf("as scripted: %s", class)}
}
