package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

const (
	statusBatch  = 512                    // statuses applied together at most
	statusGather = 100 * time.Millisecond // how long the first of them waits for more
	statusAhead  = 2 * statusBatch        // pulled ahead while a batch is applied
	// statusAckWait is soon: what a reader had pulled and not applied when it stopped comes again after it, and a
	// status that comes twice does no harm.
	statusAckWait = 5 * time.Second
	applyFirst    = 100 * time.Millisecond // pause after a failed apply, doubled up to
	applyLast     = 5 * time.Second
)

// Statuses hands every status that the stream has, and each new one, to apply, in batches and in the stream's
// order, until the context ends; it returns nil then. durable names the reader: it goes on where it last was. A
// batch whose apply fails is applied again until it succeeds. A status may come again, also after newer ones of
// the same job, where an acknowledgement was lost or NATS lost the reader: then all that is still there comes
// again, and apply must be idempotent by rank. What can't be read is logged and passed over.
func (b *Broker) Statuses(ctx context.Context, durable string, apply func(context.Context, []job.Status) error) error {
	return b.follow(ctx, "statuses", func(ctx context.Context) (bool, error) { return b.readStatuses(ctx, durable, apply) })
}

// follow reads a stream by read, which reads until something is wrong and says whether it got anything, again and again
// until the context ends; it returns nil then, or ErrClosed where the connection was closed.
func (b *Broker) follow(ctx context.Context, what string, read func(context.Context) (bool, error)) error {
	warned := false
	for wait := restFirst; ; wait = min(2*wait, restLast) {
		renewed := b.renewed.wait()
		got, err := read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the context's end is how this ends
		case b.nc.IsClosed():
			return ErrClosed
		}
		if got {
			wait, warned = restFirst, false
		}
		if b.nc.IsConnected() {
			b.ask() // the stream may be what is missing
			if !warned {
				b.log.WarnContext(ctx, "reading stopped, trying on", "what", what, "error", err)
				warned = true
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-renewed:
		case <-t.C:
		}
		t.Stop()
	}
}

// readStatuses reads until something is wrong with the reader, and says whether it got anything.
func (b *Broker) readStatuses(ctx context.Context, durable string, apply func(context.Context, []job.Status) error) (got bool, err error) {
	makeCtx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	consumer, err := b.js.CreateOrUpdateConsumer(makeCtx, streamStatus, jetstream.ConsumerConfig{
		Durable:       durable,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckAllPolicy,
		AckWait:       statusAckWait,
		MaxDeliver:    -1,
		MaxAckPending: 8 * statusBatch,
	})
	if err != nil {
		return false, fmt.Errorf("make status reader: %w", err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(statusAhead),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return false, fmt.Errorf("read statuses: %w", err)
	}
	defer msgs.Stop()
	for {
		first, err := msgs.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) && b.nc.IsConnected() {
			b.lostPulls.Add(1) // the next Next pulls anew, but the consumer may be gone: look
		}
		if err != nil {
			return got, fmt.Errorf("read statuses: %w", err)
		}
		got = true
		batch, last := b.gather(ctx, msgs, first)
		if !b.applyAll(ctx, batch, apply) {
			return got, ctx.Err()
		}
		// One for the whole batch. Lost, it is made good by the next one's, or the batch comes again.
		if err := last.Ack(); err != nil {
			return got, fmt.Errorf("acknowledge statuses: %w", err)
		}
	}
}

// gather takes what comes in shortly after the first message.
func (b *Broker) gather(ctx context.Context, msgs jetstream.MessagesContext, first jetstream.Msg) ([]job.Status, jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, statusGather)
	defer cancel()
	var batch []job.Status
	for n, m := 1, first; ; n++ {
		last := m
		s, err := job.DecodeStatus(m.Data())
		switch {
		case err == nil:
			if meta, err := m.Metadata(); err == nil {
				s.Seq = meta.Sequence.Stream
			}
			batch = append(batch, s)
		case errors.Is(err, job.ErrNewerFormat):
			b.log.WarnContext(ctx, "status has a newer format, passed over", "subject", m.Subject())
		case len(m.Data()) > 0: // an empty one is a marker of the server's
			b.log.ErrorContext(ctx, "malformed status, passed over", "subject", m.Subject())
		}
		if n == statusBatch {
			return batch, last
		}
		if m, err = msgs.Next(jetstream.NextContext(ctx)); err != nil {
			return batch, last // the next call says it again where it is more than the time
		}
	}
}

// applyAll applies a batch until that succeeds, and says whether it did before the context ended.
func (b *Broker) applyAll(ctx context.Context, batch []job.Status, apply func(context.Context, []job.Status) error) bool {
	warned := false
	for wait := applyFirst; len(batch) > 0; wait = min(2*wait, applyLast) {
		err := apply(ctx, batch)
		if err == nil {
			return true
		}
		if ctx.Err() == nil && !warned {
			b.log.ErrorContext(ctx, "can't apply statuses, trying on", "count", len(batch), "error", err)
			warned = true
		}
		if !pause(ctx, wait) {
			return false
		}
	}
	return true
}
