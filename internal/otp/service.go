// Package otp is the domain: issuing one-time passwords and verifying them, each at most once.
//
// In: a phone number and a purpose, or an id and a code. Out: a durable record and a sealed send job, or a
// verdict. On failure: a refusal of the rules as a typed error, a failure of the store as the store's.
package otp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
)

// Bounds of the policy. NIST SP 800-63B section 5.1.3.2 lets an out-of-band secret live 10 minutes at most;
// a longer life is possible here and warned of.
const (
	MinExpiry         = time.Minute
	MaxExpiry         = 60 * time.Minute
	RecommendedExpiry = 10 * time.Minute
	MinAttempts       = 1
	MaxAttempts       = 10
)

// DefaultApp is the app of a wabek that has just one.
const DefaultApp = "default"

// Policy is how an app's OTPs are made.
type Policy struct {
	Length      int           // digits, MinLength to MaxLength
	Expiry      time.Duration // MinExpiry to MaxExpiry
	MaxAttempts int           // wrong codes after which an OTP is locked, MinAttempts to MaxAttempts
}

// Validate says what is wrong with a policy.
func (p Policy) Validate() error {
	switch {
	case p.Length < MinLength || p.Length > MaxLength:
		return fmt.Errorf("OTP length %d is not within %d to %d digits", p.Length, MinLength, MaxLength)
	case p.Expiry < MinExpiry || p.Expiry > MaxExpiry:
		return fmt.Errorf("OTP expiry %v is not within %v to %v", p.Expiry, MinExpiry, MaxExpiry)
	case p.MaxAttempts < MinAttempts || p.MaxAttempts > MaxAttempts:
		return fmt.Errorf("%d OTP attempts are not within %d to %d", p.MaxAttempts, MinAttempts, MaxAttempts)
	}
	return nil
}

// Service issues and verifies OTPs.
type Service struct {
	store  Store
	ring   *keys.Ring
	sealer job.Sealer
	policy Policy
	random io.Reader
	now    func() time.Time
}

// NewService makes a Service. random is crypto/rand.Reader; now is the clock. The policy must be valid.
func NewService(store Store, ring *keys.Ring, sealer job.Sealer, policy Policy, random io.Reader, now func() time.Time) (*Service, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	return &Service{store: store, ring: ring, sealer: sealer, policy: policy, random: random, now: now}, nil
}

// Request asks for an OTP.
type Request struct {
	App     string
	Pool    string
	Phone   phone.Number
	Purpose string
}

// Issued is an OTP that will be delivered.
type Issued struct {
	ID      ID
	Expires time.Time
}

// Issue makes an OTP, stores it and leaves its delivery to the queue. It supersedes the open one of the same
// app, phone and purpose. Errors are those of Store.Issue.
func (s *Service) Issue(ctx context.Context, r Request) (Issued, error) {
	draft, err := s.draft(r)
	if err != nil {
		return Issued{}, fmt.Errorf("issue OTP: %w", err)
	}
	if err := s.store.Issue(ctx, draft, admit(draft.Record)); err != nil {
		return Issued{}, fmt.Errorf("issue OTP: %w", err)
	}
	return Issued{ID: draft.Record.ID, Expires: draft.Record.Expires}, nil
}

// draft does all that is costly, the drawing, hashing and sealing, outside of the store's transaction.
func (s *Service) draft(r Request) (Draft, error) {
	now := s.now().Truncate(time.Millisecond)
	id, err := NewID(now, s.random)
	if err != nil {
		return Draft{}, err
	}
	code, err := NewCode(s.random, s.policy.Length)
	if err != nil {
		return Draft{}, err
	}
	expires := now.Add(s.policy.Expiry)
	jobID := job.ID(id.String())
	envelope, err := job.Seal(s.sealer, jobID, job.LaneOTP, r.Pool, job.Body{
		To: r.Phone, Text: messageText(code, s.policy.Expiry), MessageID: s.ring.MessageID(string(jobID)), Expires: expires,
	})
	if err != nil {
		return Draft{}, err
	}
	return Draft{
		Record: Record{
			ID: id, App: r.App, Pool: r.Pool, Phone: r.Phone.Hash(s.ring.PhoneHashKey()), Masked: r.Phone.Masked(),
			Purpose: r.Purpose, Digest: newDigest(s.ring, id, code), Expires: expires,
			MaxAttempts: uint8(s.policy.MaxAttempts), //nolint:gosec // at most MaxAttempts
			Delivery:    job.Queued, Sealed: envelope.Sealed,
		},
		Job: envelope,
	}, nil
}

// admit is the rule of issuing: the new OTP takes the place of the open one.
func admit(r Record) Admit {
	return func(History) (History, error) {
		return History{Open: r.ID, Expires: r.Expires}, nil
	}
}

// messageText is what the phone shows: the code on a line of its own, so that it can be copied, how long
// it lives, and the warning that NIST and OWASP ask for.
func messageText(code string, life time.Duration) string {
	unit := "minutes"
	if life == time.Minute {
		unit = "minute"
	}
	return fmt.Sprintf("Your verification code:\n\n%s\n\nValid for %d %s. Do not share it with anyone.", code, int(life.Minutes()), unit)
}

// Verify tries a code. A right code is Valid at most once, however many tries race and whatever crashes;
// a wrong one counts durably before the verdict is returned. An OTP of another app is NotFound.
func (s *Service) Verify(ctx context.Context, app string, id ID, code string) (Verdict, error) {
	var verdict Verdict
	err := s.store.Update(ctx, id, func(r *Record) error {
		verdict = r.Verify(s.ring, app, code, s.now())
		return nil
	})
	switch {
	case errors.Is(err, ErrNoRecord):
		return NotFound, nil
	case err != nil:
		return NotFound, fmt.Errorf("verify OTP: %w", err)
	}
	return verdict, nil
}
