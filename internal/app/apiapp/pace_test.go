package apiapp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/queue"
)

// world lets a queue be filled and emptied by the second.
type world struct {
	t       *testing.T
	pace    *pace
	now     time.Time
	waiting int64
}

func newWorld(t *testing.T, most time.Duration) *world {
	t.Helper()
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	w.pace = newPace(most, func() time.Time { return w.now })
	return w
}

// run lets so many ask and so many be taken in each second, and returns how many were let in, in the last of them.
func (w *world) run(seconds, ask, take int) (admitted int) {
	w.t.Helper()
	for range seconds {
		admitted = 0
		for range ask {
			if w.pace.admit(w.waiting, true) == nil {
				w.waiting++
				admitted++
			}
		}
		taken := min(int64(take), w.waiting)
		w.waiting -= taken
		w.pace.took(int(taken))
		w.now = w.now.Add(time.Second)
	}
	return admitted
}

func TestPace_FourTimesTooMuch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30*time.Second)
	for range 60 {
		w.run(5, 400, 100)
		require.LessOrEqual(t, w.waiting, int64(100*30+400), "what was let in waits for thirty seconds, and a second's worth more")
	}
	require.InDelta(t, 100, w.run(1, 400, 100), 5, "as many are let in as are taken")
	require.Equal(t, 90, w.run(40, 90, 100), "below that everybody is")
}

func TestPace_LetsIn(t *testing.T) {
	t.Parallel()
	t.Run("a burst after silence", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 30*time.Second)
		require.Equal(t, 2000, w.run(1, 2000, 100))
		require.Equal(t, 10, w.run(6, 10, 100), "there is no pace yet")
	})
	t.Run("a few behind which nothing moves", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 30*time.Second)
		w.waiting = paceBacklog - 1
		for range 100 {
			require.NoError(t, w.pace.admit(w.waiting, true))
			w.now = w.now.Add(time.Second)
		}
	})
	t.Run("everybody, without a bound", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 0)
		require.Equal(t, 400, w.run(100, 400, 1))
	})
	t.Run("what waits for a queue that was away, until the pace is known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 30*time.Second)
		for range 60 {
			require.NoError(t, w.pace.admit(w.waiting, false))
			w.waiting += 100
			w.now = w.now.Add(time.Second)
		}
		require.Equal(t, 10, w.run(1, 10, 100))
		require.Zero(t, w.run(3, 10, 100), "6,000 at a hundred a second are too many")
		w.run(40, 10, 100)
		require.Equal(t, 10, w.run(1, 10, 100))
	})
}

func TestPace_SaysWhen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30*time.Second)
	w.waiting = 5000
	w.run(9, 0, 100)
	w.run(1, 1, 100) // a backlog is seen when somebody asks
	w.run(9, 1, 100)
	err := w.pace.admit(w.waiting, true)
	var refusal *api.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, api.CodeOverloaded, refusal.Code)
	require.InDelta(t, float64(w.waiting)/100-30, refusal.RetryAfter.Seconds(), 3)
	w.run(20, 1, 0)
	require.ErrorAs(t, w.pace.admit(w.waiting, true), &refusal)
	require.Equal(t, longestRefusal, refusal.RetryAfter, "nothing is taken at all")
}

// A pool whose sessions are away must neither hide the backlog of another nor have its requests refused for it.
func TestAdmission_EachPoolHasItsPace(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	presence := newPresence(time.Hour, true, func() time.Time { return now }, func() bool { return true }, nil)
	waiting := map[string]int64{"busy": 10_000}
	a := &admission{presence, newPaces(30*time.Second, func() time.Time { return now }), func(pool string) int64 { return waiting[pool] }}
	for range 20 { // seconds
		presence.beat(queue.Heartbeat{Pool: "busy", Session: "aaaaaaaa", Up: true})
		_ = a.Admit("busy")
		require.NoError(t, a.Admit("away"))
		a.paces.of("busy").took(100)
		now = now.Add(time.Second)
	}
	require.NoError(t, a.Admit("away"))
	var refusal *api.Refusal
	require.ErrorAs(t, a.Admit("busy"), &refusal)
	require.Equal(t, api.CodeOverloaded, refusal.Code)
}
