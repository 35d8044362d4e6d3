// Package queue is everything that wabek says to NATS: streams, jobs, statuses, heartbeats, fences.
//
// In: jobs to publish, statuses to store, wishes for the next job. Out: deliveries, statuses in order, heartbeats.
// On failure: an error that wraps ErrUnavailable at once, or waiting until NATS is back; nothing is buffered
// where its loss could go unnoticed.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

// Errors of this package.
var (
	// ErrUnavailable says that NATS can't be reached, didn't answer in time, or refused.
	ErrUnavailable = errors.New("queue unavailable")
	// ErrClosed says that the source of jobs, or the connection under it, was closed for good.
	ErrClosed = errors.New("queue closed")
	// ErrEnded says that a delivery was already acknowledged or given back.
	ErrEnded = errors.New("delivery has already ended")
)

// Options say how the broker uses NATS. Zero values stand for the defaults given.
type Options struct {
	Logger   *slog.Logger     // needed
	Now      func() time.Time // the local wall clock (time.Now)
	Replicas int              // of each stream (1); a lone server refuses more
	// AckWait is how long a delivered job may stay without a sign of life before it is handed out again (10 s).
	AckWait time.Duration
	// SendDeadline is how long one send may take (30 s). A message outlives its job by AckWait + SendDeadline.
	SendDeadline time.Duration
	// AckTimeout is how long a publish may wait for the stream's acknowledgement (5 s).
	AckTimeout time.Duration
	// MaxInFlight bounds the publishes that wait for it (4096).
	MaxInFlight int
	// StatusTTL is how long a status is kept (3 h): the longest life of an OTP, 60 min, and 2 h.
	StatusTTL time.Duration
}

func (o Options) withDefaults() Options {
	set(&o.Replicas, 1)
	set(&o.AckWait, 10*time.Second)
	set(&o.SendDeadline, 30*time.Second)
	set(&o.AckTimeout, 5*time.Second)
	set(&o.MaxInFlight, 4096)
	set(&o.StatusTTL, 3*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Broker speaks with one NATS connection, which stays its caller's to close. It works while Run runs. Its
// methods may be called from many goroutines.
type Broker struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	o    Options
	log  *slog.Logger
	pub  *publisher
	kick chan struct{} // asks Run to look after the streams again

	ready     chan struct{} // closed once the streams exist for the first time
	readyOnce sync.Once
	streamsOK atomic.Bool  // since the present connection began
	renewed   broadcast    // each time that the streams are there again
	offset    atomic.Int64 // server time − ours, ns
	lostPulls atomic.Uint64
}

var _ job.Log = (*Broker)(nil)

// New makes a broker. It needs no connection yet, only one that is going to come up.
func New(nc *nats.Conn, o Options) (*Broker, error) {
	if o.Logger == nil {
		return nil, errors.New("queue: needs a logger")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	o = o.withDefaults()
	return &Broker{
		nc: nc, js: js, o: o,
		log:   o.Logger.With("component", "queue"),
		pub:   newPublisher(nc, o.MaxInFlight, o.AckTimeout),
		kick:  make(chan struct{}, 1),
		ready: make(chan struct{}),
	}, nil
}

// Ready is closed once NATS has been reached and the streams exist for the first time.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

func (b *Broker) wasReady() bool {
	select {
	case <-b.ready:
		return true
	default:
		return false
	}
}

// Connected says whether NATS is there now, with the streams.
func (b *Broker) Connected() bool { return b.nc.IsConnected() && b.streamsOK.Load() }

// LostPulls counts the pulls that the server forgot without a word; each costs its lane about two seconds.
func (b *Broker) LostPulls() uint64 { return b.lostPulls.Load() }

// InFlight counts the publishes that wait for the stream's acknowledgement.
func (b *Broker) InFlight() int { return b.pub.inFlight() }

// ask makes Run look after the streams: somebody found one missing.
func (b *Broker) ask() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// serverNow is the server's wall clock, as far as we know it.
func (b *Broker) serverNow() time.Time { return b.o.Now().Add(time.Duration(b.offset.Load())) }

// unavailable wraps an error of NATS once, so that errors.Is(err, ErrUnavailable). The context's own stays visible.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// broadcast wakes all who wait, each time.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func (c *broadcast) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch == nil {
		c.ch = make(chan struct{})
	}
	return c.ch
}

func (c *broadcast) send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch != nil {
		close(c.ch)
		c.ch = nil
	}
}

// pause waits, and says whether the context is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
