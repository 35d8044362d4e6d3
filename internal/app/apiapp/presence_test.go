package apiapp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/queue"
)

func TestPresence_Admit(t *testing.T) {
	t.Parallel()
	const grace = time.Minute
	up := queue.Heartbeat{Pool: "default", Session: "aaaaaaaa", Up: true}
	down := queue.Heartbeat{Pool: "default", Session: "aaaaaaaa"}
	for _, tc := range []struct {
		name string
		seen bool // a session was up before this start
		away bool // the queue can't be reached
		do   func(p *presence, wait func(time.Duration))
		want api.Code // empty: admitted
	}{
		{name: "no session was ever there", do: func(*presence, func(time.Duration)) {}, want: api.CodeNoSession},
		{name: "a session is up", do: func(p *presence, _ func(time.Duration)) { p.beat(up) }},
		{name: "a session that isn't connected yet", do: func(p *presence, _ func(time.Duration)) { p.beat(down) }, want: api.CodeNoSession},
		{name: "a session of another pool", do: func(p *presence, _ func(time.Duration)) {
			p.beat(queue.Heartbeat{Pool: "other", Session: "bbbbbbbb", Up: true})
		}, want: api.CodeNoSession},
		{name: "it went down less than the grace ago", do: func(p *presence, wait func(time.Duration)) {
			p.beat(up)
			wait(grace - time.Second)
			p.beat(down)
		}},
		{name: "it has been down for the grace", do: func(p *presence, wait func(time.Duration)) {
			p.beat(up)
			wait(grace)
			p.beat(down)
		}, want: api.CodeNoSession},
		{name: "the queue is away, a session was just up", away: true, do: func(p *presence, wait func(time.Duration)) {
			p.beat(up)
			wait(grace - time.Second)
		}},
		{name: "the queue has been away for the grace", away: true, do: func(p *presence, wait func(time.Duration)) {
			p.beat(up)
			wait(grace)
		}, want: api.CodeQueueUnavailable},
		{name: "a restart with the queue away, where a session was ever seen", seen: true, away: true, do: func(*presence, func(time.Duration)) {}},
		{name: "that restart's grace is over", seen: true, away: true, do: func(_ *presence, wait func(time.Duration)) { wait(grace) }, want: api.CodeQueueUnavailable},
		{name: "a first start with the queue away", away: true, do: func(*presence, func(time.Duration)) {}, want: api.CodeQueueUnavailable},
		{name: "it stops", do: func(p *presence, _ func(time.Duration)) {
			p.beat(up)
			p.stop()
		}, want: api.CodeShuttingDown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_800_000_000, 0)
			p := newPresence(grace, tc.seen, func() time.Time { return now }, func() bool { return !tc.away }, nil)
			tc.do(p, func(d time.Duration) { now = now.Add(d) })
			err := p.Admit("default")
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			var refused *api.Refusal
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tc.want, refused.Code)
			require.Positive(t, refused.RetryAfter)
		})
	}
}

func TestPresence_CountsWhoIsUpAndWhoShouldBe(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	told := 0
	p := newPresence(time.Minute, false, func() time.Time { return now }, func() bool { return true }, func() { told++ })
	count := func(up, total int) {
		t.Helper()
		u, n := p.count()
		require.Equal(t, []int{up, total}, []int{u, n})
	}
	count(0, 0)
	p.beat(queue.Heartbeat{Pool: "a", Session: "aaaaaaaa", Up: true})
	p.beat(queue.Heartbeat{Pool: "b", Session: "bbbbbbbb"})
	count(1, 2)
	now = now.Add(freshFor)
	count(0, 2)
	p.beat(queue.Heartbeat{Pool: "b", Session: "bbbbbbbb", Up: true})
	count(1, 2)
	now = now.Add(rememberFor)
	p.beat(queue.Heartbeat{Pool: "b", Session: "bbbbbbbb", Up: true})
	count(1, 1)
	require.Equal(t, 1, told, "the first session ever is told of once")
}
