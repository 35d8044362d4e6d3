package sender_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/sender"
)

// received is what devices said of job j.
func received(states ...job.State) (all []job.Receipt) {
	for _, s := range states {
		all = append(all, job.Receipt{Job: "j", Pool: job.DefaultPool, State: s, At: time.Now()})
	}
	return all
}

func TestSender_ReceiptsNeverLowerAState(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		during, after []job.State
		then          job.State
	}{
		"delivered before the send has returned":         {during: []job.State{job.Delivered}, then: job.Delivered},
		"read before the send has returned":              {during: []job.State{job.Read}, then: job.Read},
		"in order":                                       {after: []job.State{job.Delivered, job.Read}, then: job.Read},
		"read before delivered":                          {after: []job.State{job.Read, job.Delivered}, then: job.Read},
		"delivered twice":                                {after: []job.State{job.Delivered, job.Delivered}, then: job.Delivered},
		"read before, delivered after the send's return": {during: []job.State{job.Read}, after: []job.State{job.Delivered}, then: job.Read},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			var n *node
			ready := make(chan struct{})
			tell := func(states []job.State) {
				for _, s := range states {
					assert.NoError(t, n.Receipts(context.Background(), received(s)))
				}
			}
			n = k.run(&script{id: ours, fence: 5, send: func(context.Context, int, sender.Message) error {
				<-ready
				tell(c.during)
				return nil
			}})
			close(ready)
			k.give("j")
			require.Equal(t, end{job: "j", how: "ack"}, n.ended())
			tell(c.after)
			require.Equal(t, c.then, k.last("j").State)
		})
	}
}

func TestSender_OfReceiptsThatComeTogetherTheFurthestIsStored(t *testing.T) {
	t.Parallel()
	for name, came := range map[string][]job.State{
		"in order": {job.Delivered, job.Read}, "turned round": {job.Read, job.Delivered}, "twice": {job.Read, job.Read},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			n := k.run(&script{id: ours, fence: 5})
			k.give("j")
			require.Equal(t, end{job: "j", how: "ack"}, n.ended())
			_, before, err := k.line.Last(k.within(), job.DefaultPool, "j")
			require.NoError(t, err)
			require.NoError(t, n.Receipts(k.within(), received(came...)))
			last, after, err := k.line.Last(k.within(), job.DefaultPool, "j")
			require.NoError(t, err)
			require.Equal(t, job.Read, last.State)
			require.Equal(t, before+1, after, "by one status")
		})
	}
}

func TestSender_AReceiptOfAnEarlierLifeIsStored(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.know(job.Status{Job: "j", State: job.Sent, Session: ours, Fence: 4})
	n := k.run(&script{id: ours, fence: 5})
	require.NoError(t, n.Receipts(k.within(), received(job.Delivered)))
	require.Equal(t, job.Delivered, k.last("j").State)
}

func TestSender_AReceiptWaitsForTheQueue(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	n := k.run(&script{id: ours, fence: 5})
	k.give("j")
	require.Equal(t, end{job: "j", how: "ack"}, n.ended())
	k.nats.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, n.Receipts(ctx, received(job.Delivered)))
	stored := make(chan error, 1)
	ctx, cancel = context.WithTimeout(context.Background(), patient)
	defer cancel()
	go func() { stored <- n.Receipts(ctx, received(job.Read)) }()
	k.startNATS()
	require.NoError(t, <-stored)
	require.Eventually(t, k.line.Connected, patient, 5*time.Millisecond)
	require.Equal(t, job.Read, k.last("j").State)
}

func TestSender_ASecondDeliveryOfAJobUnderWayWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	h := newHeld()
	session := &script{id: ours, fence: 5, send: h.send}
	// It says nothing of its progress, so the queue takes it for dead and hands the job out again.
	n := k.run(session, func(_ *node, c *sender.Config) { c.KeepAlive = time.Hour })
	<-h.begun
	require.Eventually(t, func() bool { return n.Stats().Redelivered == 1 }, patient, time.Millisecond)
	require.Empty(t, n.ends)
	h.letGo <- nil
	require.Equal(t, end{job: "j", how: "ack"}, n.ended())
	require.Equal(t, end{job: "j", how: "ack"}, n.ended(), "the second finds it sent")
	require.Equal(t, []string{"WA-J"}, session.sent())
}

func TestSender_ALongSendStaysOurs(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	h := newHeld()
	n := k.run(&script{id: ours, fence: 5, send: h.send})
	<-h.begun
	begun := time.Now()
	for time.Since(begun) < 2*ackWait {
		<-n.beats
	}
	h.letGo <- nil
	require.Equal(t, end{job: "j", how: "ack"}, n.ended())
	require.Zero(t, n.Stats().Redelivered)
}

func TestSender_OneMessageAtATime(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	h := newHeld()
	n := k.run(&script{id: ours, fence: 5, send: h.send})
	for _, id := range []job.ID{"a", "b", "c", "d"} {
		k.give(id)
	}
	for range 4 {
		<-h.begun
		require.Empty(t, h.begun)
		h.letGo <- nil
		require.Equal(t, "ack", n.ended().how)
	}
}

func TestSender_DrainFinishesWhatIsUnderWayAndTakesNoMore(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	h := newHeld()
	session := &script{id: ours, fence: 5, send: h.send}
	n := k.run(session)
	k.give("j")
	<-h.begun
	drained := make(chan error, 1)
	n.take() // from here on nothing is taken
	go func() { drained <- n.drain() }()
	k.give("later")
	h.letGo <- nil
	require.NoError(t, <-drained)
	require.Equal(t, job.Sent, k.last("j").State)
	require.Equal(t, []string{"WA-J"}, session.sent())
	require.Equal(t, job.Status{}, k.last("later"))
	require.Equal(t, 1, k.stored("WABEK_OTP"), "the later one waits for somebody else")
}

func TestSender_ADrainThatTakesTooLongIsCutOff(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	h := newHeld()
	n := k.run(&script{id: ours, fence: 5, send: h.send})
	k.give("j")
	<-h.begun
	n.work()
	require.NoError(t, n.drain())
	require.Equal(t, job.Sending, k.last("j").State, "its outcome is unknown, and so it is claimed still")
	require.Equal(t, 1, k.stored("WABEK_OTP"))
}

func TestSender_EndsWhereItsSessionIsDead(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.give("j")
	n := k.run(&script{id: ours, fence: 5, dead: errors.Join(sender.ErrSessionDead, errors.New("logged out"))})
	require.ErrorIs(t, <-n.over, sender.ErrSessionDead)
	n.over <- nil // for the crash at the end
	require.Equal(t, job.Status{}, k.last("j"))
}
