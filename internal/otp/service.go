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

// Sealer seals the bodies of jobs, and opens those of open OTPs again for another message. *keys.SealKeys does.
type Sealer interface {
	job.Sealer
	job.Opener
}

// Service issues and verifies OTPs.
type Service struct {
	store  Store
	ring   *keys.Ring
	sealer Sealer
	policy Policy
	random io.Reader
	now    func() time.Time
}

// NewService makes a Service. policy holds for requests that bring none and must be valid. random is
// crypto/rand.Reader; now is the clock.
func NewService(store Store, ring *keys.Ring, sealer Sealer, policy Policy, random io.Reader, now func() time.Time) (*Service, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	return &Service{store: store, ring: ring, sealer: sealer, policy: policy, random: random, now: now}, nil
}

// Text writes the message that carries a code which lives so long. Its error refuses the OTP.
type Text func(code string, life time.Duration) (string, error)

// Idempotency is what a client says of a request that it may send again.
type Idempotency struct {
	Key     string // 1 to 255 printable ASCII characters
	Content []byte // of the request: the same bytes for the same request
}

// Request asks for an OTP.
type Request struct {
	App      string
	Pool     string
	Phone    phone.Number
	Purpose  string
	Policy   Policy // valid; zero: the service's own
	Limits   Limits
	Text     Text   // nil: a plain English one
	Metadata []byte // a JSON object, or empty
	Code     string // the caller's own code; empty draws one
	Test     bool   // the number is a test number: nothing is sent
	Resend   bool   // an open OTP of the same app, phone and purpose is sent again, instead of superseded, unless Code is another
	// Once is nil where the client gave no key. Answer writes what is remembered under it.
	Once   *Idempotency
	Answer func(Issued) []byte
}

// Issued is an OTP that will be delivered.
type Issued struct {
	ID       ID
	Expires  time.Time
	To       string    // masked
	Delivery job.State // queued, or what is known of a message that was sent before
	Test     bool
}

func issued(r Record) Issued {
	return Issued{ID: r.ID, Expires: r.Expires, To: r.Masked, Delivery: r.Delivery, Test: r.Test()}
}

// Issue makes an OTP, stores it and leaves its delivery to the queue. It supersedes the open one of the same
// app, phone and purpose, or sends that again where the request says so. Errors are those of Store.Issue, of the
// request's text, and *LimitError.
func (s *Service) Issue(ctx context.Context, r Request) (Issued, error) {
	if r.Policy == (Policy{}) {
		r.Policy = s.policy
	}
	if r.Text == nil {
		r.Text = plainText
	}
	for {
		var past ID // an OTP that can't be sent again: another may take its place
		if r.Resend {
			again, id, err := s.resendOpen(ctx, r)
			if !errors.Is(err, ErrNoRecord) && !errors.Is(err, errUnfit) && !errors.As(err, new(*NotOpenError)) {
				return again, err
			}
			past = id
		}
		draft, err := s.draft(r)
		if err != nil {
			return Issued{}, fmt.Errorf("issue OTP: %w", err)
		}
		out := issued(draft.Record)
		if draft.Once != nil {
			answer := r.Answer(out) // not in the transaction: others wait for that
			draft.Once.Answer = func() []byte { return answer }
		}
		err = s.store.Issue(ctx, draft, admit(r, draft.Record, past, s.now()))
		switch {
		case err == nil:
			return out, nil
		case !errors.Is(err, errOpenNow):
			return Issued{}, fmt.Errorf("issue OTP: %w", err)
		}
	}
}

// draft does all that is costly, the drawing, hashing and sealing, outside of the store's transaction.
func (s *Service) draft(r Request) (Draft, error) {
	now := s.now().Truncate(time.Millisecond)
	id, err := NewID(now, s.random)
	if err != nil {
		return Draft{}, err
	}
	code := r.Code
	if code == "" {
		if code, err = NewCode(s.random, r.Policy.Length); err != nil {
			return Draft{}, err
		}
	}
	d := Draft{Record: Record{
		ID: id, App: r.App, Pool: r.Pool, Phone: r.Phone.Hash(s.ring.PhoneHashKey()), Masked: r.Phone.Masked(),
		Purpose: r.Purpose, Digest: newDigest(s.ring, id, code), Expires: now.Add(r.Policy.Expiry),
		MaxAttempts: uint8(r.Policy.MaxAttempts), //nolint:gosec // at most MaxAttempts
		Delivery:    job.Queued, Metadata: r.Metadata,
	}}
	if r.Once != nil {
		d.Once = NewOnce(s.ring, r.App, OpIssue, r.Once.Key, r.Once.Content)
	}
	if r.Test {
		return d, nil
	}
	text, err := r.Text(code, r.Policy.Expiry)
	if err != nil {
		return Draft{}, err
	}
	d.Record.Sends = 1
	d.Job, err = s.seal(&d.Record, job.Body{To: r.Phone, Text: text})
	d.Record.Sealed = d.Job.Sealed
	return d, err
}

// seal makes the job of a record's latest message.
func (s *Service) seal(r *Record, b job.Body) (job.Envelope, error) {
	id := r.JobID()
	b.MessageID, b.Expires = s.ring.MessageID(string(id)), r.Expires
	return job.Seal(s.sealer, id, job.LaneOTP, r.Pool, b)
}

// plainText is what the phone shows: the code on a line of its own, so that it can be copied, how long it lives, and
// the warning that NIST and OWASP ask for.
func plainText(code string, life time.Duration) (string, error) {
	unit := "minutes"
	if life == time.Minute {
		unit = "minute"
	}
	return fmt.Sprintf("Your verification code:\n\n%s\n\nValid for %d %s. Do not share it with anyone.", code, int(life.Minutes()), unit), nil
}

// errOpenNow says that an OTP was opened between the look for one and the issuing of another.
var errOpenNow = errors.New("an OTP is open by now")

// admit is the rule of issuing: within the limits, the new OTP takes the place of the open one. Where an open one is to be
// sent again instead, only past may be open: one that is locked, has had all of its messages, or doesn't fit.
func admit(q Request, r Record, past ID, now time.Time) Admit {
	return func(h History) (History, error) {
		if q.Resend && h.Open != (ID{}) && h.Open != past {
			return h, errOpenNow
		}
		if !r.Test() {
			if err := q.Limits.send(h, now); err != nil {
				return h, err
			}
		}
		return History{Open: r.ID, Expires: r.Expires}, nil
	}
}

// Try is a try at an OTP.
type Try struct {
	App     string
	ID      ID           // zero: the latest of the phone and purpose
	Phone   phone.Number // zero: not looked at
	Purpose string       // empty: not looked at
	Code    string
	Limits  Limits
	Once    *Idempotency
	Answer  func(Tried) []byte
}

// concerns says whether a record is the one that is tried, as far as the caller said.
func (t *Try) concerns(r *Record, ring *keys.Ring) bool {
	return r.App == t.App && (t.Purpose == "" || r.Purpose == t.Purpose) &&
		(t.Phone.IsZero() || r.Phone == t.Phone.Hash(ring.PhoneHashKey()))
}

// Tried is the outcome of a try.
type Tried struct {
	ID       ID // of the OTP; zero where there is none
	Verdict  Verdict
	Attempts int  // tries that are left; meaningful after Wrong
	Test     bool // the OTP is a test number's
}

// Verify tries a code. A right code is Valid at most once, however many tries race and whatever crashes;
// a wrong one counts durably before the verdict is returned. An OTP of another app is NotFound. Errors are those of
// Store.Update, and *LimitError.
func (s *Service) Verify(ctx context.Context, t Try) (Tried, error) {
	id := t.ID
	if id == (ID{}) {
		latest, err := s.store.Latest(ctx, t.App, t.Phone.Hash(s.ring.PhoneHashKey()), t.Purpose)
		switch {
		case errors.Is(err, ErrNoRecord):
			// The one that this very try may have used up has expired since: its verdict is remembered for longer.
			if err := s.Answered(ctx, t.App, OpVerify, t.Once); err != nil {
				return Tried{}, fmt.Errorf("verify OTP: %w", err)
			}
			return Tried{}, nil
		case err != nil:
			return Tried{}, fmt.Errorf("verify OTP: %w", err)
		}
		id = latest
	}
	out := Tried{ID: id}
	change := Change{Rule: func(r *Record, h *History) (err error) {
		out.Verdict, err = r.Verify(s.ring, t, h, s.now())
		if out.Test = r.Test(); out.Verdict == Wrong {
			out.Attempts = int(r.MaxAttempts) - int(r.Attempts)
		}
		return err
	}}
	if t.Once != nil {
		change.Once = NewOnce(s.ring, t.App, OpVerify, t.Once.Key, t.Once.Content)
		change.Once.Answer = func() []byte { return t.Answer(out) }
	}
	err := s.store.Update(ctx, id, change)
	switch {
	case errors.Is(err, ErrNoRecord):
		return Tried{}, nil
	case err != nil:
		return Tried{}, fmt.Errorf("verify OTP: %w", err)
	}
	return out, nil
}
