package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

func deadLetter(t *testing.T, nc *nats.Conn, subject string) string {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_DEAD")
	require.NoError(t, err)
	var m *jetstream.RawStreamMsg
	require.Eventually(t, func() bool {
		m, err = s.GetLastMsgForSubject(within(t), subject)
		return err == nil
	}, patient, 5*time.Millisecond)
	return string(m.Data)
}

func TestJobs_HandsOutWhatWasPublished(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{})
	e := otp("job-1")
	require.NoError(t, publish(t, b, e))

	d := next(t, open(t, b, session))
	require.Equal(t, e.ID, d.Job().ID)
	require.Equal(t, e.Lane, d.Job().Lane)
	require.Equal(t, e.Pool, d.Job().Pool)
	require.Equal(t, e.Target, d.Job().Target)
	require.Equal(t, e.Sealed, d.Job().Sealed)
	require.WithinDuration(t, e.Expires, d.Job().Expires, 2*time.Second)
	require.Equal(t, 1, d.Deliveries())
	require.NoError(t, d.InProgress())
	require.NoError(t, d.Ack())
	require.ErrorIs(t, d.Ack(), queue.ErrEnded)
	require.ErrorIs(t, d.InProgress(), queue.ErrEnded)
	require.ErrorIs(t, d.Forward(within(t), other), queue.ErrEnded)
}

func TestJobs_GivesOwnBeforeAnyAndOTPsBeforeNotices(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	for _, e := range []job.Envelope{
		notice("n-any-1"), own(notice("n-own-1")), otp("o-any-1"), own(otp("o-own-1")),
		notice("n-any-2"), own(notice("n-own-2")), otp("o-any-2"), own(otp("o-own-2")),
	} {
		require.NoError(t, publish(t, b, e))
	}
	foreign := otp("o-other")
	foreign.Target = other
	require.NoError(t, publish(t, b, foreign))

	j := open(t, b, session)
	var otps, notices []job.ID
	for n := range 8 {
		if n == 4 {
			require.Zero(t, inFlight(t, nc, "WABEK_NOTICE"), "nor is one held then")
		}
		d := next(t, j)
		if n < 4 {
			require.Equal(t, job.LaneOTP, d.Job().Lane, "no notice while an OTP waits")
			otps = append(otps, d.Job().ID)
		} else {
			notices = append(notices, d.Job().ID)
		}
		require.NoError(t, d.Ack())
	}
	require.ElementsMatch(t, []job.ID{"o-own-1", "o-own-2", "o-any-1", "o-any-2"}, otps)
	require.ElementsMatch(t, []job.ID{"n-own-1", "n-own-2", "n-any-1", "n-any-2"}, notices)
	require.EqualValues(t, 1, waitingOTPs(t, nc), "another session's job stays")
}

// inFlight counts what the consumers of session and of any have handed out, and nobody has acknowledged.
func inFlight(t *testing.T, nc *nats.Conn, stream string) int {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	n := 0
	for _, name := range []string{"any-default", session + "-default"} {
		c, err := js.Consumer(within(t), stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // not made yet
		}
		require.NoError(t, err)
		n += c.CachedInfo().NumAckPending
	}
	return n
}

// settle makes all lanes of j have a pull open and nothing held, with nobody waiting.
func settle(t *testing.T, nc *nats.Conn, j *queue.Jobs) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		_, err := j.Next(ctx)
		left <- err
	}()
	require.Eventually(t, func() bool {
		for _, stream := range []string{"WABEK_OTP", "WABEK_NOTICE"} {
			for _, name := range []string{"any-default", session + "-default"} {
				c, err := js.Consumer(within(t), stream, name)
				if err != nil || c.CachedInfo().NumWaiting == 0 {
					return false
				}
			}
		}
		return true
	}, patient, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
}

func TestJobs_KeepsWhatArrivesWhileNobodyWaitsAndGivesTheHighestFirst(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Second})
	ready(t, b)
	j := open(t, b, session)
	settle(t, nc, j)
	require.NoError(t, publish(t, b, own(notice("n-own"))))
	require.NoError(t, publish(t, b, otp("o-any")))
	require.NoError(t, publish(t, b, own(otp("o-own"))))
	require.Eventually(t, func() bool {
		return inFlight(t, nc, "WABEK_OTP") == 2 && inFlight(t, nc, "WABEK_NOTICE") == 1
	}, patient, 5*time.Millisecond)
	// Held for longer than the ack wait: kept alive, not delivered to another.
	rival, err := b.Jobs(context.Background(), pool, other, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2500*time.Millisecond)
	defer cancel()
	_, err = rival.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, rival.Close())
	require.NoError(t, publish(t, b, otp("o-any-2"))) // stays in the queue: its lane holds one already
	for _, id := range []job.ID{"o-own", "o-any", "o-any-2", "n-own"} {
		d := next(t, j)
		require.Equal(t, id, d.Job().ID)
		require.Equal(t, 1, d.Deliveries())
		require.NoError(t, d.Ack())
	}
}

func TestJobs_CloseGivesBackWhatNobodyTook(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Hour})
	ready(t, b)
	j, err := b.Jobs(context.Background(), pool, session, nil)
	require.NoError(t, err)
	settle(t, nc, j)
	require.NoError(t, publish(t, b, otp("job-1"))) // arrives, held or still on its way
	require.NoError(t, j.Close())
	_, err = j.Next(within(t))
	require.ErrorIs(t, err, queue.ErrClosed)
	require.Equal(t, job.ID("job-1"), nextID(t, open(t, b, other)), "an hour before the ack wait is over")
}

func TestJobs_NextEndsWithItsContextAndLosesNothing(t *testing.T) {
	t.Parallel()
	const jobs = 300
	b := setup(t, queue.Options{AckWait: time.Hour})
	j := open(t, b, session)
	short, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := j.Next(short)
	require.ErrorIs(t, err, context.Canceled)

	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range jobs {
			if err := publish(t, b, otp(fmt.Sprint("job-", n))); err != nil {
				t.Errorf("publish: %v", err)
			}
		}
	})
	seen := map[job.ID]bool{}
	for try := 0; len(seen) < jobs; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(try%5)*100*time.Microsecond)
		if d, err := j.Next(ctx); err == nil {
			require.False(t, seen[d.Job().ID], "%s came twice", d.Job().ID)
			seen[d.Job().ID] = true
			require.NoError(t, d.Ack())
		} else {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		cancel()
	}
	wg.Wait()
}

func TestJobs_ManyAtOnceGetEachJobOnce(t *testing.T) {
	t.Parallel()
	const jobs, sessions, each = 2000, 5, 4
	b := setup(t, queue.Options{AckWait: time.Hour})
	var mu sync.Mutex
	seen := map[job.ID]int{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	all := make(chan struct{})
	var wg sync.WaitGroup
	for s := range sessions {
		j := open(t, b, fmt.Sprintf("session%d", s))
		for range each {
			wg.Go(func() {
				for {
					d, err := j.Next(ctx)
					if err != nil {
						return
					}
					if err := d.Ack(); err != nil {
						t.Errorf("ack: %v", err)
					}
					mu.Lock()
					seen[d.Job().ID]++
					if len(seen) == jobs {
						close(all)
					}
					mu.Unlock()
				}
			})
		}
	}
	for n := range jobs {
		b.Publish(within(t), otp(fmt.Sprint("job-", n)), time.Minute, func(err error) {
			if err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	select {
	case <-all:
	case <-time.After(patient):
		require.Fail(t, "not every job came")
	}
	cancel()
	wg.Wait()
	for id, n := range seen {
		require.Equal(t, 1, n, "%s", id)
	}
	require.Zero(t, b.LostPulls())
}

func TestJobs_AJobWhoseHolderDiedComesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Second})
	require.NoError(t, publish(t, b, otp("job-1")))
	require.Equal(t, 1, next(t, open(t, b, session)).Deliveries()) // and never a word of it again

	d := next(t, open(t, b, other))
	require.Equal(t, job.ID("job-1"), d.Job().ID)
	require.Equal(t, 2, d.Deliveries())
	require.NoError(t, d.Ack())
}

func TestDelivery_RetryComesBackAfterThePauseAndDropNever(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	j := open(t, b, session)
	require.NoError(t, publish(t, b, otp("job-1")))
	before := time.Now()
	require.NoError(t, next(t, j).Retry(300*time.Millisecond))
	require.NoError(t, publish(t, b, otp("job-2")))
	require.Equal(t, job.ID("job-2"), nextID(t, j), "a pause holds nothing up")
	d := next(t, j)
	require.Equal(t, job.ID("job-1"), d.Job().ID)
	require.GreaterOrEqual(t, time.Since(before), 300*time.Millisecond)
	require.NoError(t, d.Retry(0))
	d = next(t, j)
	require.Equal(t, 3, d.Deliveries())
	require.NoError(t, d.Drop("no use"))
	require.Eventually(t, func() bool { return waitingOTPs(t, nc) == 0 }, patient, 5*time.Millisecond)
}

func TestDelivery_MayLoseItsMessageToItsTTLAndStillEnds(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Second, SendDeadline: time.Millisecond})
	ready(t, b)
	j := open(t, b, session)
	require.NoError(t, publishFor(t, b, otp("job-1"), 100*time.Millisecond)) // rounded up: 2 s
	d := next(t, j)
	require.Eventually(t, func() bool {
		require.NoError(t, d.InProgress())
		return waitingOTPs(t, nc) == 0
	}, patient, 100*time.Millisecond)
	require.Negative(t, d.Left())
	require.NoError(t, publish(t, b, otp("job-1")), "the subject is free: a second copy")
	again := next(t, j)
	require.Equal(t, 1, again.Deliveries(), "which only the claim can tell from the first")
	require.NoError(t, d.Ack())
	require.NoError(t, again.Ack())
}

func TestDelivery_ForwardMovesTheJobWithWhatIsLeftOfItsLife(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	require.NoError(t, publishFor(t, b, otp("job-1"), 5*time.Minute))
	d := next(t, open(t, b, session))
	require.ErrorIs(t, d.Forward(within(t), "*"), job.ErrName)
	require.NoError(t, d.Forward(within(t), other))
	d = next(t, open(t, b, other))
	require.Equal(t, other, d.Job().Target)
	require.Equal(t, []byte("sealed job-1"), d.Job().Sealed)
	require.LessOrEqual(t, d.Left(), 5*time.Minute)
	require.Greater(t, d.Left(), 4*time.Minute)
	require.NoError(t, d.Ack())
	require.Eventually(t, func() bool { return waitingOTPs(t, nc) == 0 }, patient, 5*time.Millisecond)
}

func TestDelivery_TwoForwardsInALoopLoseNothing(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	require.NoError(t, publish(t, b, otp("job-1"))) // any
	require.NoError(t, publish(t, b, own(otp("job-1"))))
	any1 := next(t, open(t, b, other)) // the copy on any, held by another session
	require.Equal(t, job.AnySession, any1.Job().Target)
	j := open(t, b, session)
	own1 := next(t, j)
	require.Equal(t, session, own1.Job().Target)
	// Each forwards to where the other's copy still is.
	require.NoError(t, any1.Forward(within(t), session))
	require.NoError(t, own1.Forward(within(t), job.AnySession))
	require.EqualValues(t, 2, waitingOTPs(t, nc), "neither took the other's copy for its own")
	back := next(t, j)
	require.Equal(t, 2, back.Deliveries())
	require.NoError(t, back.Ack())
}

func TestDelivery_ForwardThatCannotPublishKeepsTheJob(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	require.NoError(t, publish(t, b, otp("job-1")))
	d := next(t, open(t, b, session))
	changeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	require.ErrorIs(t, d.Forward(within(t), other), queue.ErrUnavailable)
	require.EqualValues(t, 1, waitingOTPs(t, nc))
	require.NoError(t, d.Retry(0), "it is still ours to give back")
}

func TestJobs_PassesOverWhatItCannotRead(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	log, book := logger(t)
	b := run(t, nc, queue.Options{Logger: log})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	put := func(subject, format, life string) {
		_, err := js.PublishMsg(within(t), &nats.Msg{
			Subject: subject, Data: []byte("secret"),
			Header: nats.Header{"Wabek-Format": {format}, "Wabek-Life": {life}},
		})
		require.NoError(t, err)
	}
	put("wabek.job.otp.default.any.newer", "2", "1000")
	put("wabek.job.otp.default.any.bad-life", "1", "-1")
	put("wabek.job.otp.default.any.no-format", "", "1000")
	put("wabek.job.otp.default.any.BAD_ID", "1", "1000")
	require.NoError(t, publish(t, b, otp("job-1")))

	require.Equal(t, job.ID("job-1"), nextID(t, open(t, b, session)))
	for _, id := range []string{"bad-life", "no-format", "malformed-4"} {
		letter := deadLetter(t, nc, "wabek.dead.otp.default."+id)
		require.Contains(t, letter, `"reason":"malformed"`)
		require.NotContains(t, letter, "secret")
	}
	require.Eventually(t, func() bool { return waitingOTPs(t, nc) == 1 }, patient, 5*time.Millisecond, "the newer one stays")
	require.Equal(t, 3, book.count("malformed job"))
	require.Zero(t, book.count("secret"))
}

func TestJobs_RefusesNamesThatCannotStandInASubject(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{})
	_, err := b.Jobs(context.Background(), "*", session, nil)
	require.ErrorIs(t, err, job.ErrName)
	_, err = b.Jobs(context.Background(), pool, ">", nil)
	require.ErrorIs(t, err, job.ErrName)
}
