package callback_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/callback"
	"wabek/internal/job"
	"wabek/internal/queue"
	"wabek/internal/status"
)

func TestApps_ComeAndGo(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	r, next := receive(t, nil), receive(t, nil)
	b.enqueue(app, 1)
	require.Zero(t, b.stored(), "an app without an endpoint has no callbacks")
	b.to.set(app, r.URL)
	b.enqueue(app, 2)
	r.waitFor(t, 1)

	r.set(answer(http.StatusBadGateway))
	b.enqueue(app, 3)
	require.Eventually(t, func() bool { return r.count() > 2 }, patient, tick)
	b.to.change(func(list map[string]callback.Endpoint) { delete(list, app) })
	require.Eventually(t, func() bool { return len(b.States()) == 0 }, patient, tick)
	require.Equal(t, 1, b.stored(), "what waited stays")
	b.to.set(app, next.URL)
	next.waitFor(t, 1)
	b.empty()
}

func TestApps_ANewURLIsntLeftAloneForTheOldOnesFailures(t *testing.T) {
	t.Parallel()
	b, _ := patientClock(t) // the clock stands still, so the pause of the old one never ends
	r, next := receive(t, answer(http.StatusBadGateway)), receive(t, nil)
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(30)...)
	require.Eventually(t, func() bool { return !b.state().Paused.IsZero() }, patient, tick)
	b.to.set(app, next.URL)
	require.Eventually(t, func() bool { return next.distinct() >= 10 }, patient, tick, "all that weren't tried at the old one")
}

func TestApps_ANewURLIsntLeftAloneForWhatTheOldOneAsksFor(t *testing.T) {
	t.Parallel()
	for name, downFirst := range map[string]bool{"open": false, "paused": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, clock := patientClock(t)
			release := make(chan struct{})
			old := receive(t, func(w http.ResponseWriter, _ got) bool {
				<-release
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusServiceUnavailable)
				return false
			})
			next := receive(t, nil)
			b.to.set(app, old.URL)
			b.enqueue(app, 1)
			require.Eventually(t, func() bool { return old.count() == 1 }, patient, tick)
			if downFirst {
				next.set(answer(http.StatusBadGateway))
			}
			b.to.set(app, next.URL)
			if downFirst {
				b.enqueue(app, 2, 3, 4)
				require.Eventually(t, func() bool { return !b.state().Paused.IsZero() }, patient, tick)
				next.set(nil)
			}
			close(release)
			require.Eventually(t, func() bool { _, tries := b.due(eventID(1)); return tries == 1 }, patient, tick)
			clock.add(2 * time.Second) // beyond what the new one's failures cost
			b.enqueue(app, 5)
			require.Eventually(t, func() bool { return next.took(eventID(5)) }, patient, tick)
		})
	}
}

func TestApps_ForgetLeavesNothing(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	r := receive(t, answer(http.StatusBadGateway))
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(10)...)
	require.Eventually(t, func() bool { return r.count() > 2 }, patient, tick)
	b.to.change(func(list map[string]callback.Endpoint) { delete(list, app) })
	require.Eventually(t, func() bool { return len(b.States()) == 0 }, patient, tick)
	b.stop()
	require.NoError(t, b.Forget(within(t), app))
	require.Zero(t, b.stored())
}

func TestEnqueue_TheSameStateWaitsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r := receive(t, nil)
	b.to.set(app, r.URL)
	e, later := event(app, 1), event(app, 1)
	later.OTP.Seq++
	require.NoError(t, b.Enqueue(within(t), e, e))
	require.NoError(t, b.Enqueue(within(t), e))
	require.NoError(t, b.Enqueue(within(t), later, event(app, 2)))
	require.Equal(t, 3, b.stored())
	b.run()
	r.waitFor(t, 3)
	b.empty()
	require.Equal(t, 3, r.count())
	require.NoError(t, b.Enqueue(within(t), e))
	require.Eventually(t, func() bool { return r.count() == 4 }, patient, tick, "posted already, it is posted again")
	require.Equal(t, 3, r.distinct(), "with the same id")
}

func TestEnqueue_TellsOfAQueueThatIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.to.set(app, "https://example.com")
	b.nc.Close()
	require.ErrorIs(t, b.Enqueue(within(t), event(app, 1)), queue.ErrUnavailable)
}

// A crash, or a failure, between the record's update and the storing of its callback: the status comes again.
func TestStory_AStatusIsDoneOnlyWhenItsCallbackIsStored(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	r := receive(t, nil)
	b.to.set(app, r.URL)
	var applied, failing int
	record := status.SinkFunc(func(context.Context, []job.Status) error { applied++; return nil })
	sink := b.Sink(func(_ context.Context, id job.ID) (callback.Event, bool, error) {
		if failing++; failing == 1 {
			return callback.Event{}, false, errors.New("the process is killed here")
		}
		e := event(app, 1)
		switch id {
		case "of-nobody":
			return callback.Event{}, false, nil
		case "broken":
			e.OTP.Seq = 0
		}
		return e, true, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.queue.Statuses(ctx, "test", status.Fan(record, status.SinkFunc(sink)).Apply) }()
	for _, id := range []job.ID{"of-nobody", "broken", "job-1"} {
		_, err := b.queue.Put(within(t), job.Status{Job: id, Pool: "default", State: job.Sent}, 0)
		require.NoError(t, err)
	}
	r.waitFor(t, 1)
	cancel()
	require.NoError(t, <-ended)
	require.Greater(t, applied, 1)
}
