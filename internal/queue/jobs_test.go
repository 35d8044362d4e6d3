package queue_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/queue"
)

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
	require.WithinDuration(t, e.Expires, d.Job().Expires, 2e9)
	require.Equal(t, 1, d.Deliveries())
	require.NoError(t, d.InProgress())
	require.NoError(t, d.Ack())
	require.ErrorIs(t, d.Ack(), queue.ErrEnded)
}
