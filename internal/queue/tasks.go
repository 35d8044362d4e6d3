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
	taskHeld = 100_000 // handed out or given back with a delay, of one app
	// taskIdle is after which the server forgets the consumer of an app that nobody asks for any more. It is no
	// loss: what is to be known of a task stands in its message.
	taskIdle = 2 * time.Hour

	// One pull a time for each app that has tasks of a kind, so they are longer and quieter than those for jobs.
	taskPull    = `{"batch":1,"expires":30000000000,"idle_heartbeat":5000000000}`
	taskSilence = 11 * time.Second // two heartbeats missed: the server has forgotten the pull

	textFull = "maximum messages exceeded"
)

// taskKind is a work queue with a consumer an app, as it is called in subjects and texts.
type taskKind string

const (
	taskCallback taskKind = "callback"
	taskEvent    taskKind = "event"
)

func (k taskKind) stream() string {
	if k == taskEvent {
		return streamEvent
	}
	return streamCallback
}

func (k taskKind) subject(app, id string) string { return "wabek." + string(k) + "." + app + "." + id }

// checkTask refuses what can't stand in a subject. Errors wrap job.ErrName. An app is named as a pool is, a task as a
// job is.
func checkTask(app, id string) error {
	if err := job.CheckPool(app); err != nil {
		return err
	}
	_, err := job.ParseID(id)
	return err
}

// taskStream is a work queue that holds each task once. Discard New, but not per subject: a task that is put off takes
// its own place, with what is known of it by then, and that also where the stream is full.
func taskStream(kind taskKind, describe string, limit int64, age time.Duration, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              kind.stream(),
		Description:       describe,
		Subjects:          []string{kind.subject("*", "*")},
		Retention:         jetstream.WorkQueuePolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgs:           limit,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		MaxAge:            age,
	}
}

// putTask stores a task without waiting, and calls done exactly once, from any goroutine: with taken where the stream
// has stored it, without where it has one of this app and id already, which waits or is being ended right now; or with
// an error that wraps ErrFull, job.ErrName or ErrUnavailable. It blocks only while as many publishes are in flight as
// are allowed. done must be quick and mustn't publish.
func (b *Broker) putTask(ctx context.Context, kind taskKind, app, id string, data []byte, done func(taken bool, err error)) {
	if err := checkTask(app, id); err != nil {
		done(false, fmt.Errorf("store %s: %w", kind, err))
		return
	}
	m := &nats.Msg{
		Subject: kind.subject(app, id), Data: data,
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
		done(err == nil, taskError("store "+string(kind), err))
	})
}

func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeWrongSequence
}

func taskError(what string, err error) error {
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

// Tasks is the source of one app's tasks of one kind: callbacks to post, or events to resolve. It asks the server only while somebody waits in Next, for one at a
// time. Next is for one goroutine; the tasks that it gave may be ended from others.
type Tasks struct {
	b      *Broker
	kind   taskKind
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
	out map[*Task]struct{} // given, and not ended: kept alive
}

// tasks opens the source of an app's tasks. It needs no connection yet. It lives until Close.
func (b *Broker) tasks(kind taskKind, app string) (*Tasks, error) {
	if err := job.CheckPool(app); err != nil {
		return nil, fmt.Errorf("open %ss: %w", kind, err)
	}
	c := &Tasks{
		b: b, kind: kind, app: app, inbox: b.nc.NewInbox() + ".",
		config: jetstream.ConsumerConfig{
			Durable:       taskConsumer(app),
			FilterSubject: kind.subject(app, "*"),
			DeliverPolicy: jetstream.DeliverAllPolicy, // a work queue knows no other
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       b.o.AckWait,
			MaxDeliver:    -1,       // whoever does them counts; the server would leave the task lying about
			MaxAckPending: taskHeld, // tasks that are put off count, and mustn't stop the others
			// In memory: a file would be rewritten ten times a second for each app. One that is gone is made again.
			MemoryStorage:     true,
			InactiveThreshold: taskIdle,
		},
		msgs:  make(chan *nats.Msg, arrivals),
		pause: restFirst,
		out:   map[*Task]struct{}{},
	}
	var err error
	if c.sub, err = b.nc.ChanSubscribe(c.inbox+"*", c.msgs); err != nil {
		return nil, unavailable("open "+string(kind)+"s", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.done.Go(func() { c.keepAlive(ctx) })
	return c, nil
}

func taskConsumer(app string) string { return "app-" + app }

// Next waits for a task. Its error is the context's, or ErrClosed where the connection was closed.
func (c *Tasks) Next(ctx context.Context) (*Task, error) {
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
func (c *Tasks) wait(ctx context.Context, renewed <-chan struct{}) *nats.Msg {
	timer := time.NewTimer(c.ask(ctx))
	defer timer.Stop()
	select {
	case m := <-c.msgs:
		return m
	case <-ctx.Done():
	case <-renewed: // a new connection: the pull of the old one is gone, and the consumer too if the server was restarted
		c.open, c.made = false, false
	case <-timer.C:
		if c.open && time.Since(c.heard) >= taskSilence {
			c.open, c.made = false, false // the consumer may be gone as well
			if c.b.nc.IsConnected() {
				c.b.lostPulls.Add(1)
			}
		}
	}
	return nil
}

// ask sees to it that a pull is open, and says how long to wait before looking again.
func (c *Tasks) ask(ctx context.Context) time.Duration {
	now := time.Now()
	switch {
	case c.open:
		return max(0, taskSilence-now.Sub(c.heard))
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
	if err := c.b.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.kind.stream()+"."+c.config.Durable, reply, []byte(taskPull)); err != nil {
		c.fall(ctx, err)
		return 0
	}
	c.open, c.heard = true, now
	return taskSilence
}

func (c *Tasks) make(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	if _, err := c.b.js.CreateOrUpdateConsumer(ctx, c.kind.stream(), c.config); err != nil {
		c.b.ask() // its stream may be what is missing
		return fmt.Errorf("make consumer: %w", err)
	}
	c.made = true
	return nil
}

// fall rests after an error, longer each time until something works again. It says once per outage what is wrong.
func (c *Tasks) fall(ctx context.Context, err error) {
	if ctx.Err() == nil && c.b.nc.IsConnected() && !c.warned {
		c.b.log.WarnContext(ctx, "can't read tasks, trying on", "kind", string(c.kind), "app", c.app, "error", err)
		c.warned = true
	}
	c.open, c.made = false, false
	c.resting = time.Now().Add(c.pause)
	c.pause = min(2*c.pause, restLast)
}

// well notes that the server has answered a pull as it should.
func (c *Tasks) well() { c.open, c.pause, c.warned = false, restFirst, false }

// arrived gives the task that has come, or nil where the server only said something about a pull.
func (c *Tasks) arrived(ctx context.Context, m *nats.Msg) *Task {
	if gen, ok := strings.CutPrefix(m.Subject, c.inbox); ok {
		if gen == strconv.FormatUint(c.gen, 10) {
			c.answered(ctx, m)
		}
		return nil
	}
	c.well()
	meta, err := m.Metadata()
	id, ok := strings.CutPrefix(m.Subject, c.kind.subject(c.app, ""))
	if err != nil || !ok {
		c.b.log.Error("message isn't a task", "kind", string(c.kind), "subject", m.Subject, "error", err)
		return nil
	}
	d := &Task{c: c, id: id, data: m.Data, reply: m.Reply, seq: meta.Sequence.Stream}
	c.hold(d)
	return d
}

func (c *Tasks) hold(d *Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[d] = struct{}{}
}

// answered deals with what the server says about the pull that is open.
func (c *Tasks) answered(ctx context.Context, m *nats.Msg) {
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
func (c *Tasks) keepAlive(ctx context.Context) {
	for pause(ctx, c.b.o.AckWait/3) {
		c.mu.Lock()
		for d := range c.out {
			_ = d.say("+WPI") // fails while NATS is away: then the task comes again
		}
		c.mu.Unlock()
	}
}

// Waiting counts the app's tasks that aren't done, those under way included. Errors wrap
// ErrUnavailable.
func (c *Tasks) Waiting(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := c.b.js.Consumer(ctx, c.kind.stream(), c.config.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return 0, nil // not made yet
	case err != nil:
		return 0, unavailable("count "+string(c.kind)+"s", err)
	}
	info := consumer.CachedInfo()
	return int(info.NumPending) + info.NumAckPending, nil //nolint:gosec // the stream holds a million
}

// Close stops the source, and gives back what nobody has taken. Tasks that were given should be ended before.
func (c *Tasks) Close() error {
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

// Task is one task handed out by the queue. Its methods may be called from many goroutines; the first of Ack,
// Later, Drop and Replace that succeeds ends it, later ones return ErrEnded. Until then it is kept alive. As with a
// Delivery, an acknowledgement may get lost: then the task comes again.
type Task struct {
	c     *Tasks
	id    string
	data  []byte
	reply string
	seq   uint64 // in the stream
	ended atomic.Bool
}

// ID names the task within its app.
func (d *Task) ID() string { return d.id }

// Data is what was stored.
func (d *Task) Data() []byte { return d.data }

// Ack removes the task: it is done.
func (d *Task) Ack() error { return d.end("+ACK") }

// Later gives the task back as it is, to be handed out again after a pause of at most 60 s.
func (d *Task) Later(after time.Duration) error {
	after = min(after, maxRetry)
	if after <= 0 {
		return d.end("-NAK")
	}
	return d.end(`-NAK {"delay": ` + strconv.FormatInt(after.Nanoseconds(), 10) + `}`)
}

// Drop removes the task for good, with a reason for the server's advisory.
func (d *Task) Drop(reason string) error { return d.end("+TERM " + reason) }

// Replace puts data in the place of what is stored, as one step, and ends the task: it is handed out anew, at once.
// It returns ErrEnded where the task was ended meanwhile, by whoever it was given to as well. After an error that
// wraps ErrUnavailable it is still ours, and may or may not have been replaced.
func (d *Task) Replace(ctx context.Context, data []byte) error {
	if d.ended.Load() {
		return ErrEnded
	}
	b := d.c.b
	_, err := b.js.PublishMsg(ctx, &nats.Msg{
		Subject: d.c.kind.subject(d.c.app, d.id), Data: data,
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
		return taskError("replace "+string(d.c.kind), err)
	}
}

// end says the last word. It isn't kept alive from right before, for that would undo a pause.
func (d *Task) end(word string) error {
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

func (d *Task) finish() {
	d.ended.Store(true)
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	delete(d.c.out, d)
}

func (d *Task) say(word string) error {
	if err := d.c.b.nc.Publish(d.reply, []byte(word)); err != nil {
		return unavailable("acknowledge "+string(d.c.kind), err)
	}
	return nil
}
