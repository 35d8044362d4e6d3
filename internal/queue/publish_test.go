package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

// changeStream changes the stream of OTPs as an operator or a fault would.
func changeStream(t *testing.T, nc *nats.Conn, change func(*jetstream.StreamConfig)) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_OTP")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	change(&cfg)
	_, err = js.UpdateStream(within(t), cfg)
	require.NoError(t, err)
}

func waitingOTPs(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_OTP")
	require.NoError(t, err)
	return s.CachedInfo().State.Msgs
}

func TestPublish_OfAJobThatStillWaitsSucceedsAndStoresNothing(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	require.NoError(t, publish(t, b, otp("job-1")))
	require.NoError(t, publish(t, b, otp("job-1")))
	require.EqualValues(t, 1, waitingOTPs(t, nc))

	d := next(t, open(t, b, session))
	require.NoError(t, publish(t, b, otp("job-1")), "also while it is in flight")
	require.EqualValues(t, 1, waitingOTPs(t, nc))
	require.NoError(t, d.Ack())
	require.Eventually(t, func() bool { return waitingOTPs(t, nc) == 0 }, patient, 5*time.Millisecond)
	require.NoError(t, publish(t, b, otp("job-1")), "and once it was acknowledged it is taken again")
	require.EqualValues(t, 1, waitingOTPs(t, nc))
}

func TestPublish_IntoAFullStreamFails(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	changeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	require.NoError(t, publish(t, b, otp("job-1")))
	require.ErrorIs(t, publish(t, b, otp("job-2")), queue.ErrUnavailable)
}

func TestPublish_OfANameThatCannotStandInASubjectFails(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{})
	for _, e := range []job.Envelope{
		{ID: "a.b", Lane: job.LaneOTP, Pool: pool, Target: job.AnySession},
		{ID: "a", Lane: "x", Pool: pool, Target: job.AnySession},
		{ID: "a", Lane: job.LaneOTP, Pool: "*", Target: job.AnySession},
		{ID: "a", Lane: job.LaneOTP, Pool: pool, Target: "short"},
	} {
		err := publishFor(t, b, e, time.Minute)
		require.ErrorIs(t, err, queue.ErrUnavailable)
		require.ErrorIs(t, err, job.ErrName)
	}
}

func TestPublish_FailsSoonWhileDisconnected(t *testing.T) {
	t.Parallel()
	srv := startProcessless(t)
	b := run(t, dial(t, srv.addr), queue.Options{AckTimeout: time.Hour})
	ready(t, b)
	require.True(t, b.Connected())
	srv.stop()
	require.Eventually(t, func() bool { return !b.Connected() }, patient, time.Millisecond)
	require.ErrorIs(t, publish(t, b, otp("job-1")), queue.ErrUnavailable) // an hour before its timeout
}

func TestPublish_InFlightFailsWithItsConnection(t *testing.T) {
	t.Parallel()
	srv := startProcessless(t)
	nc := dial(t, srv.addr)
	b := run(t, nc, queue.Options{AckTimeout: time.Hour})
	ready(t, b)
	changeStream(t, nc, func(c *jetstream.StreamConfig) { c.NoAck = true })
	answer := make(chan error, 1)
	b.Publish(within(t), otp("job-1"), time.Minute, func(err error) { answer <- err })
	require.Equal(t, 1, b.InFlight())
	require.Eventually(t, func() bool { return waitingOTPs(t, nc) == 1 }, patient, 5*time.Millisecond)
	srv.stop()
	select {
	case err := <-answer:
		require.ErrorIs(t, err, queue.ErrUnavailable)
	case <-time.After(patient):
		require.Fail(t, "never answered")
	}
}

func TestPublish_BeforeNATSWasEverThereFailsSoon(t *testing.T) {
	t.Parallel()
	b := run(t, dial(t, "127.0.0.1:1"), queue.Options{AckTimeout: time.Hour})
	require.ErrorIs(t, publish(t, b, otp("job-1")), queue.ErrUnavailable)
	require.False(t, b.Connected())
	_, err := b.Put(within(t), job.Status{Job: "job-1", Pool: pool, State: job.Sending}, 0)
	require.ErrorIs(t, err, queue.ErrUnavailable)
	_, _, err = b.Last(within(t), pool, "job-1")
	require.ErrorIs(t, err, queue.ErrUnavailable)
	_, err = b.Fence(within(t), session, "x")
	require.ErrorIs(t, err, queue.ErrUnavailable)
}

func TestPublish_GivesUpWhereNoAcknowledgementComesAndBlocksOnlyOnAFullWindow(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckTimeout: 300 * time.Millisecond, MaxInFlight: 2})
	ready(t, b)
	changeStream(t, nc, func(c *jetstream.StreamConfig) { c.NoAck = true })

	answers := make(chan error, 3)
	for i := range 2 {
		b.Publish(within(t), otp(fmt.Sprint("job-", i)), time.Minute, func(err error) { answers <- err })
	}
	require.Equal(t, 2, b.InFlight())
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	b.Publish(gone, otp("job-2"), time.Minute, func(err error) { answers <- err })
	err := <-answers // of the one that found no room
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, queue.ErrUnavailable)
	require.Eventually(t, func() bool { return len(answers) == 2 }, patient, 5*time.Millisecond)
	for range 2 {
		require.ErrorIs(t, <-answers, nats.ErrTimeout)
	}
	require.Zero(t, b.InFlight())
}

func TestPublish_AnswersExactlyOnceWhateverHappensToTheServer(t *testing.T) {
	t.Parallel()
	const publishers, each = 8, 400
	srv := startProcessless(t)
	b := run(t, dial(t, srv.addr), queue.Options{AckTimeout: 500 * time.Millisecond, MaxInFlight: 64})
	ready(t, b)

	var answered [publishers * each]atomic.Int32
	var stored, failed atomic.Int32
	var wg, answers sync.WaitGroup
	answers.Add(publishers * each)
	half := make(chan struct{})
	var halfOnce sync.Once
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				n := p*each + i
				if i == each/3 {
					halfOnce.Do(func() { close(half) })
				}
				b.Publish(context.Background(), otp(fmt.Sprint("job-", n)), time.Minute, func(err error) {
					if answered[n].Add(1) == 1 {
						answers.Done()
					}
					switch {
					case err == nil:
						stored.Add(1)
					case errors.Is(err, queue.ErrUnavailable):
						failed.Add(1)
					}
				})
				if i == each*2/3 { // so that the outage doesn't end with the test
					wait, cancel := context.WithTimeout(context.Background(), patient)
					for !b.Connected() && wait.Err() == nil {
						_ = publish(t, b, otp("probe"))
					}
					cancel()
				}
			}
		})
	}
	<-half
	srv.stop()
	srv.start()
	wg.Wait()
	answers.Wait()
	for n := range answered {
		require.EqualValues(t, 1, answered[n].Load(), "job %d", n)
	}
	require.EqualValues(t, publishers*each, stored.Load()+failed.Load())
	require.Positive(t, stored.Load())
	require.Positive(t, failed.Load())
	require.Zero(t, b.InFlight())
}
