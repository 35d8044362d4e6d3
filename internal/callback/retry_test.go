package callback_test

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/callback"
)

// patientClock makes a service whose pauses are those of production, by a clock of the test's.
func patientClock(t *testing.T) (*bundle, *clock) {
	t.Helper()
	clock := newClock()
	return running(t, func(c *callback.Config) {
		c.Now, c.Schedule, c.PauseFirst, c.PauseLast = clock.Now, nil, 0, 0
	}), clock
}

func TestRetry_ForADayWithLongerAndLongerPauses(t *testing.T) {
	t.Parallel()
	b, clock := patientClock(t)
	r := receive(t, answer(http.StatusInternalServerError))
	b.to.set(app, r.URL)
	began := clock.Now()
	b.enqueue(app, 1)
	schedule := []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 3 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	for tries := 1; ; tries++ {
		var due time.Time
		require.Eventually(t, func() bool {
			var stored int
			due, stored = b.due(eventID(1))
			return stored == tries || len(b.dead()) > 0
		}, patient, tick)
		require.Equal(t, tries, r.count())
		if len(b.dead()) > 0 {
			break
		}
		want := schedule[min(tries-1, len(schedule)-1)]
		require.InDelta(t, want.Seconds(), due.Sub(clock.Now()).Seconds(), 0.25*want.Seconds()+0.01, "pause %d", tries)
		clock.add(due.Sub(clock.Now()))
	}
	require.Less(t, clock.Now().Sub(began), 24*time.Hour)
	require.Greater(t, clock.Now().Sub(began), 22*time.Hour)
	letter := b.dead()[0]
	require.Equal(t, callback.ReasonTooOld, letter.Reason)
	require.Equal(t, "status 500", letter.Last)
	require.Equal(t, r.count(), letter.Tries)
	require.Equal(t, eventID(1), letter.ID)
	require.WithinDuration(t, began, letter.First, time.Second)
	b.empty()
}

func TestRetry_WhatTheReceiverAsksForByRetryAfter(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			b, clock := patientClock(t)
			r := receive(t, func(w http.ResponseWriter, _ got) bool {
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(code)
				return false
			})
			b.to.set(app, r.URL)
			b.enqueue(app, 1)
			require.Eventually(t, func() bool { return b.state().Failed == 1 }, patient, tick)
			require.WithinDuration(t, clock.Now().Add(10*time.Minute), b.state().Paused, time.Second)
			b.enqueue(app, 2, 3)
			clock.add(9 * time.Minute)
			require.Never(t, func() bool { return r.count() > 1 }, 100*time.Millisecond, tick, "not even others of the app")
			r.set(nil)
			clock.add(time.Minute + time.Second)
			r.waitFor(t, 3)
			require.Zero(t, b.state().Paused)
			b.empty()
		})
	}
}

// A balancer before a receiver that is down says "in a second" for as long as that lasts.
func TestRetry_AReceiverThatAlwaysSaysSoonIsLeftAloneForLongerAndLonger(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := running(t, func(c *callback.Config) {
		c.Now, c.InFlight, c.Schedule, c.PauseFirst, c.PauseLast = clock.Now, 1, nil, 0, 0
	})
	r := receive(t, func(w http.ResponseWriter, _ got) bool {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	})
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(30)...)
	var pause time.Duration
	for range 10 {
		require.Eventually(t, func() bool { pause = b.state().Paused.Sub(clock.Now()); return pause > 0 }, patient, tick)
		clock.add(pause)
	}
	require.Greater(t, pause, 40*time.Second)
}

func TestRetry_AnswersThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	for _, code := range []int{300, 301, 304, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 501, 502, 503, 504} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			b := running(t, nil)
			r := receive(t, answer(code))
			b.to.set(app, r.URL)
			b.enqueue(app, 1)
			require.Eventually(t, func() bool { return r.count() > 1 }, patient, tick)
			require.Equal(t, 1, b.stored())
			r.set(nil)
			b.empty()
		})
	}
	for _, code := range []int{200, 201, 202, 204, 299} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			b := running(t, nil)
			r := receive(t, answer(code))
			b.to.set(app, r.URL)
			b.enqueue(app, 1)
			require.Eventually(t, func() bool { return r.count() == 1 }, patient, tick)
			b.empty()
			require.Equal(t, 1, r.count())
		})
	}
}

func TestRetry_410StopsUntilTheURLIsSetAnew(t *testing.T) {
	t.Parallel()
	var told atomic.Pointer[string]
	b := running(t, func(c *callback.Config) {
		c.Gone = func(app, url string) { told.Store(new(app + " " + url)) }
	})
	r := receive(t, answer(http.StatusGone))
	next := receive(t, nil)
	b.to.set(app, r.URL)
	b.enqueue(app, 1)
	require.Eventually(t, func() bool { return told.Load() != nil }, patient, tick)
	require.Equal(t, app+" "+r.URL, *told.Load())
	require.True(t, b.state().Gone)
	asked := r.count()
	b.enqueue(app, 2)
	require.Equal(t, 1, b.stored(), "what comes now is wanted by nobody")
	b.to.set(app, r.URL) // another secret, the same place
	b.to.set(app, next.URL)
	b.enqueue(app, 3)
	next.waitFor(t, 2) // 1 and 3
	require.Equal(t, asked, r.count())
	require.False(t, b.state().Gone)
	b.empty()
}

func TestRetry_OneBadCallbackHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b, _ := patientClock(t)
	r := receive(t, func(w http.ResponseWriter, g got) bool {
		if g.ID == eventID(0) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return false
		}
		return true
	})
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(100)...)
	r.waitFor(t, 99)
	require.Eventually(t, func() bool { return b.stored() == 1 }, patient, tick)
	require.Empty(t, b.dead())
}

func TestRetry_WhatIsTooOldIsTriedOnceIfItNeverWas(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := setup(t, func(c *callback.Config) { c.Now = clock.Now })
	r := receive(t, nil)
	b.to.set(app, r.URL)
	b.enqueue(app, 1)
	clock.add(48 * time.Hour) // nothing ran
	b.run()
	r.waitFor(t, 1)
	b.empty()
}

func TestRetry_WhatGetsTooOldBehindAReceiverThatIsDownIsGivenUpWithoutATry(t *testing.T) {
	t.Parallel()
	b, clock := patientClock(t)
	r := receive(t, answer(http.StatusBadGateway))
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(50)...)
	require.Eventually(t, func() bool { return r.count() >= 3 && !b.state().Paused.IsZero() }, patient, tick)
	clock.add(25 * time.Hour)
	require.Eventually(t, func() bool { return len(b.dead()) == 50 }, patient, tick)
	b.enqueue(app, 50)
	require.Less(t, r.count(), 30)
	r.set(nil)
	require.Eventually(t, func() bool { clock.add(time.Minute); return r.distinct() == 1 }, patient, 10*tick)
	b.empty()
}
