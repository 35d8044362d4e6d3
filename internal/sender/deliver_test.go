package sender_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/sender"
)

// held is a send that waits until it is let go, or its context ends.
type held struct {
	begun chan string // WhatsApp ids
	letGo chan error
}

func newHeld() *held { return &held{begun: make(chan string, 100), letGo: make(chan error, 100)} }

func (h *held) send(ctx context.Context, _ int, m sender.Message) error {
	h.begun <- m.Body.MessageID
	select {
	case err := <-h.letGo:
		return err
	case <-ctx.Done():
		return failure(job.UnknownOutcome, job.ReasonUnconfirmed)
	}
}

// Planted bug: acknowledged before it is sent.
func TestSender_AJobWhoseSenderDiesWhileItSendsIsSentByTheNext(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	h := newHeld()
	first := k.run(&script{id: ours, fence: 5, send: h.send})
	require.Equal(t, "WA-J", <-h.begun)
	require.Equal(t, job.Sending, k.last("j").State)
	first.crash()

	next := &script{id: ours, fence: 6}
	n := k.run(next)
	s := k.becomes("j", job.Sent)
	require.EqualValues(t, 6, s.Fence)
	require.Equal(t, []string{"WA-J"}, next.sent(), "under the same WhatsApp id")
	require.Equal(t, 2, k.lastTry())
	require.EqualValues(t, 1, n.Stats().Redelivered)
	k.isDone()
}

func TestSender_AnotherSessionDoesNotSendWhatADeadOneMayHaveSent(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	h := newHeld()
	first := k.run(&script{id: other, fence: 5, send: h.send})
	<-h.begun
	first.crash()

	stranger := &script{id: ours, fence: 9}
	n := k.run(stranger)
	require.Equal(t, end{job: "j", how: "forward", where: other}, n.ended())
	require.Empty(t, stranger.sent())
	back := &script{id: other, fence: 6}
	k.run(back)
	k.becomes("j", job.Sent)
	require.Equal(t, []string{"WA-J"}, back.sent())
}

func TestSender_SentAndStoredButNotAcknowledged(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	session := &script{id: ours, fence: 5}
	n := k.run(session, func(n *node, _ *sender.Config) { n.deaf.Store(true) })
	require.Equal(t, end{job: "j", how: "ack"}, n.ended(), "its second delivery")
	require.Equal(t, []string{"WA-J"}, session.sent())
	require.EqualValues(t, 1, n.Stats().Redelivered)
	k.isDone()
}

func TestSender_NATSGoesAwayWhileAMessageIsSent(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	h := newHeld()
	session := &script{id: ours, fence: 5, send: h.send}
	n := k.run(session)
	<-h.begun
	k.nats.Shutdown()
	h.letGo <- nil
	require.Eventually(t, func() bool { return n.Stats().Sent == 1 }, patient, time.Millisecond)
	k.startNATS()
	require.Eventually(t, k.line.Connected, patient, 5*time.Millisecond)
	k.becomes("j", job.Sent)
	k.isDone()
	require.Equal(t, []string{"WA-J"}, session.sent())
}

func TestSender_WhatNoTryCanHelp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		bend   func(*job.Envelope)
		reason job.Reason
		sends  int
	}{
		"a number without WhatsApp": {err: failure(job.RecipientFault, job.ReasonNotOnWhatsApp), reason: job.ReasonNotOnWhatsApp, sends: 1},
		"a message that is refused": {err: failure(job.Poison, job.ReasonRefused), reason: job.ReasonRefused, sends: 1},
		"a body that was altered":   {bend: func(e *job.Envelope) { e.Sealed[len(e.Sealed)-1] ^= 1 }, reason: job.ReasonUnreadable},
		"a body of another job":     {bend: func(e *job.Envelope) { e.ID = "k" }, reason: job.ReasonUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			e := k.envelope("j")
			if c.bend != nil {
				c.bend(&e)
			}
			k.publish(e, 10*time.Minute)
			session := &script{id: ours, fence: 5, send: func(context.Context, int, sender.Message) error { return c.err }}
			n := k.run(session)
			require.Equal(t, end{job: e.ID, how: "drop"}, n.ended())
			s := k.last(e.ID)
			require.Equal(t, job.Failed, s.State)
			require.Equal(t, c.reason, s.Reason)
			require.Len(t, session.sent(), c.sends)
			require.EqualValues(t, 1, n.Stats().Failed)
			k.isDone()
			js, err := jetstream.New(k.line.nc)
			require.NoError(t, err)
			dead, err := js.Stream(t.Context(), "WABEK_DEAD")
			require.NoError(t, err)
			letter, err := dead.GetLastMsgForSubject(t.Context(), "wabek.dead.otp.default."+string(e.ID))
			require.NoError(t, err)
			require.Contains(t, string(letter.Data), c.reason)
			require.NotContains(t, string(letter.Data), string(e.Sealed))
		})
	}
}

// What this sender can't open another may: one with the key, or a newer one.
func TestSender_WhatAnotherSenderMayOpenIsLeftToIt(t *testing.T) {
	t.Parallel()
	for name, bend := range map[string]func(*job.Envelope, *sender.Config){
		"a body in a newer format": func(e *job.Envelope, _ *sender.Config) { e.Sealed[0] = 99 },
		"a key that isn't held": func(_ *job.Envelope, c *sender.Config) {
			none, err := keys.NewSecret("another secret, of more than 32 characters")
			if err == nil {
				c.Opener = keys.DeriveSealKeys(none, keys.Secret{})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			e := k.envelope("j")
			session := &script{id: ours, fence: 5}
			bend(&e, &sender.Config{})
			k.publish(e, 10*time.Minute)
			n := k.run(session, func(_ *node, c *sender.Config) { bend(&job.Envelope{Sealed: []byte{0}}, c) })
			got := n.ended()
			require.Equal(t, end{job: "j", how: "retry", after: 15 * time.Second}, got)
			require.Empty(t, session.sent())
			require.Equal(t, job.Status{}, k.last("j"))
			require.Equal(t, 1, k.stored("WABEK_OTP"))
			require.Zero(t, k.stored("WABEK_DEAD"))
		})
	}
}

func TestSender_NeverSendsWhatHasExpired(t *testing.T) {
	t.Parallel()
	t.Run("in the queue", func(t *testing.T) {
		t.Parallel()
		k := newKit(t)
		k.publish(k.envelope("j"), time.Millisecond)
		session := &script{id: ours, fence: 5}
		n := k.run(session)
		require.Equal(t, end{job: "j", how: "drop"}, n.ended())
		require.Equal(t, job.Expired, k.last("j").State)
		require.Empty(t, session.sent())
	})
	t.Run("while another message is sent", func(t *testing.T) {
		t.Parallel()
		k := newKit(t)
		h := newHeld()
		session := &script{id: ours, fence: 5, send: h.send}
		n := k.run(session)
		k.give("first")
		<-h.begun
		k.publish(k.envelope("second"), 300*time.Millisecond)
		second := k.becomes("second", job.Sending)
		require.Eventually(t, func() bool { return time.Since(second.At) > 400*time.Millisecond }, patient, 5*time.Millisecond)
		h.letGo <- nil
		require.ElementsMatch(t, []end{{job: "first", how: "ack"}, {job: "second", how: "drop"}}, []end{n.ended(), n.ended()})
		require.Equal(t, job.Expired, k.last("second").State)
		require.Equal(t, []string{"WA-FIRST"}, session.sent())
	})
	t.Run("by the absolute expiry in its body, whatever the header says", func(t *testing.T) {
		t.Parallel()
		k := newKit(t)
		k.give("j")
		session := &script{id: ours, fence: 5}
		n := k.run(session, func(_ *node, c *sender.Config) {
			c.Now = func() time.Time { return time.Now().Add(12 * time.Minute) } // more than clocks may differ
		})
		require.Equal(t, end{job: "j", how: "drop"}, n.ended())
		require.Equal(t, job.Expired, k.last("j").State)
		require.Empty(t, session.sent())
	})
	t.Run("and says nothing where another session may have sent it", func(t *testing.T) {
		t.Parallel()
		k := newKit(t)
		k.know(job.Status{Job: "j", State: job.Sending, Session: other, Fence: 1, Nonce: "n"})
		k.publish(k.envelope("j"), time.Millisecond)
		n := k.run(&script{id: ours, fence: 5})
		require.Equal(t, end{job: "j", how: "drop"}, n.ended())
		require.Equal(t, job.Sending, k.last("j").State)
	})
}

func TestSender_AnUnknownOutcomeComesBackToTheSameSession(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	first := &script{id: other, fence: 5, send: func(context.Context, int, sender.Message) error {
		return failure(job.UnknownOutcome, job.ReasonUnconfirmed)
	}}
	n := k.run(first)
	require.Equal(t, "retry", n.ended().how)
	require.NoError(t, n.drain())

	stranger := &script{id: ours, fence: 5}
	require.Equal(t, end{job: "j", how: "forward", where: other}, k.run(stranger).ended())
	again := &script{id: other, fence: 6}
	k.run(again)
	k.becomes("j", job.Sent)
	require.Empty(t, stranger.sent())
	require.Equal(t, first.sent()[:1], again.sent(), "under the same WhatsApp id")
}

func TestSender_WhatSurelyDidNotGoOutMayBeTakenByAnother(t *testing.T) {
	t.Parallel()
	for _, class := range []job.FailureClass{job.NotSent, job.SessionFault, job.OutdatedClient} {
		t.Run(class.String(), func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.give("j")
			n := k.run(&script{id: other, fence: 5, send: func(context.Context, int, sender.Message) error {
				return failure(class, job.ReasonRateLimited)
			}})
			require.Equal(t, "retry", n.ended().how)
			require.NoError(t, n.drain())
			s := k.last("j")
			require.True(t, s.Released)
			require.Equal(t, job.ReasonRateLimited, s.Reason)
			next := &script{id: ours, fence: 1}
			k.run(next)
			k.becomes("j", job.Sent)
			require.Equal(t, []string{"WA-J"}, next.sent())
			require.Equal(t, 2, k.lastTry())
		})
	}
}

func TestSender_WaitsAsLongAsAFailureAsks(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	n := k.run(&script{id: ours, fence: 5, send: func(context.Context, int, sender.Message) error {
		return &job.Failure{Class: job.SessionFault, Reason: job.ReasonReachOutLimited, RetryAfter: time.Minute, Err: context.Canceled}
	}})
	require.Equal(t, end{job: "j", how: "retry", after: time.Minute}, n.ended())
}
