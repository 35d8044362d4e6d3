package otp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"wabek/internal/job"
	"wabek/internal/phone"
)

// NotOpenError says why nothing more can be done with an OTP.
type NotOpenError struct {
	Verdict Verdict // Expired, WasSuperseded, TooManyAttempts or AlreadyUsed
	Sends   bool    // it is open, and has had MaxSends messages
}

// Error says why.
func (e *NotOpenError) Error() string {
	if e.Sends {
		return fmt.Sprintf("OTP has had its %d messages", MaxSends)
	}
	return "OTP is not open: " + e.Verdict.Reason()
}

var (
	// errMoved says that a record was changed between two steps of ours.
	errMoved = errors.New("OTP record has moved on")
	// errUnfit says that an OTP is open, but that its message can't be what was asked for now.
	errUnfit = errors.New("the open OTP's message does not fit")
)

// open says whether a record can still be used, to its own app: ErrNoRecord or a *NotOpenError where it can't.
func (r *Record) open(app string, now time.Time) error {
	switch {
	case r.App != app, r.State == Cancelled:
		return ErrNoRecord
	case r.expired(now):
		return &NotOpenError{Verdict: Expired}
	case r.State == Superseded:
		return &NotOpenError{Verdict: WasSuperseded}
	case r.Locked():
		return &NotOpenError{Verdict: TooManyAttempts}
	case r.State == Used:
		return &NotOpenError{Verdict: AlreadyUsed}
	}
	return nil
}

// Again asks for another message with the code of an open OTP.
type Again struct {
	App    string
	ID     ID
	Limits Limits
	Once   *Idempotency
	Answer func(Issued) []byte
}

// Resend sends the code of an open OTP once more, under a WhatsApp id of its own, so that the phone shows it. An earlier
// message of it that still waits is cancelled. The code lives no longer for it. Errors: ErrNoRecord, also for an OTP of
// another app; *NotOpenError; *LimitError; those of Store.Update.
func (s *Service) Resend(ctx context.Context, a Again) (Issued, error) {
	var once *Once
	if a.Once != nil {
		once = NewOnce(s.ring, a.App, OpResend, a.Once.Key, a.Once.Content)
	}
	out, err := s.resend(ctx, a, once, func(*Record) bool { return true })
	if err != nil {
		return Issued{}, fmt.Errorf("resend OTP: %w", err)
	}
	return out, nil
}

// resendOpen sends the open OTP of a request's app, phone and purpose again, and says which it found. One for a test
// number doesn't fit an ordinary request, nor one with another code than the caller brings.
func (s *Service) resendOpen(ctx context.Context, r Request) (Issued, ID, error) {
	id, err := s.store.Latest(ctx, r.App, r.Phone.Hash(s.ring.PhoneHashKey()), r.Purpose)
	if err != nil {
		return Issued{}, ID{}, fmt.Errorf("issue OTP: %w", err)
	}
	var once *Once
	if r.Once != nil {
		once = NewOnce(s.ring, r.App, OpIssue, r.Once.Key, r.Once.Content)
	}
	fits := func(old *Record) bool {
		return old.Test() == r.Test && (r.Code == "" || old.Digest.matches(s.ring, old.ID, r.Code))
	}
	out, err := s.resend(ctx, Again{App: r.App, ID: id, Limits: r.Limits, Answer: r.Answer}, once, fits)
	if err != nil {
		return Issued{}, id, fmt.Errorf("issue OTP: %w", err)
	}
	return out, id, nil
}

func (s *Service) resend(ctx context.Context, a Again, once *Once, fits func(*Record) bool) (Issued, error) {
	for {
		old, next, envelope, err := s.nextMessage(ctx, a, fits)
		if err != nil {
			// The client may be repeating the very request that was the last to succeed.
			if once != nil {
				err = cmp.Or(s.store.Answered(ctx, once), err)
			}
			return Issued{}, err
		}
		out := issued(next)
		if once != nil {
			answer := a.Answer(out)
			once.Answer = func() []byte { return answer }
		}
		err = s.store.Update(ctx, a.ID, Change{Once: once, Job: envelope, Rule: func(r *Record, h *History) error {
			now := s.now()
			if err := r.open(a.App, now); err != nil {
				return err
			}
			switch {
			case r.Sends != old.Sends:
				return errMoved
			case r.Test():
				return nil
			}
			if err := a.Limits.send(*h, now); err != nil {
				return err
			}
			r.Sends, r.LastSend, r.Sealed = next.Sends, now.Truncate(time.Millisecond), next.Sealed
			r.Delivery, r.Reason = job.Queued, ""
			r.SentAt, r.DeliveredAt, r.ReadAt, r.EndedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
			return nil
		}})
		if !errors.Is(err, errMoved) {
			return out, err
		}
	}
}

// nextMessage is a record as it is, as it will be with one more message, and the job of that; the job is nil for a test
// number.
func (s *Service) nextMessage(ctx context.Context, a Again, fits func(*Record) bool) (old, next Record, e *job.Envelope, err error) {
	if old, err = s.store.Get(ctx, a.ID); err != nil {
		return old, old, nil, err
	}
	next = old
	switch err = old.open(a.App, s.now()); {
	case err != nil:
		return old, next, nil, err
	case !fits(&old):
		return old, next, nil, errUnfit
	case old.Test():
		return old, next, nil, nil
	case old.Sends >= MaxSends:
		return old, next, nil, &NotOpenError{Sends: true}
	}
	body, err := job.Open(s.sealer, job.Envelope{ID: old.JobID(), Lane: job.LaneOTP, Pool: old.Pool, Sealed: old.Sealed})
	if err != nil { // sealed under a secret that is gone by now
		return old, next, nil, fmt.Errorf("%w: %w", errUnfit, err)
	}
	next.Sends++
	next.Delivery = job.Queued
	envelope, err := s.seal(&next, body)
	next.Sealed = envelope.Sealed
	return old, next, &envelope, err
}

// Cancel withdraws an open OTP: its code is worth nothing from now on, and a message that wasn't sent yet isn't. Whether
// it was shows in its delivery state. Cancelling twice is no error. Errors: ErrNoRecord, also for an OTP of another app;
// *NotOpenError; those of Store.Update.
func (s *Service) Cancel(ctx context.Context, app string, id ID) (Record, error) {
	var out Record
	err := s.store.Update(ctx, id, Change{Rule: func(r *Record, _ *History) error {
		if r.App == app && r.State == Cancelled {
			out = *r
			return nil
		}
		if err := r.open(app, s.now()); err != nil {
			return err
		}
		r.State, r.Sealed = Cancelled, nil
		out = *r
		return nil
	}})
	if err != nil {
		return Record{}, fmt.Errorf("cancel OTP: %w", err)
	}
	return out, nil
}

// Answered gives the answer that an operation of an app had under an idempotency key, as an error; for whoever is about
// to refuse a request that may have been answered before. Errors: those of Store.Answered.
func (s *Service) Answered(ctx context.Context, app, operation string, once *Idempotency) error {
	if once == nil {
		return nil
	}
	return s.store.Answered(ctx, NewOnce(s.ring, app, operation, once.Key, once.Content))
}

// Unlock ends a phone's row of wrong codes, so that codes are sent to it and tried for it again. Errors: those of
// Store.Forgive.
func (s *Service) Unlock(ctx context.Context, app string, number phone.Number) error {
	if err := s.store.Forgive(ctx, app, number.Hash(s.ring.PhoneHashKey())); err != nil {
		return fmt.Errorf("unlock phone: %w", err)
	}
	return nil
}

// Find reads an OTP of an app. Errors: ErrNoRecord, also for one of another app, and those of Store.Get.
func (s *Service) Find(ctx context.Context, app string, id ID) (Record, error) {
	r, err := s.store.Get(ctx, id)
	if err == nil && r.App != app {
		err = ErrNoRecord
	}
	if err != nil {
		return Record{}, fmt.Errorf("find OTP: %w", err)
	}
	return r, nil
}
