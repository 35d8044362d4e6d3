package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

const (
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	pullSilence   = 2*pullHeartbeat + 200*time.Millisecond // then the server has forgotten the pull
	maxAckPending = 10_000                                 // jobs given back with a delay count, and mustn't stop the lane
	maxWaiting    = 8192                                   // pulls: each session of a pool has one open
	restFirst     = 100 * time.Millisecond                 // after an error, doubled up to
	restLast      = 2 * time.Second
)

// Requests to a consumer for one job. The probe answers at once, the pull when there is one.
const (
	probeRequest = `{"batch":1,"no_wait":true`
	pullRequest  = `{"batch":1,"expires":5000000000,"idle_heartbeat":1000000000`
	// What ends them. Where several sessions wait for an OTP, the server gives it to one of those that don't yield: they
	// are free, or about to be, while one that yields may be in the middle of a notice (nats-server 2.12 and later).
	requestEnd    = `}`
	requestWanted = `,"group":"` + freeGroup + `","priority":0}`
	requestYields = `,"group":"` + freeGroup + `","priority":5}`
	freeGroup     = "free"
)

// laneState is what a lane is doing.
type laneState int

const (
	absent  laneState = iota // its consumer isn't known to exist
	making                   // somebody makes it
	resting                  // after an error, until lane.rest
	idle                     // nothing is open
	probing                  // asked whether there is a job now
	waiting                  // a pull is open, and the server had no job when it began
)

// lane is one consumer, as one Jobs sees it. Only its goroutine touches it.
type lane struct {
	index  int
	lane   job.Lane
	pool   string
	stream string
	config jetstream.ConsumerConfig
	next   string // the subject that takes requests

	state laneState
	gen   uint64    // of the request that is open
	heard time.Time // the server's last sign of life about it
	rest  time.Time
	pause time.Duration
	fresh bool        // its consumer was just made, and hasn't answered yet
	held  []*Delivery // arrived while nobody waited; one, rarely two
}

func newLane(index int, l job.Lane, pool, target string, ackWait time.Duration) *lane {
	stream := laneStream(l)
	cfg := jetstream.ConsumerConfig{
		Durable:       target + "-" + pool, // any-<pool> or <session>-<pool>
		FilterSubject: targetFilter(l, pool, target),
		DeliverPolicy: jetstream.DeliverAllPolicy, // a work queue knows no other
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1, // the sender counts; the server would leave the job lying about
		MaxAckPending: maxAckPending,
		MaxWaiting:    maxWaiting,
		// A file-backed consumer rewrites its state ten times a second; one a pool and lane is fine, one a
		// session isn't. One in memory is gone after a restart of the server, and is made again.
		MemoryStorage: target != job.AnySession,
	}
	if l == job.LaneOTP && target == job.AnySession {
		cfg.PriorityPolicy, cfg.PriorityGroups = jetstream.PriorityPolicyPrioritized, []string{freeGroup}
	}
	return &lane{
		index: index, lane: l, pool: pool, stream: stream, config: cfg,
		next:  "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + cfg.Durable,
		pause: restFirst,
	}
}

// create makes the lane's consumer, or finds it there.
func (l *lane) create(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	if _, err := js.CreateOrUpdateConsumer(ctx, l.stream, l.config); err != nil {
		return fmt.Errorf("make consumer %s of %s: %w", l.config.Durable, l.stream, err)
	}
	return nil
}

// open sends a request. Its answers come to inbox.<index>.<gen>, the job itself under its own subject.
func (l *lane) open(nc *nats.Conn, inbox string, state laneState, yields bool, now time.Time) {
	l.gen++
	request := pullRequest
	if state == probing {
		request = probeRequest
	}
	switch {
	case len(l.config.PriorityGroups) == 0:
		request += requestEnd
	case yields:
		request += requestYields
	default:
		request += requestWanted
	}
	reply := inbox + strconv.Itoa(l.index) + "." + strconv.FormatUint(l.gen, 10)
	if err := nc.PublishRequest(l.next, reply, []byte(request)); err != nil {
		l.fall(now)
		return
	}
	l.state, l.heard = state, now
}

// fall lets the lane rest for a while after an error, longer each time until something works again.
func (l *lane) fall(now time.Time) {
	l.state, l.rest = resting, now.Add(l.pause)
	l.pause = min(2*l.pause, restLast)
}

// quiet says that the server has no job here: one that comes now is on its way to us.
func (l *lane) quiet() bool { return l.state == waiting && len(l.held) == 0 }

// well notes that the server has answered as it should.
func (l *lane) well() { l.pause, l.fresh = restFirst, false }

// asked says that a request is open.
func (l *lane) asked() bool { return l.state == probing || l.state == waiting }
