package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

const (
	maxWishes  = 100_000 // some 40 MB
	wishMaxAge = 7 * 24 * time.Hour
	wishAhead  = 64 // pulled ahead
	// wishAckWait is soon: what a reader had pulled and not noted when it stopped comes again after it, and a wish that
	// comes twice does no harm.
	wishAckWait = 5 * time.Second
	// wishRetry is the pause before a wish that couldn't be noted comes again, doubled up to wishRetryLast.
	wishRetry     = 250 * time.Millisecond
	wishRetryLast = 30 * time.Second
)

// wishStream is a work queue that holds each wish once.
func wishStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 streamWish,
		Description:          "who wants no more notices, or wants them again, sealed",
		Subjects:             []string{wishSubject("*", "*")},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Replicas:             replicas,
		MaxMsgs:              maxWishes,
		MaxMsgsPerSubject:    1,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxAge:               wishMaxAge,
	}
}

func wishSubject(pool, id string) string { return "wabek.wish." + pool + "." + id }

// PutWish stores a sealed wish and waits for the stream's acknowledgement; one of this pool and id that still waits there
// is as good. Pool and id are named as a job's are. Errors: job.ErrName, ErrFull, and ErrUnavailable, after which it may or
// may not be stored.
func (b *Broker) PutWish(ctx context.Context, pool, id string, sealed []byte) error {
	if err := checkTask(pool, id); err != nil {
		return fmt.Errorf("store wish: %w", err)
	}
	_, err := b.js.Publish(ctx, wishSubject(pool, id), sealed)
	switch {
	case stillThere(err):
		return nil
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		b.ask() // the stream is gone, or has no leader
	}
	return taskError("store wish", err)
}

// Wishes hands every wish that the stream has, and each new one, to fn, one after the other, until the context ends; it
// returns nil then, and ErrClosed where the connection was closed. durable names the reader; there can be one of them,
// in any number of processes, for a work queue gives each message to one. A wish whose fn fails comes again after a
// pause, until it succeeds or the wish is seven days old; others aren't held up by it. One may come twice, and after
// newer ones: fn must look at when it was uttered.
func (b *Broker) Wishes(ctx context.Context, durable string, fn func(ctx context.Context, pool, id string, sealed []byte) error) error {
	r := &wishReader{b: b, durable: durable, fn: fn}
	return b.follow(ctx, "wishes", r.read)
}

// wishReader is one call of Wishes.
type wishReader struct {
	b       *Broker
	durable string
	fn      func(ctx context.Context, pool, id string, sealed []byte) error
	failing bool // the last wish couldn't be noted, and that was said
}

// read reads until something is wrong with the consumer, and says whether it got anything.
func (r *wishReader) read(ctx context.Context) (got bool, err error) {
	makeCtx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	consumer, err := r.b.js.CreateOrUpdateConsumer(makeCtx, streamWish, jetstream.ConsumerConfig{
		Durable:       r.durable,
		DeliverPolicy: jetstream.DeliverAllPolicy, // a work queue knows no other
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       wishAckWait,
		MaxDeliver:    -1,
		MaxAckPending: maxWishes, // those that are put off count, and mustn't stop the others
	})
	if err != nil {
		return false, fmt.Errorf("make wish reader: %w", err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(wishAhead),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return false, fmt.Errorf("read wishes: %w", err)
	}
	defer msgs.Stop()
	for {
		m, err := msgs.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) && r.b.nc.IsConnected() {
			r.b.lostPulls.Add(1) // the next Next pulls anew, but the consumer may be gone: look
		}
		if err != nil {
			return got, fmt.Errorf("read wishes: %w", err)
		}
		got = true
		if err := r.hand(ctx, m); err != nil {
			return got, fmt.Errorf("acknowledge wish: %w", err)
		}
	}
}

// hand hands one wish over and ends its delivery.
func (r *wishReader) hand(ctx context.Context, m jetstream.Msg) error {
	pool, id, err := wishAt(m.Subject())
	if err != nil {
		r.b.log.ErrorContext(ctx, "malformed wish, dropped", "error", err) // nobody's who asked checkTask
		return m.Term()
	}
	if err := r.fn(ctx, pool, id, m.Data()); err != nil {
		if ctx.Err() == nil && !r.failing {
			r.b.log.ErrorContext(ctx, "a wish can't be noted, trying on", "error", err)
			r.failing = true
		}
		return m.NakWithDelay(wishPause(m))
	}
	r.failing = false
	return m.Ack() // lost, the wish comes again
}

// wishPause is how long a wish is left alone, by how often it has come.
func wishPause(m jetstream.Msg) time.Duration {
	meta, err := m.Metadata()
	if err != nil {
		return wishRetryLast
	}
	doublings := min(meta.NumDelivered-1, 16)
	return min(wishRetry<<doublings, wishRetryLast)
}

// wishAt reads what a wish's subject says of it. Errors wrap job.ErrMalformed.
func wishAt(subject string) (pool, id string, err error) {
	t := strings.Split(subject, ".")
	if len(t) != 4 || t[0] != "wabek" || t[1] != "wish" {
		return "", "", fmt.Errorf("%w: subject", job.ErrMalformed)
	}
	if err := checkTask(t[2], t[3]); err != nil {
		return "", "", fmt.Errorf("%w: subject: %w", job.ErrMalformed, err)
	}
	return t[2], t[3], nil
}
