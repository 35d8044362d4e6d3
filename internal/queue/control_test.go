package queue_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

func TestHeartbeats_ReachWhoListensUntilItStops(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	got := make(chan queue.Heartbeat, 4)
	stop, err := b.Heartbeats(func(h queue.Heartbeat) { got <- h })
	require.NoError(t, err)
	require.NoError(t, nc.Publish("wabek.heartbeat.default.aaaaaaaa", []byte("{")), "passed over")
	h := queue.Heartbeat{
		Pool: pool, Session: session, Sender: "s1", Up: true, Reason: "x", OffsetMS: -3,
		At: time.UnixMilli(1_700_000_000_000).UTC(), Redelivered: 7, ClaimsLost: 8, Sent: 9, Notices: 2,
	}
	require.NoError(t, b.Beat(within(t), h))
	require.Equal(t, h, <-got)
	stop()
	require.NoError(t, b.Beat(within(t), h))
	require.NoError(t, nc.Flush())
	require.Empty(t, got)
	require.ErrorIs(t, b.Beat(within(t), queue.Heartbeat{Pool: pool, Session: "*"}), job.ErrName)
}

func TestFence_IsHigherEachTime(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	one, two := run(t, connect(t, srv), queue.Options{}), run(t, connect(t, srv), queue.Options{})
	ready(t, one)
	ready(t, two)
	var last uint64
	for range 3 {
		for _, b := range []*queue.Broker{one, two} {
			f, err := b.Fence(within(t), session, "sender")
			require.NoError(t, err)
			require.Greater(t, f, last)
			last = f
		}
	}
}

func TestClockOffset_IsHowFarTheServerIsAheadAndCountsForTheLifeLeft(t *testing.T) {
	t.Parallel()
	behind := func() time.Time { return time.Now().Add(-time.Hour) }
	b := setup(t, queue.Options{Now: behind})
	offset, err := b.ClockOffset(within(t))
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Seconds(), offset.Seconds(), 5)

	require.NoError(t, publishFor(t, b, otp("job-1"), 10*time.Minute))
	d := next(t, open(t, b, session))
	require.InDelta(t, (10 * time.Minute).Seconds(), d.Left().Seconds(), 10)
	require.WithinDuration(t, behind().Add(10*time.Minute), d.Job().Expires, 10*time.Second, "by this machine's clock")
}

func TestDead_KeepsReasonAndIDs(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	require.NoError(t, b.Dead(within(t), job.LaneNotice, pool, "job-1", "refused"))
	require.ErrorIs(t, b.Dead(within(t), job.LaneNotice, pool, "job 1", "refused"), job.ErrName)
	letter := deadLetter(t, nc, "wabek.dead.notice.default.job-1")
	require.Contains(t, letter, `"reason":"refused"`)
	require.Contains(t, letter, `"job":"job-1"`)
	require.Contains(t, letter, `"v":1`)
}

func TestStreams_AreAsTheDesignSays(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, name := range []string{"WABEK_OTP", "WABEK_NOTICE"} {
		s, err := js.Stream(within(t), name)
		require.NoError(t, err)
		c := s.CachedInfo().Config
		require.Equal(t, jetstream.WorkQueuePolicy, c.Retention)
		require.Equal(t, jetstream.DiscardNew, c.Discard)
		require.True(t, c.DiscardNewPerSubject)
		require.EqualValues(t, 1, c.MaxMsgsPerSubject)
		require.True(t, c.AllowMsgTTL)
		require.Positive(t, c.MaxMsgs)
		require.Equal(t, jetstream.NoCompression, c.Compression)
	}
	s, err := js.Stream(within(t), "WABEK_STATUS")
	require.NoError(t, err)
	c := s.CachedInfo().Config
	require.False(t, c.AllowDirect)
	require.EqualValues(t, 8, c.MaxMsgsPerSubject)
	require.True(t, c.AllowMsgTTL)
	_, err = js.KeyValue(within(t), "WABEK_LEASE")
	require.NoError(t, err)
}
