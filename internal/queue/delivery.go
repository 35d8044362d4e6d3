package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"wabek/internal/job"
)

const (
	maxRetry      = 60 * time.Second       // longer waits belong in a record, with their due time
	newerPause    = 60 * time.Second       // a newer program will come by
	forwardedWait = 500 * time.Millisecond // until the copy that is in the way may be gone
)

// Delivery is one job handed out by the queue: sender.Delivery. Its methods may be called from many goroutines;
// the first of Ack, Retry, Forward and Drop that succeeds ends it, later ones return ErrEnded. An acknowledgement
// isn't itself acknowledged: where it gets lost, or the message's TTL has ended meanwhile, it still returns nil.
type Delivery struct {
	b      *Broker
	e      job.Envelope
	reply  string // where acknowledgements go
	stored time.Time
	life   time.Duration // at stored
	times  int
	ended  atomic.Bool
	alive  atomic.Int64 // when it was last said to be under way, of a notice: Unix ns
	onEnd  func()       // hears that it has ended; nil for nobody
}

// newDelivery reads a message. Errors wrap job.ErrMalformed or job.ErrNewerFormat; the envelope is then as good
// as its subject is.
func (b *Broker) newDelivery(m *nats.Msg, meta *nats.MsgMetadata) (*Delivery, error) {
	d := &Delivery{b: b, reply: m.Reply, stored: meta.Timestamp, times: int(min(meta.NumDelivered, 1<<31-1))}
	var err error
	if d.e, err = jobAt(m.Subject); err != nil {
		return d, err
	}
	format, err := strconv.Atoi(m.Header.Get(headerFormat))
	switch {
	case err != nil:
		return d, fmt.Errorf("%w: header %s", job.ErrMalformed, headerFormat)
	case format > jobFormat:
		return d, job.ErrNewerFormat
	}
	ms, err := strconv.ParseInt(m.Header.Get(headerLife), 10, 64)
	if err != nil || ms < 0 || time.Duration(ms) > maxLife/time.Millisecond {
		return d, fmt.Errorf("%w: header %s", job.ErrMalformed, headerLife)
	}
	d.life = time.Duration(ms) * time.Millisecond
	d.e.Sealed = m.Data
	d.e.Expires = b.o.Now().Add(d.Left())
	return d, nil
}

// maxLife bounds what a header may claim.
const maxLife = 366 * 24 * time.Hour

// Job is the job. Its Expires is by this machine's clock.
func (d *Delivery) Job() job.Envelope { return d.e }

// Deliveries counts how often the queue has handed this job out, this time included. It starts anew where NATS
// has lost the consumer.
func (d *Delivery) Deliveries() int { return d.times }

// Left is what is left of the job's life, by the queue server's clock: the life that its message gave it, less
// the time since it was stored.
func (d *Delivery) Left() time.Duration {
	return min(d.life, d.life-d.b.serverNow().Sub(d.stored))
}

// InProgress tells the queue that we are still at it: the ack wait starts anew.
func (d *Delivery) InProgress() error {
	if d.ended.Load() {
		return ErrEnded
	}
	d.alive.Store(time.Now().UnixNano())
	return d.say("+WPI")
}

// Ack removes the job: it is done.
func (d *Delivery) Ack() error { return d.end("+ACK") }

// Retry gives the job back, to be handed out again after a pause of at most 60 s.
func (d *Delivery) Retry(after time.Duration) error {
	after = min(after, maxRetry)
	if after <= 0 {
		return d.end("-NAK")
	}
	return d.end(`-NAK {"delay": ` + strconv.FormatInt(after.Nanoseconds(), 10) + `}`)
}

// Drop removes the job unsent, for good, with a reason for the server's advisory.
func (d *Delivery) Drop(reason string) error { return d.end("+TERM " + reason) }

// Forward puts the job on a session's own subject, or back on job.AnySession, with what is left of its life, and
// removes it here, in this order. Where that subject already has a copy of it, it gives the job back for half a
// second instead: the copy may be on its way to here, and two that take the other's copy for their own lose the
// job. After an error that wraps ErrUnavailable the delivery is still ours; a copy may have been stored.
func (d *Delivery) Forward(ctx context.Context, session string) error {
	if d.ended.Load() {
		return ErrEnded
	}
	e := d.e
	e.Target = session
	if err := checkAddress(e); err != nil {
		return fmt.Errorf("forward job: %w", err)
	}
	_, err := d.b.js.PublishMsg(ctx, d.b.jobMsg(e, d.Left()))
	switch {
	case err == nil:
		return d.Ack()
	case stillThere(err):
		return d.Retry(forwardedWait)
	default:
		return unavailable("forward job", err)
	}
}

// end says the last word.
func (d *Delivery) end(word string) error {
	if !d.ended.CompareAndSwap(false, true) {
		return ErrEnded
	}
	if err := d.say(word); err != nil {
		d.ended.Store(false) // it may be said again
		return err
	}
	if d.onEnd != nil {
		d.onEnd()
	}
	return nil
}

func (d *Delivery) say(word string) error {
	if err := d.b.nc.Publish(d.reply, []byte(word)); err != nil {
		return unavailable("acknowledge", err)
	}
	return nil
}

// refuse deals with a message that can't be handed out.
func (b *Broker) refuse(d *Delivery, l *lane, meta *nats.MsgMetadata, cause error) {
	if errors.Is(cause, job.ErrNewerFormat) {
		b.log.Warn("job has a newer format, left for a newer sender", "job", d.e.ID)
		_ = d.Retry(newerPause) // else it comes back after the ack wait
		return
	}
	b.log.Error("malformed job", "job", d.e.ID, "stream", meta.Stream, "seq", meta.Sequence.Stream, "error", cause)
	id := d.e.ID
	if _, err := job.ParseID(string(id)); err != nil {
		id = job.ID("malformed-" + strconv.FormatUint(meta.Sequence.Stream, 10))
	}
	m, err := b.deadMsg(l.lane, l.pool, id, "malformed")
	if err != nil {
		b.log.Error("can't make dead letter", "error", err)
		return
	}
	b.pub.try(m, func(err error) {
		if err == nil {
			_ = d.Drop("malformed")
		} // else it comes back after the ack wait
	})
}
