package status_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/status"
)

// hub follows jobs by what stands before a dash.
func hub(most int) *status.Hub {
	return status.NewHub(most, func(id job.ID) string {
		key, _, _ := strings.Cut(string(id), "-")
		return key
	})
}

func apply(t *testing.T, h *status.Hub, all ...job.Status) {
	t.Helper()
	require.NoError(t, h.Apply(t.Context(), all))
}

func TestHub_TellsWhoFollows(t *testing.T) {
	t.Parallel()
	h := hub(10)
	apply(t, h, job.Status{Job: "a", State: job.Sending})
	one, stopOne, err := h.Follow("a")
	require.NoError(t, err)
	two, stopTwo, err := h.Follow("a")
	require.NoError(t, err)
	other, stopOther, err := h.Follow("b")
	require.NoError(t, err)
	apply(t, h, job.Status{Job: "a", State: job.Sent}, job.Status{Job: "a-2", State: job.Delivered})
	h.Nudge("a")
	for _, news := range []<-chan status.News{one, two} {
		require.Equal(t, job.Sent, (<-news).Status.State)
		require.Equal(t, job.ID("a-2"), (<-news).Status.Job)
		require.Zero(t, <-news)
	}
	require.Empty(t, other)
	stopOne()
	stopOne()
	apply(t, h, job.Status{Job: "a", State: job.Read})
	require.Empty(t, one)
	require.Len(t, two, 1)
	stopTwo()
	stopOther()
}

func TestHub_HasABound(t *testing.T) {
	t.Parallel()
	h := hub(2)
	_, stop, err := h.Follow("a")
	require.NoError(t, err)
	_, _, err = h.Follow("b")
	require.NoError(t, err)
	_, _, err = h.Follow("c")
	require.ErrorIs(t, err, status.ErrFull)
	stop()
	_, _, err = h.Follow("c")
	require.NoError(t, err)
}

func TestHub_ASlowFollowerHasTheLatest(t *testing.T) {
	t.Parallel()
	h := hub(1)
	news, stop, err := h.Follow("a")
	require.NoError(t, err)
	defer stop()
	for i := range 100 {
		apply(t, h, job.Status{Job: "a", Try: i})
	}
	var last job.Status
	for len(news) > 0 {
		last = (<-news).Status
	}
	require.Equal(t, 99, last.Try)
}

func TestHub_FollowersComeAndGo(t *testing.T) {
	t.Parallel()
	h := hub(1000)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			for range 50 {
				_, stop, err := h.Follow("a")
				if err == nil {
					stop()
				}
			}
		})
		wait.Go(func() {
			for range 50 {
				h.Nudge("a")
			}
		})
	}
	wait.Wait()
	_, stop, err := h.Follow("a")
	require.NoError(t, err)
	stop()
}
