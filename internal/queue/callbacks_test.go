package queue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

const app = "shop"

// putCallback stores a callback, and says whether the stream took it.
func putCallback(t *testing.T, b *queue.Broker, app, id, data string) (bool, error) {
	t.Helper()
	type answer struct {
		taken bool
		err   error
	}
	answers := make(chan answer, 1)
	b.PutCallback(within(t), app, id, []byte(data), func(taken bool, err error) { answers <- answer{taken, err} })
	select {
	case a := <-answers:
		return a.taken, a.err
	case <-time.After(patient):
		require.Fail(t, "never answered")
		return false, nil
	}
}

// stored stores a callback that isn't there yet.
func stored(t *testing.T, b *queue.Broker, app, id, data string) {
	t.Helper()
	taken, err := putCallback(t, b, app, id, data)
	require.NoError(t, err)
	require.True(t, taken)
}

// storedAtLast stores a callback as soon as the stream takes it.
func storedAtLast(t *testing.T, b *queue.Broker, app, id string) {
	t.Helper()
	require.Eventually(t, func() bool { taken, err := putCallback(t, b, app, id, ""); return taken && err == nil }, patient, 5*time.Millisecond)
}

func callbacks(t *testing.T, b *queue.Broker, app string) *queue.Tasks {
	t.Helper()
	c, err := b.Callbacks(app)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func nextCallback(t *testing.T, c *queue.Tasks) *queue.Task {
	t.Helper()
	d, err := c.Next(within(t))
	require.NoError(t, err)
	return d
}

// noCallback waits for one that mustn't come.
func noCallback(t *testing.T, c *queue.Tasks, wait time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	_, err := c.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func callbackState(t *testing.T, nc *nats.Conn) jetstream.StreamState {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_CALLBACK")
	require.NoError(t, err)
	return s.CachedInfo().State
}

func TestCallbacks_EachAppGetsItsOwnOnce(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Hour})
	ready(t, b)
	stored(t, b, app, "a-1", "one")
	taken, err := putCallback(t, b, app, "a-1", "another")
	require.NoError(t, err)
	require.False(t, taken, "it waits already, and isn't replaced")
	stored(t, b, app, "a-2", "two")
	stored(t, b, "other", "a-1", "of another app")
	c := callbacks(t, b, app)
	n, err := c.Waiting(within(t))
	require.NoError(t, err)
	require.Zero(t, n, "no consumer yet")
	d := nextCallback(t, c)
	require.Equal(t, "a-1 one", d.ID()+" "+string(d.Data()))
	n, err = c.Waiting(within(t))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, d.Ack())
	require.ErrorIs(t, d.Ack(), queue.ErrEnded)
	require.ErrorIs(t, d.Later(0), queue.ErrEnded)
	require.ErrorIs(t, d.Replace(within(t), nil), queue.ErrEnded)
	d = nextCallback(t, c)
	require.Equal(t, "a-2", d.ID())
	require.NoError(t, d.Drop("no use"))
	noCallback(t, c, 50*time.Millisecond)
	require.Eventually(t, func() bool { return callbackState(t, nc).Msgs == 1 }, patient, 5*time.Millisecond)
	require.Equal(t, "of another app", string(nextCallback(t, callbacks(t, b, "other")).Data()))
	stored(t, b, app, "a-1", "again") // once it is done, its id is free
	require.Equal(t, "again", string(nextCallback(t, c).Data()))
}

func TestCallbacks_OneThatIsPutOffTakesItsOwnPlace(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{AckWait: time.Hour})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_CALLBACK")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 2
	_, err = js.UpdateStream(within(t), cfg)
	require.NoError(t, err)

	stored(t, b, app, "a-1", "try 1")
	stored(t, b, app, "a-2", "try 1")
	_, err = putCallback(t, b, app, "a-3", "no room")
	require.ErrorIs(t, err, queue.ErrFull)
	require.NotErrorIs(t, err, queue.ErrUnavailable)

	c := callbacks(t, b, app)
	first := nextCallback(t, c)
	require.NoError(t, first.Replace(within(t), []byte("try 2")), "also where the stream is full")
	require.ErrorIs(t, first.Ack(), queue.ErrEnded)
	require.EqualValues(t, 2, callbackState(t, nc).Msgs)
	taken, err := putCallback(t, b, app, "a-1", "try 1")
	require.NoError(t, err)
	require.False(t, taken, "it still waits")
	require.Equal(t, "a-2", nextCallback(t, c).ID())
	again := nextCallback(t, c)
	require.Equal(t, "a-1 try 2", again.ID()+" "+string(again.Data()))
	n, err := c.Waiting(within(t))
	require.NoError(t, err)
	require.Equal(t, 2, n, "the one that was replaced is counted no more")
	require.NoError(t, again.Ack())
	noCallback(t, c, 50*time.Millisecond)
}

func TestCallbacks_WhoeverComesTooLateCanNeitherReplaceNorBringBack(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Hour})
	stored(t, b, app, "a-1", "try 1")
	c := callbacks(t, b, app)
	slow := nextCallback(t, c)
	_, err := b.PurgeDeadCallbacks(within(t), app, "") // nothing to do with it
	require.NoError(t, err)
	require.NoError(t, slow.Later(0))
	fast := nextCallback(t, c)
	require.NoError(t, fast.Replace(within(t), []byte("try 2")))
	require.ErrorIs(t, fast.Replace(within(t), []byte("try 3")), queue.ErrEnded)
	last := nextCallback(t, c)
	require.Equal(t, "try 2", string(last.Data()))
	require.NoError(t, last.Ack())
	noCallback(t, c, 50*time.Millisecond)
}

func TestCallbacks_AreKeptAliveWhileSomebodyIsAtThemAndComeAgainWhenNobodyIs(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Second})
	stored(t, b, app, "a-1", "")
	held, err := b.Callbacks(app)
	require.NoError(t, err)
	nextCallback(t, held)

	c := callbacks(t, b, app)
	noCallback(t, c, 2500*time.Millisecond)
	require.NoError(t, held.Close()) // and nobody says a word of it again
	require.NoError(t, nextCallback(t, c).Ack())
}

func TestCallbacks_CloseGivesBackWhatNobodyTook(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Hour})
	c, err := b.Callbacks(app)
	require.NoError(t, err)
	noCallback(t, c, 50*time.Millisecond) // leaves its pull open
	stored(t, b, app, "a-1", "")
	require.NoError(t, c.Close())
	require.NoError(t, nextCallback(t, callbacks(t, b, app)).Ack(), "an hour before the ack wait is over")
}

func TestCallbacks_LaterComesBackAfterThePause(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Hour})
	stored(t, b, app, "a-1", "")
	c := callbacks(t, b, app)
	before := time.Now()
	require.NoError(t, nextCallback(t, c).Later(200*time.Millisecond))
	stored(t, b, app, "a-2", "")
	require.Equal(t, "a-2", nextCallback(t, c).ID(), "a pause holds nothing up")
	require.Equal(t, "a-1", nextCallback(t, c).ID())
	require.GreaterOrEqual(t, time.Since(before), 200*time.Millisecond)
}

func TestCallbacks_NATSIsRestarted(t *testing.T) {
	t.Parallel()
	srv := startProcessless(t)
	b := run(t, dial(t, srv.addr), queue.Options{AckWait: time.Hour})
	ready(t, b)
	stored(t, b, app, "a-1", "")
	stored(t, b, app, "a-2", "")
	c := callbacks(t, b, app)
	held := nextCallback(t, c)
	require.NoError(t, nextCallback(t, c).Ack())
	require.Eventually(t, func() bool { n, err := c.Waiting(within(t)); return err == nil && n == 1 }, patient, 5*time.Millisecond)
	got := make(chan *queue.Task, 1)
	go func() {
		d, err := c.Next(within(t))
		if err != nil {
			t.Errorf("next: %v", err)
		}
		got <- d
	}()
	srv.stop()
	require.Eventually(t, func() bool { return !b.Connected() }, patient, time.Millisecond)
	require.ErrorIs(t, held.Ack(), queue.ErrUnavailable)
	require.ErrorIs(t, held.Replace(within(t), nil), queue.ErrUnavailable)
	_, err := putCallback(t, b, app, "a-3", "")
	require.ErrorIs(t, err, queue.ErrUnavailable)
	srv.start()
	d := <-got
	require.Equal(t, "a-1", d.ID(), "the consumer was in memory, so what it had given is given anew")
	require.NoError(t, d.Ack())
	storedAtLast(t, b, app, "a-4")
	require.Equal(t, "a-4", nextCallback(t, c).ID())
}

func TestCallbacks_ADeletedConsumerOrStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	c := callbacks(t, b, app)
	for _, remove := range []func() error{
		func() error { return js.DeleteConsumer(within(t), "WABEK_CALLBACK", "app-"+app) },
		func() error { return js.DeleteStream(within(t), "WABEK_CALLBACK") },
	} {
		storedAtLast(t, b, app, "a-1")
		require.NoError(t, nextCallback(t, c).Ack())
		got := make(chan error, 1)
		go func() {
			d, err := c.Next(within(t))
			if err == nil {
				err = d.Ack()
			}
			got <- err
		}()
		require.Eventually(t, func() bool {
			i, err := js.Consumer(within(t), "WABEK_CALLBACK", "app-"+app)
			return err == nil && i.CachedInfo().NumWaiting == 1
		}, patient, 5*time.Millisecond)
		require.NoError(t, remove())
		storedAtLast(t, b, app, "a-2")
		require.NoError(t, <-got)
	}
}

func TestCallbacks_EndWithTheConnection(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	log, _ := logger(t)
	b, err := queue.New(nc, queue.Options{Logger: log})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(t.Context()) }()
	ready(t, b)
	c := callbacks(t, b, app)
	nc.Close()
	require.ErrorIs(t, <-ended, queue.ErrClosed)
	_, err = c.Next(within(t))
	require.ErrorIs(t, err, queue.ErrClosed)
}

func TestDeadCallbacks_AreListedReadPurged(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	for n := range 5 {
		require.NoError(t, b.PutDeadCallback(within(t), app, fmt.Sprint("a-", n), []byte(fmt.Sprint("letter ", n))))
		require.NoError(t, b.Dead(within(t), job.LaneOTP, pool, job.ID(fmt.Sprint("job-", n)), "of another lane"))
		require.NoError(t, b.PutDeadCallback(within(t), "other", fmt.Sprint("a-", n), nil))
	}
	list := func(after uint64, limit int) (letters []string, last uint64) {
		require.NoError(t, b.DeadCallbacks(within(t), app, after, limit, func(place uint64, letter []byte) {
			letters, last = append(letters, string(letter)), place
		}))
		return letters, last
	}
	letters, last := list(0, 2)
	require.Equal(t, []string{"letter 0", "letter 1"}, letters)
	letters, last = list(last, 10)
	require.Equal(t, []string{"letter 2", "letter 3", "letter 4"}, letters)
	letters, _ = list(last, 10)
	require.Empty(t, letters)

	letter, place, err := b.DeadCallback(within(t), app, "a-3")
	require.NoError(t, err)
	require.Equal(t, "letter 3", string(letter))
	require.NoError(t, b.PutDeadCallback(within(t), app, "a-3", []byte("given up again")))
	require.NoError(t, b.DropDeadCallback(within(t), place))
	require.NoError(t, b.DropDeadCallback(within(t), place), "it is gone, and that is fine")
	require.NoError(t, b.DropDeadCallback(within(t), 1_000_000))
	letter, _, err = b.DeadCallback(within(t), app, "a-3")
	require.NoError(t, err)
	require.Equal(t, "given up again", string(letter), "no other was dropped")
	n, err := b.PurgeDeadCallbacks(within(t), app, "a-3")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	letter, _, err = b.DeadCallback(within(t), app, "a-3")
	require.NoError(t, err)
	require.Nil(t, letter)
	n, err = b.PurgeDeadCallbacks(within(t), app, "")
	require.NoError(t, err)
	require.Equal(t, 4, n)
	letters, _ = list(0, 10)
	require.Empty(t, letters)
	require.NoError(t, b.DeadCallbacks(within(t), "other", 0, 10, func(uint64, []byte) { letters = append(letters, "") }))
	require.Len(t, letters, 5)
	require.Contains(t, deadLetter(t, nc, "wabek.dead.otp.default.job-4"), "of another lane")
}

func TestForgetCallbacks_LeavesNothingOfAnApp(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	require.NoError(t, b.ForgetCallbacks(within(t), app), "there is nothing")
	stored(t, b, app, "a-1", "")
	stored(t, b, "other", "a-1", "")
	require.NoError(t, b.PutDeadCallback(within(t), app, "a-0", nil))
	c := callbacks(t, b, app)
	require.NoError(t, nextCallback(t, c).Later(0))
	require.NoError(t, b.ForgetCallbacks(within(t), app))
	require.EqualValues(t, 1, callbackState(t, nc).Msgs)
	letter, _, err := b.DeadCallback(within(t), app, "a-0")
	require.NoError(t, err)
	require.Nil(t, letter)
	stored(t, b, app, "a-2", "")
	require.Equal(t, "a-2", nextCallback(t, c).ID())
}

func TestCallbacks_RefuseNamesThatCannotStandInASubject(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{})
	for _, bad := range []string{"", "*", ">", "a.b", "A", strings.Repeat("a", 65)} {
		_, err := putCallback(t, b, app, bad, "")
		require.ErrorIs(t, err, job.ErrName)
		_, err = putCallback(t, b, bad, "a-1", "")
		require.ErrorIs(t, err, job.ErrName)
		require.ErrorIs(t, b.PutDeadCallback(within(t), bad, "a-1", nil), job.ErrName)
		require.ErrorIs(t, b.PutDeadCallback(within(t), app, bad, nil), job.ErrName)
		require.ErrorIs(t, b.ForgetCallbacks(within(t), bad), job.ErrName)
		require.ErrorIs(t, b.DeadCallbacks(within(t), bad, 0, 1, nil), job.ErrName)
		_, _, err = b.DeadCallback(within(t), app, bad)
		require.ErrorIs(t, err, job.ErrName)
		_, err = b.Callbacks(bad)
		require.ErrorIs(t, err, job.ErrName)
		_, err = b.PurgeDeadCallbacks(within(t), bad, "")
		require.ErrorIs(t, err, job.ErrName)
		if bad != "" { // all of the app's
			_, err = b.PurgeDeadCallbacks(within(t), app, bad)
			require.ErrorIs(t, err, job.ErrName)
		}
	}
}
