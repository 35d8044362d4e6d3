package stories_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kill story: customers come at a steady rate, a little faster than the one session can send, while processes
// are killed under them. Whatever is killed, everybody gets their code, once.

func TestStory_NothingIsKilled(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	s := &killStory{t: t, w: w, load: w.startLoad(pace)}
	s.load.untilMoreAccepted(inLongForm(2000, 100))
	s.end(false, false)
	require.Zero(t, s.redelivered+s.republished, "the counters move by themselves")
	require.Empty(t, s.copied, "a copy came without any fault")
}

func TestStory_SenderIsKilled(t *testing.T) {
	t.Parallel()
	s := beginKillStory(t)
	s.delayReceipts()
	s.spread(repeat(s.killSender, inLongForm(10, 2)))
	s.end(true, false)
}

func TestStory_APIIsKilled(t *testing.T) {
	t.Parallel()
	s := beginKillStory(t)
	s.spread(repeat(s.killAPI, inLongForm(10, 2)))
	s.end(false, true)
}

func TestStory_NATSIsAway(t *testing.T) {
	t.Parallel()
	s := beginKillStory(t)
	s.spread(repeat(s.takeNATSAway, inLongForm(2, 1)))
	s.end(false, true)
	require.Zero(t, s.load.refused.Load()+s.load.cut.Load(), "the API has answered every request")
}

func TestStory_EverythingIsKilled(t *testing.T) {
	t.Parallel()
	s := beginKillStory(t)
	s.delayReceipts()
	var plan []func()
	for i := range inLongForm(10, 2) {
		plan = append(plan, s.killSender, s.killAPI)
		if i == 0 || i == 5 {
			plan = append(plan, s.takeNATSAway)
		}
	}
	s.spread(plan)
	s.end(true, true)
}

// TestStory_EverythingIsKilledWhileNATSIsAway kills the programs while there is no queue to tell.
func TestStory_EverythingIsKilledWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	s := beginKillStory(t)
	s.load.untilMoreAccepted(inLongForm(500, 40))
	s.whileNATSIsAway(func() {
		s.killSender()
		s.load.untilMoreAccepted(20)
		s.killAPI()
		s.load.untilMoreAccepted(20)
	})
	s.load.untilMoreAccepted(inLongForm(500, 20))
	s.end(false, true)
}

// killStory is a world under load.
type killStory struct {
	t    *testing.T
	w    *world
	load *load

	redelivered int // by senders that were killed
	republished int // by APIs that were killed
	killed      map[string]int
	copied      []string // the sends that came twice, one by one
}

// ackDelay is how long WhatsApp takes to acknowledge a message, pace the time between two customers. So a message
// is in flight nearly always, and jobs wait for their turn.
const (
	ackDelay = 55 * time.Millisecond
	pace     = 50 * time.Millisecond
)

func beginKillStory(t *testing.T) *killStory {
	t.Helper()
	w := startAll(t)
	w.phones.fault(t, "ack_delay", map[string]any{"ms": ackDelay.Milliseconds(), "count": -1})
	return &killStory{t: t, w: w, load: w.startLoad(pace), killed: map[string]int{}}
}

// delayReceipts lets what the phones say of their messages come later than the queue hands out again what a killed
// sender had claimed. So its successor doesn't learn from them that a message has arrived, and must send it again.
func (s *killStory) delayReceipts() {
	s.t.Helper()
	s.w.phones.fault(s.t, "receipt_delay", map[string]any{"ms": 15_000, "count": -1})
}

func repeat(do func(), times int) []func() {
	all := make([]func(), times)
	for i := range all {
		all[i] = do
	}
	return all
}

// spread does what is planned, each thing after as many OTPs; what is accepted while it is done comes on top.
func (s *killStory) spread(plan []func()) {
	s.t.Helper()
	step := inLongForm(2000, 100)/(len(plan)+1) + 1
	for _, do := range plan {
		s.load.untilMoreAccepted(step)
		do()
	}
	s.load.untilMoreAccepted(step)
}

// killSender kills the sender right after WhatsApp has taken a message from it, long before that is acknowledged.
func (s *killStory) killSender() {
	s.t.Helper()
	before := s.w.phones.stanzas()
	require.Eventually(s.t, func() bool { return s.w.phones.stanzas() > before }, patient, 2*time.Millisecond, "nothing is sent")
	last, there := s.w.senderHealth()
	s.w.sender.kill()
	require.True(s.t, there)
	s.killed["sender"]++
	s.redelivered += last.Redelivered
	s.w.startSender()
}

// waiting is how many jobs must be unsettled so that some are surely still waiting for a sender: the sender has
// claimed at most three, and a few have statuses that are on their way to the record.
const waiting = 10

// killAPI kills the API while jobs are on their way.
func (s *killStory) killAPI() {
	s.t.Helper()
	var last apiHealth
	eventually(s.t, func() bool {
		h, there := s.w.client.health()
		last = h
		return there && h.Relay.Pending >= waiting
	}, "no jobs are on their way")
	s.w.api.kill()
	s.killed["api"]++
	s.republished += last.Relay.Republished
	s.w.startAPI()
}

// takeNATSAway stops NATS for 20 s (5 s in the short form), by turns with and without asking it.
func (s *killStory) takeNATSAway() {
	s.t.Helper()
	s.whileNATSIsAway(func() { <-time.After(time.Duration(inLongForm(20, 5)) * time.Second) })
}

// whileNATSIsAway does something without NATS.
func (s *killStory) whileNATSIsAway(do func()) {
	s.t.Helper()
	if s.killed["nats"]%2 == 0 {
		s.w.nats.kill()
	} else {
		s.w.nats.stop()
	}
	s.killed["nats"]++
	s.load.natsAway.Store(true)
	do()
	s.load.natsAway.Store(false)
	s.w.startNATS()
}

// end lets everybody get their code and draws the balance. The run counts only where jobs were handed out again
// (redelivered), or published again (republished).
func (s *killStory) end(redelivered, republished bool) {
	s.t.Helper()
	s.load.finish()
	eventually(s.t, func() bool {
		h, there := s.w.client.health()
		return there && h.Relay.Pending == 0
	}, "some jobs are never settled")
	sh, there := s.w.senderHealth()
	require.True(s.t, there)
	s.redelivered += sh.Redelivered
	ah, _ := s.w.client.health()
	s.republished += ah.Relay.Republished

	copies := s.load.everybodyIsServed()
	in := map[string]int{}
	lines := []string{}
	for _, i := range s.w.history().interruptedSends() {
		in[string(i.job)]++
		lines = append(lines, fmt.Sprintf("%s try %d of the sender's life %d, copies %d", i.job, i.try, i.fence, copies[string(i.job)]))
	}
	for id, n := range copies {
		if n > 1 {
			s.copied = append(s.copied, fmt.Sprintf("%s: %d copies", id, n))
			require.LessOrEqual(s.t, n-1, in[id], "OTP %s came %d times, and was in flight at %d kills", id, n, in[id])
		}
	}
	taken, away := s.load.acceptedWhileAway()
	s.t.Logf("killed %v; accepted %d, arrived %d, valid:true lost with its connection %d; refused %d, cut %d, 503 %d; "+
		"while NATS was away %d of %d accepted; redelivered %d, republished %d; in flight at a kill %d, came twice %d",
		s.killed, s.load.accepted.Load(), len(copies), s.load.lostVerdicts(), s.load.refused.Load(), s.load.cut.Load(), s.load.turnedAway.Load(),
		taken, away, s.redelivered, s.republished, len(lines), len(s.copied))
	for _, line := range lines {
		s.t.Log("in flight at a kill: ", line)
	}
	// Three workers claim, one of them sends.
	require.LessOrEqual(s.t, len(lines), 3*s.killed["sender"], "more sends in flight than one session can have")
	require.GreaterOrEqual(s.t, 100*taken, 95*away, "while NATS was away")
	require.Equal(s.t, s.killed["nats"] > 0, away > 0)
	if redelivered {
		require.Positive(s.t, s.redelivered, "no job was redelivered: the story shows nothing")
		require.NotEmpty(s.t, lines, "no send was in flight at a kill: the story shows nothing")
	}
	if republished {
		require.Positive(s.t, s.republished, "no job was republished: the story shows nothing")
	}
	sessions, err := s.w.phones.sessions()
	require.NoError(s.t, err)
	require.Len(s.t, sessions, 1)
	require.Zero(s.t, sessions[0].FromReplaced, "a message came over a connection that had been replaced")
}
