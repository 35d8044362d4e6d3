// Package sender takes jobs from the queue and gets each of them sent, once, by a WhatsApp session.
//
// In: sealed jobs, from a Source per session. Out: messages through the session, statuses to the log.
// On failure: by its class a job goes back to the queue, to the session that may have sent it, or to the
// dead letters; a job whose fate is unknown is never given up by the sender that may have sent it.
package sender

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wabek/internal/job"
)

// Config is what a Sender needs. All fields but the durations must be set.
type Config struct {
	Session Session
	Next    Source
	Opener  job.Opener
	Log     job.Log
	// Bury keeps a dead letter: the job's ids and why it was given up, not its body.
	Bury   func(ctx context.Context, e job.Envelope, reason job.Reason) error
	Now    func() time.Time
	Logger *slog.Logger

	SendTimeout time.Duration // the longest that one send may take; DefaultSendTimeout if 0
	KeepAlive   time.Duration // how often the queue is told that a job is in progress; a third of its ack wait
}

// Defaults of Config.
const (
	DefaultSendTimeout = 20 * time.Second
	DefaultKeepAlive   = 3 * time.Second
)

// workers is how many jobs of one session are under way at once. One of them sends; the other is being
// claimed before or concluded after, so that the session doesn't wait for the queue between two messages.
const workers = 3

// Sender delivers the jobs of one session.
type Sender struct {
	cfg  Config
	slot chan struct{} // whoever holds its one token sends

	mu     sync.Mutex
	held   map[job.ID]*holding
	recent *recent
	counts counters
}

// holding is a job under way here. A second delivery of it waits for done.
type holding struct {
	delivery Delivery
	done     chan struct{}
}

type counters struct {
	redelivered, claimsLost, sent, notices, failed atomic.Uint64
}

// Stats counts since the start.
type Stats struct {
	Redelivered uint64 // jobs that the queue had handed out before, here or elsewhere
	ClaimsLost  uint64 // claims that another sender, or an earlier one of ours, already held
	Sent        uint64
	Notices     uint64 // of Sent
	Failed      uint64 // given up
}

// New makes a Sender.
func New(cfg Config) *Sender {
	if cfg.SendTimeout == 0 {
		cfg.SendTimeout = DefaultSendTimeout
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = DefaultKeepAlive
	}
	return &Sender{cfg: cfg, slot: make(chan struct{}, 1), held: map[job.ID]*holding{}, recent: newRecent(8192)}
}

// Stats reads the counters.
func (s *Sender) Stats() Stats {
	return Stats{
		Redelivered: s.counts.redelivered.Load(), ClaimsLost: s.counts.claimsLost.Load(),
		Sent: s.counts.sent.Load(), Notices: s.counts.notices.Load(), Failed: s.counts.failed.Load(),
	}
}

// Run takes and delivers jobs until take ends, then finishes those under way, for as long as work lives.
// It returns nil after a drain, ErrSessionDead where the session will never send again, and what Next returned
// where the queue is gone for good.
func (s *Sender) Run(take, work context.Context) error {
	alive, stop := context.WithCancel(context.WithoutCancel(take))
	var keeper sync.WaitGroup
	keeper.Go(func() { s.keepAlive(alive) })
	errs := make(chan error, workers)
	for range workers {
		go func() { errs <- s.work(take, work) }()
	}
	var first error
	for range workers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	stop()
	keeper.Wait()
	return first
}

func (s *Sender) work(take, work context.Context) error {
	for {
		if err := s.cfg.Session.Ready(take); err != nil {
			return unlessOver(take, err)
		}
		d, err := s.cfg.Next(take)
		if err != nil {
			return unlessOver(take, err)
		}
		s.handle(work, d)
	}
}

func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the error is the end of ctx, which was asked for
	}
	return err
}

// handle delivers one job. A delivery of a job that is already under way here waits for the first one's
// outcome: it would be claimed over ourselves, and sent twice.
func (s *Sender) handle(ctx context.Context, d Delivery) {
	id := d.Job().ID
	s.cfg.Logger.Debug("job taken", "job", id, "deliveries", d.Deliveries())
	if d.Deliveries() > 1 {
		s.counts.redelivered.Add(1)
	}
	h := &holding{delivery: d, done: make(chan struct{})}
	for {
		s.mu.Lock()
		first, busy := s.held[id]
		if !busy {
			s.held[id] = h
		}
		s.mu.Unlock()
		if !busy {
			break
		}
		select {
		case <-first.done:
		case <-ctx.Done():
			return
		}
	}
	defer func() {
		s.mu.Lock()
		delete(s.held, id)
		s.mu.Unlock()
		close(h.done)
	}()
	if err := s.deliver(ctx, d); err != nil {
		// The job stays unacknowledged, so the queue hands it out again.
		s.cfg.Logger.Warn("job left to the queue", "job", id, "err", err)
	}
}

// keepAlive tells the queue that every job under way is still ours.
func (s *Sender) keepAlive(ctx context.Context) {
	tick := time.NewTicker(s.cfg.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		held := make([]*holding, 0, len(s.held))
		for _, h := range s.held {
			held = append(held, h)
		}
		s.mu.Unlock()
		for _, h := range held {
			if err := h.delivery.InProgress(); err != nil {
				// A connection that is down: the queue may hand the job out again, and the claim holds.
				s.cfg.Logger.Debug("queue not told of progress", "job", h.delivery.Job().ID, "err", err)
			}
		}
	}
}

func (s *Sender) status(e job.Envelope, state job.State) job.Status {
	return job.Status{
		Job: e.ID, Pool: e.Pool, State: state, Session: s.cfg.Session.ID(), Fence: s.cfg.Session.Fence(), At: s.cfg.Now().UTC(),
	}
}

func newNonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// receiptsAtOnce is how many receipts are on their way to the queue at once.
const receiptsAtOnce = 16

// Receipts stores the furthest that each job has come by these receipts, and returns when all are stored, or with what
// kept them from it when ctx ended. A receipt may come before the send has returned.
func (s *Sender) Receipts(ctx context.Context, receipts []job.Receipt) error {
	furthest := make(map[job.ID]job.Receipt, len(receipts))
	for _, r := range receipts {
		if r.State.Rank() > furthest[r.Job].State.Rank() {
			furthest[r.Job] = r
		}
	}
	var storing errgroup.Group
	storing.SetLimit(receiptsAtOnce)
	for _, r := range furthest {
		storing.Go(func() error { return s.receipt(ctx, r) })
	}
	return storing.Wait()
}

func (s *Sender) receipt(ctx context.Context, r job.Receipt) error {
	known := s.recent.get(r.Job)
	if known.rank >= r.State.Rank() {
		return nil // a receipt that came late, or twice
	}
	st := s.status(job.Envelope{ID: r.Job, Pool: r.Pool}, r.State)
	st.At = r.At.UTC()
	if err := s.raise(ctx, st, known.seq); err != nil {
		return fmt.Errorf("store receipt of job %s: %w", r.Job, err)
	}
	s.cfg.Logger.Debug("receipt stored", "job", r.Job, "state", r.State)
	return nil
}

// raise stores a status that is certain, until it is stored or ctx ends: the queue may be away for a while.
func (s *Sender) raise(ctx context.Context, st job.Status, guess uint64) error {
	for try := 1; ; try++ {
		seq, raised, err := job.Raise(ctx, s.cfg.Log, st, guess)
		if err == nil {
			if raised {
				s.recent.put(st.Job, mark{seq: seq, rank: st.State.Rank()})
			}
			return nil
		}
		guess = 0 // it may have been stored all the same
		if werr := pause(ctx, backoff(try)); werr != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
