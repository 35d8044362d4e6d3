package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/relay"
)

// outbox is an outbox without a file. All that it is asked for is done by functions.
type outbox struct {
	pending func(after job.ID, limit int) []job.ID
	load    func(job.ID) (job.Envelope, bool)
}

func (o outbox) Pending(_ context.Context, after job.ID, limit int) ([]job.ID, error) {
	return o.pending(after, limit), nil
}

func (o outbox) Load(_ context.Context, id job.ID) (job.Envelope, bool, error) {
	e, ok := o.load(id)
	return e, ok, nil
}

func (o outbox) Apply(context.Context, []job.Status) error { return nil }

// publishFunc is a function that is a relay.Publisher.
type publishFunc func(e job.Envelope, done func(error))

func (f publishFunc) Publish(_ context.Context, e job.Envelope, _ time.Duration, done func(error)) {
	f(e, done)
}

// emptyLog knows of no status.
type emptyLog struct{ job.Log }

func (emptyLog) Last(context.Context, string, job.ID) (job.Status, uint64, error) {
	return job.Status{}, 0, nil
}

func relaying(t *testing.T, up func() bool, o outbox, p publishFunc) *relay.Relay {
	t.Helper()
	r := relay.New(relay.Config{
		Outbox: o, Publisher: p, Log: emptyLog{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Connected: func() (bool, uint64) { return up(), 0 },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

func always() bool { return true }

func envelope(id job.ID) job.Envelope {
	return job.Envelope{ID: id, Pool: job.DefaultPool, Sealed: []byte("x"), Expires: time.Now().Add(time.Hour)}
}

// A job that is committed while the relay reads what an earlier run left is found there before it is offered.
func TestRelay_AJobThatIsFoundAndOfferedIsCountedOnce(t *testing.T) {
	t.Parallel()
	found := make(chan struct{})
	r := relaying(t, always, outbox{
		pending: func(job.ID, int) []job.ID { close(found); return []job.ID{"a"} },
		load:    func(id job.ID) (job.Envelope, bool) { return envelope(id), true },
	}, func(_ job.Envelope, done func(error)) { done(nil) })
	<-found
	require.Eventually(t, func() bool { return r.Waiting(job.DefaultPool) == 1 }, patient, time.Millisecond)
	r.Offer(envelope("a"))
	require.EqualValues(t, 1, r.Waiting(job.DefaultPool))
	r.Note([]job.Status{{Job: "a", State: job.Sent}})
	require.Zero(t, r.Waiting(job.DefaultPool))
	require.Zero(t, r.Stats().Pending)
}

// New jobs that never cease mustn't keep the relay from those that have come due.
func TestRelay_WhatIsDueIsLookedAfterBesideAnEndlessStreamOfNewJobs(t *testing.T) {
	t.Parallel()
	var r *relay.Relay
	var looked atomic.Bool
	var next atomic.Int64
	ready := make(chan struct{})
	r = relaying(t, always, outbox{
		pending: func(job.ID, int) []job.ID { <-ready; return []job.ID{"left"} },
		load: func(id job.ID) (job.Envelope, bool) {
			looked.Store(true)
			return envelope(id), true
		},
	}, func(_ job.Envelope, done func(error)) {
		done(nil)
		if !looked.Load() {
			r.Offer(envelope(job.ID("new-" + strconv.FormatInt(next.Add(1), 10))))
		}
	})
	r.Offer(envelope("first"))
	close(ready)
	require.Eventually(t, looked.Load, patient, time.Millisecond)
}

// Nor may the many jobs that an earlier run left keep it from the new ones.
func TestRelay_NewJobsArePublishedBesideAllThatIsDue(t *testing.T) {
	t.Parallel()
	const left = 20_000
	var r *relay.Relay
	var up atomic.Bool
	var loads, before atomic.Int64
	offered := sync.OnceFunc(func() { r.Offer(envelope("new")) })
	r = relaying(t, up.Load, outbox{
		pending: func(after job.ID, limit int) (ids []job.ID) {
			n, _ := strconv.Atoi(string(after))
			for n++; n <= left && len(ids) < limit; n++ {
				ids = append(ids, job.ID(fmt.Sprintf("%06d", n)))
			}
			return ids
		},
		load: func(id job.ID) (job.Envelope, bool) {
			loads.Add(1)
			offered()
			return envelope(id), true
		},
	}, func(e job.Envelope, done func(error)) {
		done(nil)
		if e.ID == "new" {
			before.Store(loads.Load())
		}
	})
	require.Eventually(t, func() bool { return r.Waiting(job.DefaultPool) == left }, patient, time.Millisecond)
	up.Store(true)
	require.Eventually(t, func() bool { return before.Load() > 0 }, patient, time.Millisecond)
	require.Less(t, before.Load(), int64(left/2))
}
