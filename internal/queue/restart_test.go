package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

// publishUntil publishes as the relay does: again until the queue has it.
func publishUntil(t *testing.T, b *queue.Broker, e job.Envelope) {
	t.Helper()
	require.Eventually(t, func() bool { return publish(t, b, e) == nil }, patient, 5*time.Millisecond)
}

func TestStory_NATSIsStartedAfterUsAndStoppedForAWhile(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]bool{"and comes back with its store": false, "and comes back with an empty disk": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startProcessless(t) // for a port that is free
			srv.stop()
			log, book := logger(t)
			b := run(t, dial(t, srv.addr), queue.Options{Logger: log})
			j := open(t, b, session)
			r := read(t, b, 0)
			waiting := make(chan *queue.Delivery, 1)
			ask := func() {
				d, err := j.Next(within(t))
				if err != nil {
					t.Errorf("next: %v", err)
				}
				waiting <- d
			}
			go ask()
			srv.start()
			ready(t, b)
			publishUntil(t, b, otp("job-1"))
			require.NoError(t, (<-waiting).Ack())
			put(t, b, "job-1", job.Sent)
			r.wait(t, 1)

			publishUntil(t, b, otp("job-2"))
			held := next(t, j)
			go ask()
			srv.stop()
			require.Eventually(t, func() bool { return !b.Connected() }, patient, time.Millisecond)
			require.ErrorIs(t, held.Ack(), queue.ErrUnavailable)
			if lose {
				srv.loseDisk()
			}
			srv.start()
			require.Eventually(t, b.Connected, patient, time.Millisecond)
			publishUntil(t, b, own(otp("job-3")))
			d := <-waiting
			require.Equal(t, job.ID("job-3"), d.Job().ID)
			require.NoError(t, d.Ack())
			if lose {
				_, seq, err := b.Last(within(t), pool, "job-1")
				require.NoError(t, err)
				require.Zero(t, seq)
			} else {
				require.NoError(t, held.Ack(), "it is said again")
			}
			put(t, b, "job-3", job.Sent)
			require.Eventually(t, func() bool { return r.has("job-3") }, patient, 5*time.Millisecond)
			require.LessOrEqual(t, book.count("level=WARN")+book.count("level=ERROR"), 6, "a word or two per outage")
		})
	}
}

func TestStory_NATSIsKilledUnderLoadAndLosesNothing(t *testing.T) {
	t.Parallel()
	const jobs, kills = 1500, 3
	srv := startProcess(t)
	b := run(t, dial(t, srv.addr), queue.Options{AckWait: 2 * time.Second, AckTimeout: time.Second})
	ready(t, b)
	r := read(t, b, 0)

	var mu sync.Mutex
	done := map[job.ID]int{}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(done)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, name := range []string{session, other} {
		j := open(t, b, name)
		for range 4 {
			wg.Go(func() {
				for {
					d, err := j.Next(ctx)
					if err != nil {
						return
					}
					s := job.Status{Job: d.Job().ID, Pool: pool, State: job.Sent}
					if _, _, err := job.Raise(ctx, b, s, 0); err != nil {
						continue // comes again after the ack wait
					}
					mu.Lock()
					done[s.Job]++
					mu.Unlock()
					_ = d.Ack()
				}
			})
		}
	}
	// A relay: each job again until the queue has it, also after a kill took what it had acknowledged.
	wg.Go(func() {
		for n := range jobs {
			e := otp(fmt.Sprint("job-", n))
			if n%2 == 0 {
				e = own(e)
			}
			for ctx.Err() == nil && publish(t, b, e) != nil { //nolint:contextcheck // waits for its answer by itself
				wait, stop := context.WithTimeout(ctx, 20*time.Millisecond)
				<-wait.Done()
				stop()
			}
		}
	})
	for k := range kills {
		require.Eventually(t, func() bool { return count() > (k+1)*jobs/(kills+2) }, patient, time.Millisecond)
		srv.kill()
		srv.startAgain()
	}
	require.Eventually(t, func() bool { return count() == jobs }, 2*patient, 5*time.Millisecond, "every job came")
	require.Eventually(t, func() bool {
		seen := map[job.ID]bool{}
		for _, s := range r.all() {
			seen[s.Job] = true
		}
		return len(seen) == jobs
	}, patient, 20*time.Millisecond, "and every status")
	cancel()
	wg.Wait()
}

func TestStory_ADeletedConsumerOrStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	j := open(t, b, session)
	settle(t, nc, j)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteConsumer(within(t), "WABEK_OTP", "any-default"))
	require.NoError(t, publish(t, b, otp("job-1")))
	require.Equal(t, job.ID("job-1"), nextID(t, j))
	require.NoError(t, js.DeleteStream(within(t), "WABEK_OTP"))
	publishUntil(t, b, own(otp("job-2")))
	require.Equal(t, job.ID("job-2"), nextID(t, j))
}

func TestRun_EndsWhenTheConnectionIsClosed(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	log, _ := logger(t)
	b, err := queue.New(nc, queue.Options{Logger: log})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(t.Context()) }()
	ready(t, b)
	j := open(t, b, session)
	nc.Close()
	require.ErrorIs(t, <-ended, queue.ErrClosed)
	_, err = j.Next(within(t))
	require.ErrorIs(t, err, queue.ErrClosed)
	require.ErrorIs(t, publish(t, b, otp("job-1")), queue.ErrUnavailable)
}
