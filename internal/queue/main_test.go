package queue_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/job"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
)

const (
	pool    = "default"
	session = "aaaaaaaa"
	other   = "bbbbbbbb"
	patient = 20 * time.Second // how long a test waits for what must come
)

func TestMain(m *testing.M) {
	//nolint:forbidigo // how the test tells its own binary to be a server
	if dir, addr := os.Getenv(envServeDir), os.Getenv(envServeAddr); dir != "" {
		os.Exit(serveAlone(dir, addr))
	}
	goleak.VerifyTestMain(m)
}

// logbook is a logger's output, kept.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func logger(tb testing.TB) (*slog.Logger, *logbook) {
	tb.Helper()
	book := &logbook{}
	log := slog.New(slog.NewTextHandler(book, &slog.HandlerOptions{Level: slog.LevelInfo}))
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(book.text.String())
		}
	})
	return log, book
}

// serve starts a server without a port.
func serve(tb testing.TB) *embed.Server {
	tb.Helper()
	log, _ := logger(tb)
	srv, err := embed.Start(embed.Options{Dir: tb.TempDir(), Logger: log})
	require.NoError(tb, err)
	tb.Cleanup(srv.Shutdown)
	return srv
}

func connect(tb testing.TB, srv *embed.Server) *nats.Conn {
	tb.Helper()
	log, _ := logger(tb)
	nc, err := srv.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: log})...)
	require.NoError(tb, err)
	tb.Cleanup(nc.Close)
	return nc
}

// run makes a broker on a connection and runs it; it doesn't wait until it is ready.
func run(tb testing.TB, nc *nats.Conn, o queue.Options) *queue.Broker {
	tb.Helper()
	if o.Logger == nil {
		o.Logger, _ = logger(tb)
	}
	b, err := queue.New(nc, o)
	require.NoError(tb, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		require.NoError(tb, <-ended)
	})
	return b
}

// setup is a broker that is ready, on a server of its own.
func setup(tb testing.TB, o queue.Options) *queue.Broker {
	tb.Helper()
	b := run(tb, connect(tb, serve(tb)), o)
	ready(tb, b)
	return b
}

func ready(tb testing.TB, b *queue.Broker) {
	tb.Helper()
	select {
	case <-b.Ready():
	case <-time.After(patient):
		require.Fail(tb, "broker isn't ready")
	}
}

func within(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	tb.Cleanup(cancel)
	return ctx
}

func otp(id string) job.Envelope {
	return job.Envelope{
		ID: job.ID(id), Lane: job.LaneOTP, Pool: pool, Target: job.AnySession,
		Expires: time.Now().Add(10 * time.Minute), Sealed: []byte("sealed " + id),
	}
}

func notice(id string) job.Envelope {
	e := otp(id)
	e.Lane = job.LaneNotice
	return e
}

func own(e job.Envelope) job.Envelope {
	e.Target = session
	return e
}

// publish publishes and waits for the answer.
func publish(tb testing.TB, b *queue.Broker, e job.Envelope) error {
	tb.Helper()
	return publishFor(tb, b, e, time.Until(e.Expires))
}

func publishFor(tb testing.TB, b *queue.Broker, e job.Envelope, left time.Duration) error {
	tb.Helper()
	answer := make(chan error, 1)
	b.Publish(within(tb), e, left, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-time.After(patient):
		require.Fail(tb, "publish never answered")
		return nil
	}
}

func open(tb testing.TB, b *queue.Broker, name string) *queue.Jobs {
	tb.Helper()
	j, err := b.Jobs(context.Background(), pool, name, nil)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, j.Close()) })
	return j
}

func next(tb testing.TB, j *queue.Jobs) *queue.Delivery {
	tb.Helper()
	d, err := j.Next(within(tb))
	require.NoError(tb, err)
	return d
}

func nextID(tb testing.TB, j *queue.Jobs) job.ID {
	tb.Helper()
	d := next(tb, j)
	require.NoError(tb, d.Ack())
	return d.Job().ID
}
