package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

// Headers of a job's message.
const (
	headerFormat  = "Wabek-Format"  // jobFormat
	headerLife    = "Wabek-Life"    // what was left of the job's life when it was published, ms
	headerExpires = "Wabek-Expires" // Unix ms, by the clock of who issued it; for people who look at the queue
)

// jobFormat is the format of a job's message. A reader leaves a newer one alone.
const jobFormat = 1

const (
	// codeStoreFailed is JetStream's answer to whatever its store refused; the text says what.
	codeStoreFailed = 10077
	// textStillThere is that text where the subject has a message already.
	textStillThere = "maximum messages per subject exceeded"
)

// Publish hands a job that has left to live to the queue, without waiting, and calls done exactly once, from any
// goroutine: nil where the stream has stored it, or still has it from before, else an error that wraps
// ErrUnavailable. It blocks only while as many publishes are in flight as are allowed. done must be quick and
// mustn't publish: it may run where acknowledgements are read.
func (b *Broker) Publish(ctx context.Context, e job.Envelope, left time.Duration, done func(error)) {
	if err := checkAddress(e); err != nil {
		done(unavailable("publish job", err))
		return
	}
	b.pub.publish(ctx, b.jobMsg(e, left), func(err error) {
		switch {
		case err == nil, stillThere(err):
			done(nil)
		default:
			if errors.Is(err, nats.ErrNoResponders) {
				b.ask() // the stream is gone, or has no leader
			}
			done(unavailable("publish job", err))
		}
	})
}

// jobMsg makes a job's message. It outlives the job, so that a send which began in time ends under its delivery.
func (b *Broker) jobMsg(e job.Envelope, left time.Duration) *nats.Msg {
	left = max(left, 0)
	return &nats.Msg{
		Subject: jobSubject(e.Lane, e.Pool, e.Target, e.ID),
		Data:    e.Sealed,
		Header: nats.Header{
			headerFormat:           {strconv.Itoa(jobFormat)},
			headerLife:             {strconv.FormatInt(left.Milliseconds(), 10)},
			headerExpires:          {strconv.FormatInt(e.Expires.UnixMilli(), 10)},
			jetstream.MsgTTLHeader: {ttl(left + b.o.AckWait + b.o.SendDeadline)},
		},
	}
}

// ttl is a message TTL in whole seconds, rounded up; the server refuses less than one.
func ttl(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// stillThere says that a job was refused because its subject holds it already. Any other 10077 is a full stream,
// or worse: not published.
func stillThere(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, textStillThere)
}

// publisher publishes with acknowledgement, many at a time. It is our own, for jetstream's calls its error
// handler under its lock, or for a publish that has already returned an error: neither is "exactly once".
type publisher struct {
	nc      *nats.Conn
	prefix  string // of the subjects where acknowledgements come in
	timeout time.Duration
	window  chan struct{} // a token for each in flight

	mu      sync.Mutex
	sub     *nats.Subscription // nil: not open
	next    uint64
	pending map[uint64]inFlight
}

type inFlight struct {
	done func(error)
	due  time.Time
}

func newPublisher(nc *nats.Conn, limit int, timeout time.Duration) *publisher {
	return &publisher{
		nc: nc, prefix: nc.NewInbox() + ".", timeout: timeout,
		window:  make(chan struct{}, limit),
		pending: make(map[uint64]inFlight),
	}
}

func (p *publisher) open() error {
	sub, err := p.nc.Subscribe(p.prefix+"*", p.onAck)
	if err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	// At most one message for each in flight, so no limit of the library's is ever near; none may be dropped.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sub = sub
	return nil
}

// close fails what is in flight and everything that comes later.
func (p *publisher) close() {
	p.mu.Lock()
	sub := p.sub
	p.sub = nil
	p.mu.Unlock()
	if sub != nil {
		_ = sub.Unsubscribe() // fails only where the connection is closed, and then it is gone anyway
	}
	p.failAll(ErrClosed)
}

func (p *publisher) inFlight() int { return len(p.window) }

func (p *publisher) publish(ctx context.Context, m *nats.Msg, done func(error)) {
	select {
	case p.window <- struct{}{}:
	case <-ctx.Done():
		done(ctx.Err())
		return
	}
	p.start(m, done)
}

// try publishes where the window has room, and fails at once where it hasn't: it never blocks.
func (p *publisher) try(m *nats.Msg, done func(error)) {
	select {
	case p.window <- struct{}{}:
		p.start(m, done)
	default:
		done(ErrUnavailable)
	}
}

// start publishes under a token of the window that it holds.
func (p *publisher) start(m *nats.Msg, done func(error)) {
	p.mu.Lock()
	if p.sub == nil {
		p.mu.Unlock()
		<-p.window
		done(ErrClosed)
		return
	}
	p.next++
	token := p.next
	p.pending[token] = inFlight{done: done, due: time.Now().Add(p.timeout)}
	p.mu.Unlock()

	m.Reply = p.prefix + strconv.FormatUint(token, 10)
	if err := p.nc.PublishMsg(m); err != nil {
		p.end(token, err)
	}
}

// end ends a publish, unless something else has ended it already.
func (p *publisher) end(token uint64, err error) {
	p.mu.Lock()
	f, ok := p.pending[token]
	delete(p.pending, token)
	p.mu.Unlock()
	if ok {
		<-p.window
		f.done(err)
	}
}

func (p *publisher) onAck(m *nats.Msg) {
	token, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, p.prefix), 10, 64)
	if err != nil {
		return // nobody of ours
	}
	p.end(token, readAck(m))
}

// readAck reads a stream's answer to a publish: nil, a *jetstream.APIError, nats.ErrNoResponders or another.
func readAck(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return nats.ErrNoResponders
	}
	var ack struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return fmt.Errorf("read acknowledgement: %w", err)
	case ack.Error != nil:
		return ack.Error
	case ack.Stream == "":
		return jetstream.ErrInvalidJSAck
	default:
		return nil
	}
}

// sweep fails what has waited too long.
func (p *publisher) sweep(now time.Time) {
	p.fail(nats.ErrTimeout, func(f inFlight) bool { return now.After(f.due) })
}

// failAll fails everything in flight.
func (p *publisher) failAll(err error) { p.fail(err, func(inFlight) bool { return true }) }

func (p *publisher) fail(err error, which func(inFlight) bool) {
	var failed []uint64
	p.mu.Lock()
	for token, f := range p.pending {
		if which(f) {
			failed = append(failed, token)
		}
	}
	p.mu.Unlock()
	for _, token := range failed {
		p.end(token, err)
	}
}
