package sender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"wabek/internal/job"
	"wabek/internal/keys"
)

// Pauses before a job is handed out again.
const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// foreignPause is for a job that we can't open, but another sender may: one with the key, or a newer one.
	foreignPause = 15 * time.Second
)

// clockTolerance is how far the clocks of an API and a sender may differ before the absolute expiry in a sealed
// body cuts a job's life short. The exact life is the queue's; this one only bounds what a forged header can do.
const clockTolerance = time.Minute

// backoff doubles from half a second to half a minute, with a fifth of jitter.
func backoff(try int) time.Duration {
	d := maxBackoff
	if try < 7 {
		d = firstBackoff << max(try-1, 0)
	}
	return d - time.Duration(rand.Int64N(int64(d)/5)) //nolint:gosec // jitter needs no secret randomness
}

// deliver takes one job as far as it goes. An error leaves it unacknowledged.
//
// The order is the guarantee, each line's crash covered by the next delivery:
// claim (crash after: the claim names us, so the job comes back to this session) → send (crash after:
// the same, and the same WhatsApp id is sent again, which a phone shows once) → `sent` stored (crash after:
// the next delivery sees it and acknowledges) → acknowledge.
func (s *Sender) deliver(ctx context.Context, d Delivery) error {
	e := d.Job()
	if d.Left() <= 0 {
		return s.expire(ctx, d, 0)
	}
	body, err := job.Open(s.cfg.Opener, e)
	switch {
	case errors.Is(err, job.ErrNewerFormat), errors.Is(err, keys.ErrNoKey):
		s.cfg.Logger.Error("job can't be opened by this sender", "job", e.ID, "pool", e.Pool, "err", err)
		return d.Retry(foreignPause)
	case err != nil:
		s.cfg.Logger.Error("job is broken", "job", e.ID, "pool", e.Pool, "err", err)
		return s.giveUp(ctx, d, 0, job.ReasonUnreadable)
	}

	mine := s.status(e, job.Sending)
	mine.Nonce = newNonce()
	verdict, seq, owner, err := s.claim(ctx, d, &mine)
	if err != nil {
		return err
	}
	switch verdict {
	case isSettled:
		return d.Ack()
	case goesTo:
		return d.Forward(ctx, owner)
	case isStale:
		s.cfg.Logger.Warn("job is claimed under a later lease of this session", "job", e.ID)
		return d.Retry(firstBackoff)
	case isOurs, mayClaim:
	}
	s.recent.put(e.ID, mark{seq: seq, rank: job.Sending.Rank()})
	s.cfg.Logger.Debug("job claimed", "job", e.ID, "try", mine.Try)

	select {
	case s.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err = s.send(ctx, d, body)
	<-s.slot
	return s.conclude(ctx, d, mine, seq, err)
}

// errExpired says that a job's life ended while it waited for its turn.
var errExpired = errors.New("job has expired")

func (s *Sender) send(ctx context.Context, d Delivery, body job.Body) error {
	left := min(d.Left(), body.Expires.Add(clockTolerance).Sub(s.cfg.Now()))
	if left <= 0 {
		return errExpired
	}
	ctx, cancel := context.WithTimeout(ctx, min(left, s.cfg.SendTimeout))
	defer cancel()
	return s.cfg.Session.Send(ctx, Message{Job: d.Job(), Body: body})
}

// conclude stores what became of a claimed job and ends its delivery.
func (s *Sender) conclude(ctx context.Context, d Delivery, claim job.Status, seq uint64, sendErr error) error {
	e := d.Job()
	var f *job.Failure
	switch {
	case sendErr == nil:
		s.counts.sent.Add(1)
		if e.Lane == job.LaneNotice {
			s.counts.notices.Add(1)
		}
		s.cfg.Logger.Debug("message sent", "job", e.ID)
		if err := s.raise(ctx, s.status(e, job.Sent), seq); err != nil {
			return fmt.Errorf("message is sent: %w", err)
		}
		s.cfg.Logger.Debug("sent stored", "job", e.ID)
		return d.Ack()
	case errors.Is(sendErr, errExpired):
		return s.expire(ctx, d, seq)
	case !errors.As(sendErr, &f):
		f = &job.Failure{Class: job.UnknownOutcome, Reason: job.ReasonUnconfirmed, Err: sendErr}
	}
	s.cfg.Logger.Warn("message not sent", "job", e.ID, "session", claim.Session, "try", claim.Try,
		"class", f.Class.String(), "reason", f.Reason, "err", f.Err)
	switch f.Class {
	case job.RecipientFault, job.Poison:
		return s.giveUp(ctx, d, seq, f.Reason)
	case job.NotSent, job.SessionFault, job.OutdatedClient:
		// It surely didn't go out, so the claim is given back: any session may take it. If that can't be
		// stored, the job comes back to this session, which is slower and as safe.
		claim.Released, claim.Reason, claim.At = true, f.Reason, s.cfg.Now().UTC()
		if at, err := s.cfg.Log.Put(ctx, claim, seq); err == nil {
			s.recent.put(e.ID, mark{seq: at, rank: job.Sending.Rank()})
		}
	case job.UnknownOutcome:
	}
	return d.Retry(max(f.RetryAfter, backoff(claim.Try)))
}

// giveUp ends a job that no further try can help.
func (s *Sender) giveUp(ctx context.Context, d Delivery, seq uint64, reason job.Reason) error {
	e := d.Job()
	st := s.status(e, job.Failed)
	st.Reason = reason
	if err := s.raise(ctx, st, seq); err != nil {
		return err
	}
	s.counts.failed.Add(1)
	if err := s.cfg.Bury(ctx, e, reason); err != nil {
		return fmt.Errorf("bury job: %w", err)
	}
	return d.Drop(string(reason))
}

// expire ends a job whose life is over, over no status or over our own claim at seq. Where another session may
// have sent it, the API's side decides, in its own time.
func (s *Sender) expire(ctx context.Context, d Delivery, seq uint64) error {
	_, err := s.cfg.Log.Put(ctx, s.status(d.Job(), job.Expired), seq)
	if err != nil && !errors.Is(err, job.ErrConflict) {
		return fmt.Errorf("store expiry: %w", err)
	}
	return d.Drop(string(job.Expired))
}
