package queue_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/queue"
)

// Events and callbacks are the same kind of queue: what is here is that they don't meet, for the rest see callbacks_test.go.
func TestEvents_AreAQueueOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{AckWait: time.Hour})
	put := func(app, id string) (taken bool) {
		done := make(chan error, 1)
		b.PutEvent(within(t), app, id, []byte("event "+id), func(ok bool, err error) { taken = ok; done <- err })
		require.NoError(t, <-done)
		return taken
	}
	stored(t, b, app, "same-id", "callback")
	require.True(t, put(app, "same-id"))
	require.True(t, put("other", "same-id"))
	require.False(t, put(app, "same-id"), "it waits already")

	events, err := b.Events(app)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, events.Close()) })
	e, err := events.Next(within(t))
	require.NoError(t, err)
	require.Equal(t, "event same-id", string(e.Data()))
	require.NoError(t, e.Replace(within(t), []byte("tried")))
	e, err = events.Next(within(t))
	require.NoError(t, err)
	require.Equal(t, "tried", string(e.Data()))
	require.NoError(t, e.Ack())
	noCallback(t, events, 100*time.Millisecond)
	require.Equal(t, "callback", string(nextCallback(t, callbacks(t, b, app)).Data()))
}
