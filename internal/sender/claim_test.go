package sender_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/sender"
)

// The table behind docs/adr/0004: what a sender of session aaaaaaaa under fence 5 does with a job of which
// it knows nothing, by what the status stream says of it.
func TestSender_WhatTheLastStatusSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		known *job.Status
		want  end
		sends int
		then  job.State
	}{
		"nothing: it is sent": {want: end{how: "ack"}, sends: 1, then: job.Sent},
		"claimed by our session under an earlier lease: it is sent again": {
			known: &job.Status{State: job.Sending, Session: ours, Fence: 4, Try: 1, Nonce: "n"},
			want:  end{how: "ack"}, sends: 1, then: job.Sent,
		},
		"claimed by our session under our lease, by a try that is over: it is sent again": {
			known: &job.Status{State: job.Sending, Session: ours, Fence: 5, Try: 1, Nonce: "n"},
			want:  end{how: "ack"}, sends: 1, then: job.Sent,
		},
		"claimed by our session under a later lease: we have lost ours": {
			known: &job.Status{State: job.Sending, Session: ours, Fence: 6, Try: 1, Nonce: "n"},
			want:  end{how: "retry", after: 500 * time.Millisecond}, then: job.Sending,
		},
		"claimed by another session: only that one may send it": {
			known: &job.Status{State: job.Sending, Session: other, Fence: 1, Try: 1, Nonce: "n"},
			want:  end{how: "forward", where: other}, then: job.Sending,
		},
		"given back by another session: it is sent": {
			known: &job.Status{State: job.Sending, Session: other, Fence: 9, Try: 1, Nonce: "n", Released: true},
			want:  end{how: "ack"}, sends: 1, then: job.Sent,
		},
		"a state of a newer version: it is sent": {
			known: &job.Status{State: "pondered", Session: other}, want: end{how: "ack"}, sends: 1, then: job.Sent,
		},
		"failed: nothing is left to do":    {known: &job.Status{State: job.Failed}, want: end{how: "ack"}, then: job.Failed},
		"expired: nothing is left to do":   {known: &job.Status{State: job.Expired}, want: end{how: "ack"}, then: job.Expired},
		"cancelled: nothing is left to do": {known: &job.Status{State: job.Cancelled}, want: end{how: "ack"}, then: job.Cancelled},
		"moved: nothing is left to do":     {known: &job.Status{State: job.Moved}, want: end{how: "ack"}, then: job.Moved},
		"sent: nothing is left to do":      {known: &job.Status{State: job.Sent, Session: other}, want: end{how: "ack"}, then: job.Sent},
		"delivered: nothing is left to do": {known: &job.Status{State: job.Delivered}, want: end{how: "ack"}, then: job.Delivered},
		"read: nothing is left to do":      {known: &job.Status{State: job.Read}, want: end{how: "ack"}, then: job.Read},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			if c.known != nil {
				c.known.Job = "j"
				k.know(*c.known)
			}
			k.give("j")
			session := &script{id: ours, fence: 5}
			n := k.run(session)
			got := n.ended()
			if c.want.how == "retry" { // with jitter
				require.InDelta(t, c.want.after, got.after, float64(c.want.after)/4)
				got.after = c.want.after
			}
			c.want.job = "j"
			require.Equal(t, c.want, got)
			require.Len(t, session.sent(), c.sends)
			require.Equal(t, c.then, k.last("j").State)
			if c.want.how == "ack" {
				k.isDone()
			}
			lost := uint64(0)
			if c.known != nil {
				lost = 1
			}
			require.Equal(t, lost, n.Stats().ClaimsLost)
		})
	}
}

func TestSender_AStatusInANewerFormatIsLeftAlone(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	js, err := jetstream.New(k.line.nc)
	require.NoError(t, err)
	_, err = js.Publish(k.within(), "wabek.status.default.j", []byte(`{"v":99,"job":"j","state":"sending"}`))
	require.NoError(t, err)
	k.give("j")
	session := &script{id: ours, fence: 5}
	n := k.run(session)
	require.Eventually(t, func() bool { return n.Stats().Redelivered > 0 }, patient, 5*time.Millisecond)
	require.Empty(t, session.sent())
	require.Equal(t, 1, k.stored("WABEK_OTP"))
}

func TestSender_AForwardedJobIsSentByTheSessionThatClaimedIt(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.know(job.Status{Job: "j", State: job.Sending, Session: other, Fence: 1, Try: 1, Nonce: "n"})
	k.give("j")
	wrong, right := &script{id: ours, fence: 5}, &script{id: other, fence: 2}
	n := k.run(wrong)
	require.Equal(t, end{job: "j", how: "forward", where: other}, n.ended())
	k.run(right)
	k.becomes("j", job.Sent)
	k.isDone()
	require.Empty(t, wrong.sent())
	require.Equal(t, []string{"WA-J"}, right.sent())
	require.Equal(t, 2, k.lastTry())
}

// lastTry is the number of the last claim of the one job there is.
func (k *kit) lastTry() int {
	t := k.t
	t.Helper()
	js, err := jetstream.New(k.line.nc)
	require.NoError(t, err)
	stream, err := js.Stream(k.within(), "WABEK_STATUS")
	require.NoError(t, err)
	try := 0
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(k.within(), seq)
		require.NoError(t, err)
		s, err := job.DecodeStatus(m.Data)
		require.NoError(t, err)
		try = max(try, s.Try)
	}
	return try
}

// forgetful is a log whose answer to the first claim is lost after it was stored, or before.
type forgetful struct {
	job.Log
	stored bool
	lost   atomic.Bool
}

func (f *forgetful) Put(ctx context.Context, s job.Status, expected uint64) (uint64, error) {
	if s.State == job.Sending && f.lost.CompareAndSwap(false, true) {
		if f.stored {
			if _, err := f.Log.Put(ctx, s, expected); err != nil {
				return 0, err
			}
		}
		return 0, errors.New("answer lost")
	}
	return f.Log.Put(ctx, s, expected)
}

func TestSender_AClaimWhoseAnswerIsLostIsKnownByItsNonce(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]bool{"it was stored": true, "it wasn't": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.give("j")
			session := &script{id: ours, fence: 5}
			n := k.run(session, func(n *node, c *sender.Config) { c.Log = &forgetful{Log: n.line, stored: stored} })
			require.Equal(t, end{job: "j", how: "ack"}, n.ended())
			require.Equal(t, []string{"WA-J"}, session.sent())
			require.Zero(t, n.Stats().ClaimsLost, "it was never anybody else's")
			require.Equal(t, 1, k.lastTry())
		})
	}
}
