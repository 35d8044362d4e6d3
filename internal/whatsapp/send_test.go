package whatsapp_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"wabek/internal/job"
	"wabek/internal/phone"
	"wabek/internal/whatsim"
)

func requireFailure(t *testing.T, err error, class job.FailureClass, reason job.Reason) {
	t.Helper()
	var f *job.Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, class.String(), f.Class.String(), "class of: %v", err)
	require.Equal(t, reason, f.Reason, "reason of: %v", err)
}

func TestSend_NumberIsNotOnWhatsApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := newNumber(t)
	require.NoError(t, w.sim.SetPhone(to.Digits(), whatsim.PhoneSettings{Exists: new(false)}))
	env, body := w.message(t, to, "Your code is 123456")
	err := n.Send(within(t), env, body)
	requireFailure(t, err, job.RecipientFault, job.ReasonNotOnWhatsApp)
	require.NotContains(t, err.Error(), to.Digits())
	require.NotContains(t, w.logs.String(), to.Digits())
	require.Zero(t, w.sim.Sessions()[0].Stanzas, "no stanza went out")
}

// TestSend_RecipientLostItsAccount: the session knows the number's LID from an earlier message, so whatsmeow asks for
// no more than its keys, gets none, and would answer nil for a stanza that reaches only the sender's own phone.
func TestSend_RecipientLostItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := newNumber(t)
	env, body := w.message(t, to, "one")
	require.NoError(t, n.Send(within(t), env, body))
	n.close() // the list of the number's devices is in memory only
	require.NoError(t, w.sim.SetPhone(to.Digits(), whatsim.PhoneSettings{Exists: new(false)}))
	before := w.sim.Sessions()[0].Stanzas

	n = w.up(t)
	env, body = w.message(t, to, "two")
	requireFailure(t, n.Send(within(t), env, body), job.RecipientFault, job.ReasonNotOnWhatsApp)
	require.Equal(t, before, w.sim.Sessions()[0].Stanzas, "no stanza went out")
}

func TestSend_EveryFaultHasItsClass(t *testing.T) { //nolint:tparallel // the subtests share a session
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	for name, c := range map[string]struct { //nolint:paralleltest // they share a session
		fault  whatsim.Fault
		class  job.FailureClass
		reason job.Reason
		pause  time.Duration
	}{
		"refused with 463: the account may write to no new contact": {
			whatsim.Fault{Kind: "ack_error", Code: 463}, job.SessionFault, job.ReasonReachOutLimited, time.Minute,
		},
		"refused with 429: too many messages": {
			whatsim.Fault{Kind: "ack_error", Code: 429}, job.SessionFault, job.ReasonRateLimited, 30 * time.Second,
		},
		"refused with 479: stale session data": {
			whatsim.Fault{Kind: "ack_error", Code: 479}, job.NotSent, job.ReasonRefused, 3 * time.Second,
		},
		"refused with 400: passes": {
			whatsim.Fault{Kind: "ack_error", Code: 400}, job.NotSent, job.ReasonRefused, 3 * time.Second,
		},
		"refused with 420: passes": {
			whatsim.Fault{Kind: "ack_error", Code: 420}, job.NotSent, job.ReasonRefused, 3 * time.Second,
		},
		"no acknowledgement": {
			whatsim.Fault{Kind: "ack_withhold"}, job.UnknownOutcome, job.ReasonUnconfirmed, 0,
		},
		"the acknowledgement comes after the deadline": {
			whatsim.Fault{Kind: "ack_delay", MS: 1500}, job.UnknownOutcome, job.ReasonUnconfirmed, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := newNumber(t)
			env, body := w.message(t, to, "Your code is 123456")
			w.fault(t, c.fault)
			logins := n.states.logins()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err := n.Send(ctx, env, body)
			requireFailure(t, err, c.class, c.reason)
			var f *job.Failure
			require.ErrorAs(t, err, &f)
			require.Equal(t, c.pause, f.RetryAfter)

			// Whatever it was: the same session sends it under the same id when the fault is over, and the phone
			// shows one message.
			if c.class == job.UnknownOutcome {
				require.Eventually(t, func() bool { return n.states.logins() > logins }, patience, 5*time.Millisecond,
					"the connection may be dead, so a new one is made")
			}
			require.NoError(t, n.Send(within(t), env, body))
			w.shows(t, to, body.Text)
			require.Len(t, w.sim.Messages(to.Digits()), 1)
		})
	}
}

func TestSend_FaultsThatAreNoFailure(t *testing.T) { //nolint:tparallel // the subtests share a session
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	for name, c := range map[string]struct { //nolint:paralleltest // they share a session
		fault whatsim.Fault
		lost  bool
	}{
		"the acknowledgement comes late":                                {fault: whatsim.Fault{Kind: "ack_delay", MS: 300}},
		"receipts come before the acknowledgement":                      {fault: whatsim.Fault{Kind: "receipt_before_ack"}},
		"receipts come late":                                            {fault: whatsim.Fault{Kind: "receipt_delay", MS: 300}},
		"the phone can't read it and asks again":                        {fault: whatsim.Fault{Kind: "retry_receipt"}},
		"the connection is cut: it is sent again by the next":           {fault: whatsim.Fault{Kind: "drop"}},
		"WhatsApp takes it and drops it: only the receipts tell of it":  {fault: whatsim.Fault{Kind: "silent_drop"}, lost: true},
		"the phone has it, but tells nobody: sent, but never delivered": {fault: whatsim.Fault{Kind: "receipt_withhold"}},
	} {
		t.Run(name, func(t *testing.T) {
			to := newNumber(t)
			want := 1
			if c.fault.Kind == "drop" {
				// At the first message to a contact whatsmeow asks for something beside it. Both would wait for the next
				// connection then, and its own waiting is a data race of two.
				first, hello := w.message(t, to, "Hello")
				require.NoError(t, n.Send(within(t), first, hello))
				n.awaitReceipt(t, first.ID, job.Read)
				want++
			}
			env, body := w.message(t, to, "Your code is 123456")
			w.fault(t, c.fault)
			require.NoError(t, n.Ready(within(t)))
			require.NoError(t, n.Send(within(t), env, body))
			if c.lost {
				require.Empty(t, w.sim.Messages(to.Digits()))
				return
			}
			w.shows(t, to, body.Text)
			require.Len(t, w.sim.Messages(to.Digits()), want)
			if c.fault.Kind != "receipt_withhold" {
				n.awaitReceipt(t, env.ID, job.Delivered)
				n.awaitReceipt(t, env.ID, job.Read)
			}
		})
	}
}

// TestSend_CutAndNotBackInTime: whatsmeow waits 5 s for the next connection, so the outcome stays unknown after it.
func TestSend_CutAndNotBackInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := newNumber(t)
	env, body := w.message(t, to, "Your code is 123456")
	w.fault(t, whatsim.Fault{Kind: "login_failure", Code: 503, Count: -1})
	w.fault(t, whatsim.Fault{Kind: "drop"})
	requireFailure(t, n.Send(within(t), env, body), job.UnknownOutcome, job.ReasonUnconfirmed)
	requireFailure(t, n.Send(within(t), env, body), job.NotSent, job.ReasonDisconnected)

	w.sim.ClearFaults()
	require.NoError(t, n.Ready(within(t)))
	require.NoError(t, n.Send(within(t), env, body))
	w.shows(t, to, body.Text)
	require.Len(t, w.sim.Messages(to.Digits()), 1)
}

func TestSend_BusyUntilTheDeadlineIsSurelyNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	slow, quick := newNumber(t), newNumber(t)
	w.fault(t, whatsim.Fault{Kind: "ack_delay", MS: 1500, Phone: slow.Digits()})
	slowEnv, slowBody := w.message(t, slow, "slow")
	slowDone := make(chan error, 1)
	go func() { slowDone <- n.Send(within(t), slowEnv, slowBody) }()
	w.shows(t, slow, "slow")

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	env, body := w.message(t, quick, "quick")
	requireFailure(t, n.Send(ctx, env, body), job.NotSent, job.ReasonDisconnected)
	require.NoError(t, <-slowDone)
	require.Empty(t, w.sim.Messages(quick.Digits()))
}

func TestSend_NotConnected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.open(t)
	env, body := w.message(t, newNumber(t), "Your code is 123456")
	requireFailure(t, n.Send(within(t), env, body), job.NotSent, job.ReasonDisconnected)
}

func TestSend_ManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := make([]phone.Number, 5)
	for i := range to {
		to[i] = newNumber(t)
	}
	const each = 6
	done := make(chan error, len(to)*each)
	for range each {
		for i := range to {
			env, body := w.message(t, to[i], "Your code is 123456")
			go func() { done <- n.Send(within(t), env, body) }()
		}
	}
	for range len(to) * each {
		require.NoError(t, <-done)
	}
	for i := range to {
		require.Eventually(t, func() bool { return len(w.sim.Messages(to[i].Digits())) == each }, patience, 5*time.Millisecond)
		for _, m := range w.sim.Messages(to[i].Digits()) {
			require.Equal(t, 1, m.Copies)
		}
	}
}

// TestRetry_AfterRestart: the phone was away, the sender has restarted since, and the phone can't read what it gets:
// the text comes from the ledger's sealed body.
func TestRetry_AfterRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := newNumber(t)
	require.NoError(t, w.sim.SetPhone(to.Digits(), whatsim.PhoneSettings{Online: new(false)}))
	w.fault(t, whatsim.Fault{Kind: "retry_receipt"})
	env, body := w.message(t, to, "Your code is 123456")
	require.NoError(t, n.Send(within(t), env, body))
	n.close()
	require.Empty(t, w.sim.Messages(to.Digits()))

	again := w.up(t)
	require.NoError(t, w.sim.SetPhone(to.Digits(), whatsim.PhoneSettings{Online: new(true)}))
	w.shows(t, to, body.Text)
	again.awaitReceipt(t, env.ID, job.Delivered)
}

func TestRetry_GivesTheTextToItsRecipientAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to, stranger := newNumber(t), newNumber(t)
	env, body := w.message(t, to, "Your code is 123456")
	require.NoError(t, n.Send(within(t), env, body))
	jid := func(p phone.Number) types.JID { return types.NewJID(p.Digits(), types.DefaultUserServer) }

	require.Equal(t, body.Text, n.MessageForRetry(jid(to), jid(to), body.MessageID).GetConversation())
	require.Equal(t, body.Text, n.MessageForRetry(jid(w.account), jid(to), body.MessageID).GetConversation(), "its own phone has a copy too")
	require.Nil(t, n.MessageForRetry(jid(stranger), jid(to), body.MessageID))
	require.Nil(t, n.MessageForRetry(jid(stranger), jid(stranger), body.MessageID))
	require.Nil(t, n.MessageForRetry(jid(to), jid(to), "3EB0FFFFFFFFFFFFFFFFFF"))
}

func TestRecipientReinstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := newNumber(t)
	env, body := w.message(t, to, "one")
	require.NoError(t, n.Send(within(t), env, body))
	n.awaitReceipt(t, env.ID, job.Delivered)
	require.NoError(t, w.sim.SetPhone(to.Digits(), whatsim.PhoneSettings{Reinstall: true}))
	env, body = w.message(t, to, "two")
	require.NoError(t, n.Send(within(t), env, body))
	w.shows(t, to, "two")
	n.awaitReceipt(t, env.ID, job.Delivered)
}
