package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"wabek/internal/job"
	"wabek/internal/queue"
	"wabek/internal/sender"
)

// nullSessions is how many sessions the null sender has: enough to drain at the speed of the queue.
const nullSessions = 4

// nullSender is the product's sender over sessions that answer at once: real jobs, claims, statuses and heartbeats,
// no WhatsApp. It sends only in drain, so that it costs a phase nothing but its heartbeats.
type nullSender struct {
	nc      *nats.Conn
	broker  *queue.Broker
	senders []*sender.Sender
	log     *slog.Logger
	ready   chan struct{} // closed once the fields above are set
}

func newNullSender() *nullSender { return &nullSender{log: quietLog(), ready: make(chan struct{})} }

// nullSession is a session that answers at once.
type nullSession struct {
	id    string
	fence uint64
}

func (s nullSession) ID() string                                 { return s.id }
func (s nullSession) Fence() uint64                              { return s.fence }
func (s nullSession) Ready(ctx context.Context) error            { return ctx.Err() }
func (s nullSession) Send(context.Context, sender.Message) error { return nil }

// run is apiapp.Options.Sender.
func (n *nullSender) run(ctx context.Context, nc *nats.Conn, broker *queue.Broker, opener job.Opener) error {
	select {
	case <-broker.Ready():
	case <-ctx.Done():
		return nil
	}
	var sessions []nullSession
	for i := range nullSessions {
		s := nullSession{id: fmt.Sprintf("null%04d", i)}
		var err error
		if s.fence, err = broker.Fence(ctx, s.id, "bench"); err != nil {
			return fmt.Errorf("null sender: %w", err)
		}
		jobs, err := broker.Jobs(ctx, job.DefaultPool, s.id, nil)
		if err != nil {
			return fmt.Errorf("null sender: %w", err)
		}
		defer jobs.Close() //nolint:errcheck // always nil
		sessions = append(sessions, s)
		n.senders = append(n.senders, sender.New(sender.Config{
			Session: s, Opener: opener, Log: broker, Now: time.Now, Logger: n.log,
			Next: func(ctx context.Context) (sender.Delivery, error) {
				d, err := jobs.Next(ctx)
				if err != nil {
					return nil, err
				}
				return d, nil
			},
			Bury: func(ctx context.Context, e job.Envelope, reason job.Reason) error {
				return broker.Dead(ctx, e.Lane, e.Pool, e.ID, string(reason))
			},
		}))
	}
	n.nc, n.broker = nc, broker
	close(n.ready)
	n.beat(ctx, sessions)
	return nil
}

// beat tells the API of the sessions every two seconds, as a sender does.
func (n *nullSender) beat(ctx context.Context, sessions []nullSession) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		offset, _ := n.broker.ClockOffset(ctx) // zero where it isn't known
		for _, s := range sessions {
			_ = n.broker.Beat(ctx, queue.Heartbeat{ // a lost beat is followed by the next
				Pool: job.DefaultPool, Session: s.id, Sender: "bench", Up: true, OffsetMS: offset.Milliseconds(), At: time.Now(),
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// drain sends until nothing is left to send.
func (n *nullSender) drain(ctx context.Context, empty func() bool) error {
	take, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, s := range n.senders {
		group.Go(func() {
			if err := s.Run(take, ctx); err != nil {
				n.log.Error("null sender", "err", err)
			}
		})
	}
	err := until(ctx, func() (bool, error) { return empty(), nil })
	stop()
	group.Wait()
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}
