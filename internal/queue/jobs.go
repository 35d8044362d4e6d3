package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"wabek/internal/job"
)

// The lanes of a Jobs, in the order in which it takes from them.
const (
	ownOTP = iota
	anyOTP
	ownNotice
	anyNotice
)

const (
	tickInterval = 500 * time.Millisecond
	arrivals     = 64 // of messages: four lanes with a request and a heartbeat each
	closeFlush   = time.Second
)

// Jobs is the source of the jobs that one session may take, in this order: OTPs of its own, OTPs for any
// session, its own notices, notices for any. It asks the server only while somebody waits for a job, and takes
// a notice only when the server has just said that there is no OTP.
//
// One goroutine owns everything: it has at most one request open at each of the four consumers, and keeps what
// arrives with nobody waiting (at most one job a consumer) alive until the next Next takes it. It doesn't use
// jetstream's Fetch, which makes a subscription and a goroutine for each job, and loses the one that arrives as
// its context ends until the ack wait is over.
type Jobs struct {
	b      *Broker
	lanes  [4]*lane
	inbox  string // ends with a dot
	sub    *nats.Subscription
	msgs   chan *nats.Msg
	wishes chan *wish
	made   chan madeLane
	stop   context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	ended chan struct{} // nudged when a notice that was given has ended

	// What the goroutine owns.
	notices Notices
	given   *Delivery // the latest notice; no other is given before it has ended, so that an OTP never waits for two
	waiters []*wish
	beat    time.Time // when what is held was last kept alive
	warned  bool
}

// Notices says when a session may take a notice, and how much it is wanted for OTPs meanwhile. Its methods are called by
// one goroutine of a Jobs.
type Notices interface {
	// Wait is how long until the session may take a notice, 0 for now.
	Wait(now time.Time) time.Duration
	// Kept says that the session is kept for OTPs. Of notices it takes its own alone: nobody else may send what it may have
	// sent already. It is asked again within half a second.
	Kept(now time.Time) bool
	// Took hears that the session takes one.
	Took(now time.Time)
	// Yields says that an OTP that any session may take had better go to another one that is free too.
	Yields(now time.Time) bool
}

// anyTime lets a session take every notice that it can get.
type anyTime struct{}

func (anyTime) Wait(time.Time) time.Duration { return 0 }
func (anyTime) Kept(time.Time) bool          { return false }
func (anyTime) Took(time.Time)               {}
func (anyTime) Yields(time.Time) bool        { return false }

// wish is one call of Next. Who sets taken first decides its end: the goroutine gives it a job, or Next leaves.
type wish struct {
	taken atomic.Bool
	got   chan *Delivery
}

type madeLane struct {
	l   *lane
	err error
}

// Jobs opens the source of a session's jobs. It lives until Close, or until the context ends; both give back
// what nobody has taken. It needs no connection yet. Deliveries taken outlive it. notices may be nil, for a session that
// takes every notice it can get.
func (b *Broker) Jobs(ctx context.Context, pool, session string, notices Notices) (*Jobs, error) {
	if err := job.CheckPool(pool); err != nil {
		return nil, fmt.Errorf("open jobs: %w", err)
	}
	if err := job.CheckSession(session); err != nil {
		return nil, fmt.Errorf("open jobs: %w", err)
	}
	if notices == nil {
		notices = anyTime{}
	}
	ctx, stop := context.WithCancel(ctx)
	j := &Jobs{
		b: b, notices: notices, ended: make(chan struct{}, 1),
		lanes: [4]*lane{
			newLane(ownOTP, job.LaneOTP, pool, session, b.o.AckWait),
			newLane(anyOTP, job.LaneOTP, pool, job.AnySession, b.o.AckWait),
			newLane(ownNotice, job.LaneNotice, pool, session, b.o.AckWait),
			newLane(anyNotice, job.LaneNotice, pool, job.AnySession, b.o.AckWait),
		},
		inbox:  b.nc.NewInbox() + ".",
		msgs:   make(chan *nats.Msg, arrivals),
		wishes: make(chan *wish),
		made:   make(chan madeLane, 4),
		stop:   stop,
		done:   make(chan struct{}),
	}
	var err error
	if j.sub, err = b.nc.ChanSubscribe(j.inbox+"*.*", j.msgs); err != nil {
		stop()
		return nil, unavailable("open jobs", err)
	}
	go j.run(ctx)
	return j, nil
}

// Next waits for a job. It may be called from several goroutines. Its error is the context's, or ErrClosed.
func (j *Jobs) Next(ctx context.Context) (*Delivery, error) {
	w := &wish{got: make(chan *Delivery, 1)}
	select {
	case j.wishes <- w:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-j.done:
		return nil, ErrClosed
	}
	var err error
	select {
	case d := <-w.got:
		return d, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-j.done:
		err = ErrClosed
	}
	if w.taken.CompareAndSwap(false, true) {
		return nil, err
	}
	return <-w.got, nil // given at the same moment
}

// Close stops the source and waits until what nobody has taken is given back.
func (j *Jobs) Close() error {
	j.stop()
	<-j.done
	return nil
}

func (j *Jobs) run(ctx context.Context) {
	defer close(j.done)
	ctx, cancel := context.WithCancel(ctx)
	var makers sync.WaitGroup
	defer j.giveBack()
	defer makers.Wait()
	defer cancel()
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	renewed := j.b.renewed.wait()
	turn := time.NewTimer(0) // when the next notice may be taken
	defer turn.Stop()
	for {
		now := time.Now()
		wait := j.notices.Wait(now)
		j.pump(ctx, &makers, wait, j.notices.Kept(now))
		if wait > 0 {
			turn.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		case <-j.ended:
		case w := <-j.wishes:
			j.waiters = append(j.waiters, w)
		case m := <-j.msgs:
			j.arrived(m)
		case r := <-j.made:
			j.consumerMade(ctx, r)
		case <-renewed: // a new connection: the requests of the old one are gone
			renewed = j.b.renewed.wait()
			for _, l := range j.lanes {
				if l.asked() || l.state == resting {
					l.state = idle
					l.well()
				}
			}
		case <-tick.C:
			if j.b.nc.IsClosed() {
				return
			}
			j.look(time.Now())
		}
	}
}

// pump gives what is held to who waits, and asks for more where somebody still does. wait is how long notices must wait; a
// session that is kept takes none that others may.
func (j *Jobs) pump(ctx context.Context, makers *sync.WaitGroup, wait time.Duration, kept bool) {
	if kept {
		j.letNoticesGo()
	}
	for len(j.waiters) > 0 {
		if w := j.waiters[0]; w.taken.Load() || j.give(w, &wait) {
			j.waiters = j.waiters[1:]
			continue
		}
		break
	}
	if !j.b.nc.IsConnected() || !j.b.wasReady() { // before that nobody knows the server's clock
		return
	}
	now := time.Now()
	for _, l := range j.lanes {
		switch {
		case l.state == absent: // also while nobody waits, so that the first job needn't wait for it
			l.state = making
			makers.Go(func() { j.made <- madeLane{l, l.create(ctx, j.b.js)} })
		case l.state != idle || len(j.waiters) == 0 || len(l.held) > 0:
		case l.lane == job.LaneOTP:
			j.open(l, probing, now)
		case kept && l.index == anyNotice:
		case j.noOTP() && wait == 0 && j.free():
			j.open(l, waiting, now)
		}
	}
}

// open sends a request for a lane's next job.
func (j *Jobs) open(l *lane, state laneState, now time.Time) {
	l.open(j.b.nc, j.inbox, state, j.notices.Yields(now), now)
}

// letNoticesGo gives notices back that are held and that other sessions may take.
func (j *Jobs) letNoticesGo() {
	l := j.lanes[anyNotice]
	for _, d := range l.held {
		_ = d.Retry(0) // else it comes back after the ack wait
	}
	l.held = nil
}

// give hands the first job in order to a waiter, and says whether that is served now. It is false where there is
// no job, or only a notice whose turn it isn't, or isn't surely. It raises wait where it gives one.
func (j *Jobs) give(w *wish, wait *time.Duration) bool {
	for _, l := range j.lanes {
		if len(l.held) == 0 {
			continue
		}
		if l.lane == job.LaneNotice && (*wait != 0 || !j.noOTP() || !j.free()) {
			return false
		}
		if w.taken.CompareAndSwap(false, true) {
			d := l.held[0]
			l.held = l.held[1:]
			if l.lane == job.LaneNotice {
				now := time.Now()
				d.onEnd, j.given = j.noticeEnded, d
				d.alive.Store(now.UnixNano())
				j.notices.Took(now)
				*wait = j.notices.Wait(now)
			}
			w.got <- d
		}
		return true
	}
	return false
}

// free says that no notice is under way: the one that was given has ended, or nobody keeps it alive any more.
func (j *Jobs) free() bool {
	return j.given == nil || j.given.ended.Load() || time.Since(time.Unix(0, j.given.alive.Load())) > j.b.o.AckWait
}

// noticeEnded hears that the notice under way has ended. It may be called from anywhere.
func (j *Jobs) noticeEnded() {
	select {
	case j.ended <- struct{}{}:
	default: // one nudge is enough
	}
}

// noOTP says that the server has no OTP for us, and will send the next one at once.
func (j *Jobs) noOTP() bool { return j.lanes[ownOTP].quiet() && j.lanes[anyOTP].quiet() }

// arrived sorts a message: a job, or what the server says about a request.
func (j *Jobs) arrived(m *nats.Msg) {
	if rest, ok := strings.CutPrefix(m.Subject, j.inbox); ok {
		j.answered(m, rest)
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		j.b.log.Error("message without metadata", "subject", m.Subject, "error", err)
		return
	}
	for _, l := range j.lanes {
		if l.config.Durable != meta.Consumer || l.stream != meta.Stream {
			continue
		}
		if l.asked() {
			l.state = idle
		}
		l.well()
		d, err := j.b.newDelivery(m, meta)
		if err != nil {
			j.b.refuse(d, l, meta, err)
			return
		}
		l.held = append(l.held, d)
		return
	}
}

// answered deals with a status of the server about the request <lane>.<gen>.
func (j *Jobs) answered(m *nats.Msg, token string) {
	index, gen, _ := strings.Cut(token, ".")
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(j.lanes) {
		return
	}
	l, now := j.lanes[i], time.Now()
	if gen != strconv.FormatUint(l.gen, 10) || !l.asked() {
		return // about an older request
	}
	l.heard = now
	switch status := m.Header.Get("Status"); status {
	case "100": // a heartbeat
	case "404", "408": // no job now, or the pull's time is over
		switch {
		case l.state == waiting:
			l.state = idle
		case len(j.waiters) > 0:
			j.open(l, waiting, now)
		default:
			l.state = idle
		}
		l.well()
		j.warned = false
	case "503": // nobody there: the consumer is gone, or JetStream isn't up yet
		if l.fresh {
			l.fall(now)
		} else {
			l.state = absent
		}
	default:
		if strings.Contains(m.Header.Get("Description"), "Deleted") {
			l.state = absent
			return
		}
		if !j.warned {
			j.b.log.Warn("pull refused", "status", status, "text", m.Header.Get("Description"), "consumer", l.config.Durable)
			j.warned = true
		}
		l.fall(now)
	}
}

func (j *Jobs) consumerMade(ctx context.Context, r madeLane) {
	if r.err == nil {
		r.l.state, r.l.fresh = idle, true
		return
	}
	r.l.fall(time.Now())
	if ctx.Err() == nil && j.b.nc.IsConnected() {
		j.b.ask()      // its stream may be what is missing
		if !j.warned { // once per outage
			j.b.log.WarnContext(ctx, "can't make a consumer, trying on", "error", r.err)
			j.warned = true
		}
	}
}

// look keeps what is held alive, notices forgotten pulls, and ends rests.
func (j *Jobs) look(now time.Time) {
	beat := now.Sub(j.beat) >= j.b.o.AckWait/3
	for _, l := range j.lanes {
		if l.asked() && now.Sub(l.heard) > pullSilence {
			if j.b.nc.IsConnected() {
				j.b.lostPulls.Add(1)
			}
			l.state = idle
		}
		if l.state == resting && !now.Before(l.rest) {
			l.state = absent // making it again finds it there, or tells what is wrong
		}
		for _, d := range l.held {
			if beat {
				_ = d.InProgress() // fails while NATS is away: then the job comes back by itself
			}
		}
	}
	if beat {
		j.beat = now
	}
}

// giveBack ends the requests and returns what was held, and what came in until the server knew.
func (j *Jobs) giveBack() {
	// Drained, not just unsubscribed: what the server sent before it heard of the end still comes in.
	if err := j.sub.Drain(); err == nil && j.b.nc.IsConnected() {
		_ = j.b.nc.FlushTimeout(closeFlush) // else what is missed comes back after the ack wait
	}
	for len(j.msgs) > 0 {
		j.arrived(<-j.msgs)
	}
	for _, l := range j.lanes {
		for _, d := range l.held {
			_ = d.Retry(0)
		}
	}
}
