package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

// ErrFull says that the stream has as many messages as it may.
var ErrFull = errors.New("queue full")

const (
	maxCallbacks   = 1_000_000          // some 800 MB
	callbackHeld   = 100_000            // handed out or given back with a delay, of one app
	callbackMaxAge = 3 * 24 * time.Hour // of what no consumer takes, because its app has no callback URL any more
	// callbackIdle is after which the server forgets the consumer of an app that nobody asks for any more. It is no
	// loss: what is to be known of a callback stands in its message.
	callbackIdle = 2 * time.Hour

	// One pull a time for each app that has a callback URL, so they are longer and quieter than those for jobs.
	callbackPull    = `{"batch":1,"expires":30000000000,"idle_heartbeat":5000000000}`
	callbackSilence = 11 * time.Second // two heartbeats missed: the server has forgotten the pull

	textFull = "maximum messages exceeded"
)

// callbackStream is a work queue that holds each callback once. Discard New, but not per subject: a callback that is
// put off takes its own place, with what is known of it by then, and that also where the stream is full.
func callbackStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              streamCallback,
		Description:       "signed webhooks to apps",
		Subjects:          []string{"wabek.callback.*.*"},
		Retention:         jetstream.WorkQueuePolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgs:           maxCallbacks,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		MaxAge:            callbackMaxAge,
	}
}

func callbackSubject(app, id string) string { return "wabek.callback." + app + "." + id }

// checkCallback refuses what can't stand in a subject. Errors wrap job.ErrName. An app is named as a pool is, a
// callback as a job is.
func checkCallback(app, id string) error {
	if err := job.CheckPool(app); err != nil {
		return err
	}
	_, err := job.ParseID(id)
	return err
}

// PutCallback stores a callback without waiting, and calls done exactly once, from any goroutine: with taken where the
// stream has stored it, without where it has one of this app and id already, which waits or is being ended right now;
// or with an error that wraps ErrFull, job.ErrName or ErrUnavailable. It blocks only while as many publishes are in
// flight as are allowed. done must be quick and mustn't publish.
func (b *Broker) PutCallback(ctx context.Context, app, id string, data []byte, done func(taken bool, err error)) {
	if err := checkCallback(app, id); err != nil {
		done(false, fmt.Errorf("store callback: %w", err))
		return
	}
	m := &nats.Msg{
		Subject: callbackSubject(app, id), Data: data,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {"0"}}, // never in the place of one that waits
	}
	b.pub.publish(ctx, m, func(err error) {
		if errors.Is(err, nats.ErrNoResponders) {
			b.ask() // the stream is gone, or has no leader
		}
		if wrongSequence(err) {
			done(false, nil)
			return
		}
		done(err == nil, callbackError("store callback", err))
	})
}

func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeWrongSequence
}

func callbackError(what string, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api) && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, textFull):
		return fmt.Errorf("%s: %w", what, ErrFull)
	default:
		return unavailable(what, err)
	}
}

// Callbacks is the source of one app's callbacks. It asks the server only while somebody waits in Next, for one at a
// time. Next is for one goroutine; the callbacks that it gave may be ended from others.
type Callbacks struct {
	b      *Broker
	app    string
	config jetstream.ConsumerConfig
	inbox  string // ends with a dot
	sub    *nats.Subscription
	msgs   chan *nats.Msg
	stop   context.CancelFunc
	done   sync.WaitGroup

	// What the goroutine of Next owns.
	made    bool // the consumer is known to exist
	open    bool // a pull is
	gen     uint64
	heard   time.Time // the server's last sign of life about it
	resting time.Time // until when, after an error
	pause   time.Duration
	warned  bool

	mu  sync.Mutex
	out map[*Callback]struct{} // given, and not ended: kept alive
}

// Callbacks opens the source of an app's callbacks. It needs no connection yet. It lives until Close.
func (b *Broker) Callbacks(app string) (*Callbacks, error) {
	if err := job.CheckPool(app); err != nil {
		return nil, fmt.Errorf("open callbacks: %w", err)
	}
	c := &Callbacks{
		b: b, app: app, inbox: b.nc.NewInbox() + ".",
		config: jetstream.ConsumerConfig{
			Durable:       callbackConsumer(app),
			FilterSubject: callbackSubject(app, "*"),
			DeliverPolicy: jetstream.DeliverAllPolicy, // a work queue knows no other
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       b.o.AckWait,
			MaxDeliver:    -1,           // whoever posts counts; the server would leave the callback lying about
			MaxAckPending: callbackHeld, // callbacks that are put off count, and mustn't stop the others
			// In memory: a file would be rewritten ten times a second for each app. One that is gone is made again.
			MemoryStorage:     true,
			InactiveThreshold: callbackIdle,
		},
		msgs:  make(chan *nats.Msg, arrivals),
		pause: restFirst,
		out:   map[*Callback]struct{}{},
	}
	var err error
	if c.sub, err = b.nc.ChanSubscribe(c.inbox+"*", c.msgs); err != nil {
		return nil, unavailable("open callbacks", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.done.Go(func() { c.keepAlive(ctx) })
	return c, nil
}

func callbackConsumer(app string) string { return "app-" + app }

// Next waits for a callback. Its error is the context's, or ErrClosed where the connection was closed.
func (c *Callbacks) Next(ctx context.Context) (*Callback, error) {
	for {
		renewed := c.b.renewed.wait()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case c.b.nc.IsClosed():
			return nil, ErrClosed
		}
		var m *nats.Msg
		select {
		case m = <-c.msgs: // came while nobody waited
		default:
			m = c.wait(ctx, renewed)
		}
		if m == nil {
			continue
		}
		if d := c.arrived(ctx, m); d != nil {
			return d, nil
		}
	}
}

// wait waits for what the server has to say; nil where it is time to look after the pull.
func (c *Callbacks) wait(ctx context.Context, renewed <-chan struct{}) *nats.Msg {
	timer := time.NewTimer(c.ask(ctx))
	defer timer.Stop()
	select {
	case m := <-c.msgs:
		return m
	case <-ctx.Done():
	case <-renewed: // a new connection: the pull of the old one is gone, and the consumer too if the server was restarted
		c.open, c.made = false, false
	case <-timer.C:
		if c.open && time.Since(c.heard) >= callbackSilence {
			c.open, c.made = false, false // the consumer may be gone as well
			if c.b.nc.IsConnected() {
				c.b.lostPulls.Add(1)
			}
		}
	}
	return nil
}

// ask sees to it that a pull is open, and says how long to wait before looking again.
func (c *Callbacks) ask(ctx context.Context) time.Duration {
	now := time.Now()
	switch {
	case c.open:
		return max(0, callbackSilence-now.Sub(c.heard))
	case now.Before(c.resting):
		return c.resting.Sub(now)
	case !c.b.nc.IsConnected() || !c.b.wasReady():
		return restLast // renewed ends it
	}
	if !c.made {
		if err := c.make(ctx); err != nil {
			c.fall(ctx, err)
			return 0
		}
	}
	c.gen++
	reply := c.inbox + strconv.FormatUint(c.gen, 10)
	if err := c.b.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+streamCallback+"."+c.config.Durable, reply, []byte(callbackPull)); err != nil {
		c.fall(ctx, err)
		return 0
	}
	c.open, c.heard = true, now
	return callbackSilence
}

func (c *Callbacks) make(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	if _, err := c.b.js.CreateOrUpdateConsumer(ctx, streamCallback, c.config); err != nil {
		c.b.ask() // its stream may be what is missing
		return fmt.Errorf("make consumer: %w", err)
	}
	c.made = true
	return nil
}

// fall rests after an error, longer each time until something works again. It says once per outage what is wrong.
func (c *Callbacks) fall(ctx context.Context, err error) {
	if ctx.Err() == nil && c.b.nc.IsConnected() && !c.warned {
		c.b.log.WarnContext(ctx, "can't read callbacks, trying on", "app", c.app, "error", err)
		c.warned = true
	}
	c.open, c.made = false, false
	c.resting = time.Now().Add(c.pause)
	c.pause = min(2*c.pause, restLast)
}

// well notes that the server has answered a pull as it should.
func (c *Callbacks) well() { c.open, c.pause, c.warned = false, restFirst, false }

// arrived gives the callback that has come, or nil where the server only said something about a pull.
func (c *Callbacks) arrived(ctx context.Context, m *nats.Msg) *Callback {
	if gen, ok := strings.CutPrefix(m.Subject, c.inbox); ok {
		if gen == strconv.FormatUint(c.gen, 10) {
			c.answered(ctx, m)
		}
		return nil
	}
	c.well()
	meta, err := m.Metadata()
	id, ok := strings.CutPrefix(m.Subject, callbackSubject(c.app, ""))
	if err != nil || !ok {
		c.b.log.Error("message isn't a callback", "subject", m.Subject, "error", err)
		return nil
	}
	d := &Callback{c: c, id: id, data: m.Data, reply: m.Reply, seq: meta.Sequence.Stream}
	c.hold(d)
	return d
}

func (c *Callbacks) hold(d *Callback) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[d] = struct{}{}
}

// answered deals with what the server says about the pull that is open.
func (c *Callbacks) answered(ctx context.Context, m *nats.Msg) {
	c.heard = time.Now()
	switch m.Header.Get("Status") {
	case "100": // a heartbeat
	case "404", "408": // the pull's time is over
		c.well()
	default: // the consumer is gone, or has another leader
		c.fall(ctx, errors.New("pull refused: "+m.Header.Get("Status")+" "+m.Header.Get("Description")))
	}
}

// keepAlive tells the server that we are still at what has been given, until that ends.
func (c *Callbacks) keepAlive(ctx context.Context) {
	for pause(ctx, c.b.o.AckWait/3) {
		c.mu.Lock()
		for d := range c.out {
			_ = d.say("+WPI") // fails while NATS is away: then the callback comes again
		}
		c.mu.Unlock()
	}
}

// Waiting counts the app's callbacks that aren't done, those that are being posted included. Errors wrap
// ErrUnavailable.
func (c *Callbacks) Waiting(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := c.b.js.Consumer(ctx, streamCallback, c.config.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return 0, nil // not made yet
	case err != nil:
		return 0, unavailable("count callbacks", err)
	}
	info := consumer.CachedInfo()
	return int(info.NumPending) + info.NumAckPending, nil //nolint:gosec // the stream holds a million
}

// Close stops the source, and gives back what nobody has taken. Callbacks that were given should be ended before.
func (c *Callbacks) Close() error {
	c.stop()
	c.done.Wait()
	// Drained, not just unsubscribed: what the server sent before it heard of the end still comes in.
	if err := c.sub.Drain(); err == nil && c.b.nc.IsConnected() {
		_ = c.b.nc.FlushTimeout(closeFlush) // else what is missed comes back after the ack wait
	}
	for len(c.msgs) > 0 {
		if d := c.arrived(context.Background(), <-c.msgs); d != nil {
			_ = d.Later(0)
		}
	}
	return nil
}

// Callback is one callback handed out by the queue. Its methods may be called from many goroutines; the first of Ack,
// Later, Drop and Replace that succeeds ends it, later ones return ErrEnded. Until then it is kept alive. As with a
// Delivery, an acknowledgement may get lost: then the callback comes again.
type Callback struct {
	c     *Callbacks
	id    string
	data  []byte
	reply string
	seq   uint64 // in the stream
	ended atomic.Bool
}

// ID names the callback within its app.
func (d *Callback) ID() string { return d.id }

// Data is what was stored.
func (d *Callback) Data() []byte { return d.data }

// Ack removes the callback: it is done.
func (d *Callback) Ack() error { return d.end("+ACK") }

// Later gives the callback back as it is, to be handed out again after a pause of at most 60 s.
func (d *Callback) Later(after time.Duration) error {
	after = min(after, maxRetry)
	if after <= 0 {
		return d.end("-NAK")
	}
	return d.end(`-NAK {"delay": ` + strconv.FormatInt(after.Nanoseconds(), 10) + `}`)
}

// Drop removes the callback for good, with a reason for the server's advisory.
func (d *Callback) Drop(reason string) error { return d.end("+TERM " + reason) }

// Replace puts data in the place of what is stored, as one step, and ends the callback: it is handed out anew, at once.
// It returns ErrEnded where the callback was ended meanwhile, by whoever it was given to as well. After an error that
// wraps ErrUnavailable it is still ours, and may or may not have been replaced.
func (d *Callback) Replace(ctx context.Context, data []byte) error {
	if d.ended.Load() {
		return ErrEnded
	}
	b := d.c.b
	_, err := b.js.PublishMsg(ctx, &nats.Msg{
		Subject: callbackSubject(d.c.app, d.id), Data: data,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(d.seq, 10)}},
	})
	switch {
	case err == nil:
		d.finish()
		return nil
	case wrongSequence(err):
		d.finish()
		return ErrEnded
	default:
		return callbackError("replace callback", err)
	}
}

// end says the last word. It isn't kept alive from right before, for that would undo a pause.
func (d *Callback) end(word string) error {
	if !d.ended.CompareAndSwap(false, true) {
		return ErrEnded
	}
	d.finish()
	if err := d.say(word); err != nil {
		d.c.hold(d)
		d.ended.Store(false) // it may be said again
		return err
	}
	return nil
}

func (d *Callback) finish() {
	d.ended.Store(true)
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	delete(d.c.out, d)
}

func (d *Callback) say(word string) error {
	if err := d.c.b.nc.Publish(d.reply, []byte(word)); err != nil {
		return unavailable("acknowledge callback", err)
	}
	return nil
}
