// Package whmcs turns events of WHMCS into notices for its clients.
//
// In: hooks of WHMCS installs, an app each; what their APIs say; who wants no notices. Out: events on stable storage,
// then in the queue; jobs of the notice lane, on the outbox of the records.
// On failure: an event waits, for a WHMCS that is away up to a week; what can never be sent is kept with its reason.
//
// Crash sequences: an event is answered for once it is stored, so a crash before leaves nothing and the hook tries again,
// which is the same occurrence. A crash before the event is in the queue leaves it among the unresolved, which are put there
// at the next start. A crash while it is resolved leaves it in the queue; a crash after its job was stored and before the
// queue heard of it hands it out again, and it is seen to be resolved. Job and notice change in one transaction.
package whmcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wabek/internal/job"
	"wabek/internal/notice"
	"wabek/internal/phone"
)

const (
	// OccurrenceLife is how long an occurrence is remembered, and its notice with it: longer than a month's billing run
	// and the one that mends it.
	OccurrenceLife = 35 * 24 * time.Hour
	// EventLife is how long an event may wait for its WHMCS, or for its turn.
	EventLife = 7 * 24 * time.Hour
	// MostSends bounds how many messages a notice may have.
	MostSends = 10
)

// App is what this package must know of an app.
type App struct {
	Name    string
	Title   string // the company, as notices name it
	Pool    string
	Country string // whose numbers may come without a country code; empty for none
	Locale  string
	Paused  bool                     // its events wait
	SendsTo func(region string) bool // nil: everywhere
}

// Apps knows apps.
type Apps interface {
	// WHMCSApp is an app by its name; false where there is none.
	WHMCSApp(name string) (App, bool)
	// Changed is closed at the next change of any app.
	Changed() <-chan struct{}
}

// Queue holds the events that wait.
type Queue interface {
	// PutEvent stores an event without waiting, and calls done exactly once: with taken where it is new there.
	PutEvent(ctx context.Context, app, id string, data []byte, done func(taken bool, err error))
	// OpenEvents opens the source of an app's events.
	OpenEvents(app string) (Source, error)
	// Connected says whether the queue can be reached, and how often it has been reached anew.
	Connected() (up bool, times uint64)
}

// Source hands out the events of one app.
type Source interface {
	Next(ctx context.Context) (Delivery, error)
	Close() error
}

// Delivery is an event handed out. The first of Ack and Later that succeeds ends it.
type Delivery interface {
	ID() string
	Ack() error
	Later(after time.Duration) error
}

// Texts writes notices; notice.Texts does.
type Texts interface {
	Actions() []string
	Render(r notice.Request) (string, error)
}

// Config is what a Service needs; all of it but the numbers.
type Config struct {
	Store     Store
	Documents Documents
	Queue     Queue
	Apps      Apps
	Texts     Texts
	Outbound  Outbound
	Sealer    Sealer
	PhoneKey  phone.Keyed             // keys the hashes of numbers
	MessageID func(job string) string // the WhatsApp id of a job
	// Released counts the notices whose jobs are on the outbox or in the queue. While there are as many as Window no event is
	// resolved, so that a month's invoices wait here, where they can be paused, and not in front of a sender.
	Released, Window func() int64
	Now              func() time.Time
	Logger           *slog.Logger

	Asking int           // events of one app being resolved at once (8)
	Life   time.Duration // of a notice once it is released (12 h)
}

// Service accepts events and, while Run runs, resolves them.
type Service struct {
	cfg      Config
	access   *accesses
	feed     *feed
	mu       sync.Mutex
	installs map[string]*install // by app; gone where its access changes
}

// New makes a Service and reads how the apps' installs are asked.
func New(ctx context.Context, cfg Config) (*Service, error) {
	orDefault(&cfg.Asking, 8)
	orDefault(&cfg.Life, 12*time.Hour)
	access, err := openAccesses(ctx, cfg.Documents, cfg.Sealer)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, access: access, feed: newFeed(cfg), installs: map[string]*install{}}, nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Actions lists those that can be announced, sorted.
func (s *Service) Actions() []string { return s.cfg.Texts.Actions() }

// Accept stores what happened in an app's WHMCS. It returns the id of its notice, and known where it was told before. The
// errors are the store's.
func (s *Service) Accept(ctx context.Context, app string, h Hook) (id ID, known bool, err error) {
	now := s.cfg.Now()
	if id, err = NewID(); err != nil {
		return id, false, fmt.Errorf("accept event: %w", err)
	}
	n := Notice{
		ID: id, App: app, Action: h.Action, Type: string(h.Type), User: int64(h.User), Invoice: int64(h.Invoice), Ticket: int64(h.Ticket),
		Reply: int64(h.Reply), Service: int64(h.Service), Domain: int64(h.Domain), State: Accepted, Updated: now.UTC(),
		Occurrence: h.occurrence(app, now),
	}
	if n.Sealed, err = s.seal(id, h); err != nil {
		return id, false, err
	}
	first, known, err := s.cfg.Store.AcceptNotice(ctx, n)
	if err != nil || known {
		return first, known, err
	}
	s.feed.offer(Waiting{ID: id, App: app})
	return id, false, nil
}

func (s *Service) seal(id ID, h Hook) ([]byte, error) {
	plain, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("seal event: %w", err)
	}
	sealed, err := s.cfg.Sealer.Seal(sealedFor, bindEvent(id), plain)
	if err != nil {
		return nil, fmt.Errorf("seal event: %w", err)
	}
	return sealed, nil
}

func (s *Service) open(n *Notice) (h Hook, err error) {
	plain, err := s.cfg.Sealer.Open(sealedFor, bindEvent(n.ID), n.Sealed)
	if err != nil {
		return h, fmt.Errorf("open event: %w", err)
	}
	if json.Unmarshal(plain, &h) != nil {
		return h, errors.New("open event: malformed") // the cause would quote it
	}
	return h, nil
}

func bindEvent(id ID) []byte { return []byte("wabek event/" + id.String()) }

// Find is a notice of an app. Errors: ErrNoNotice, and the store's.
func (s *Service) Find(ctx context.Context, app string, id ID) (Notice, error) {
	n, err := s.cfg.Store.Notice(ctx, id)
	if err == nil && n.App != app {
		return Notice{}, ErrNoNotice
	}
	return n, err
}

// List lists notices, the latest first; next is where to go on, zero at the end. The errors are the store's.
func (s *Service) List(ctx context.Context, q Query) (list []Notice, next ID, err error) {
	return s.cfg.Store.Notices(ctx, q)
}

// Resend sends a notice once more, as it was written. Errors: ErrNoNotice, ErrNotResendable, and the store's.
func (s *Service) Resend(ctx context.Context, app string, id ID) (Notice, error) {
	n, err := s.Find(ctx, app, id)
	if err != nil {
		return n, err
	}
	of, ok := s.cfg.Apps.WHMCSApp(app)
	if !ok || n.Sends == 0 {
		return n, ErrNotResendable
	}
	body, err := job.Open(s.cfg.Sealer, n.Job())
	if err != nil {
		return n, ErrNotResendable
	}
	out, err := s.cfg.Store.OptedOut(ctx, of.Pool, body.To.Hash(s.cfg.PhoneKey))
	switch {
	case err != nil:
		return n, err
	case out:
		return n, fmt.Errorf("%w: its client has asked for no more", ErrNotResendable)
	}
	sends := n.Sends
	var again Notice
	err = s.cfg.Store.ChangeNotice(ctx, id, func(is *Notice) error {
		if is.Sends != sends || !is.Settled() || is.Sends >= MostSends {
			return ErrNotResendable
		}
		err := s.release(is, of.Pool, body.To, body.Text)
		again = *is
		return err
	})
	if err != nil {
		return n, err
	}
	return again, nil
}

// release gives a notice its next job.
func (s *Service) release(n *Notice, pool string, to phone.Number, text string) error {
	n.Sends++
	n.Pool, n.To, n.State, n.Reason = pool, to.Masked(), Queued, ""
	n.Updated = s.cfg.Now().UTC()
	n.Expires = n.Updated.Add(s.cfg.Life).Truncate(time.Millisecond)
	n.SentAt, n.DeliveredAt, n.ReadAt = time.Time{}, time.Time{}, time.Time{}
	id := JobID(n.ID, n.Sends)
	e, err := job.Seal(s.cfg.Sealer, id, job.LaneNotice, pool, job.Body{
		To: to, Text: text, MessageID: s.cfg.MessageID(string(id)), Expires: n.Expires,
	})
	if err != nil {
		return err
	}
	n.Sealed = e.Sealed
	return nil
}

// Access is how an app's WHMCS is asked, but for its secrets. Errors: ErrNoAccess.
func (s *Service) Access(app string) (Access, error) {
	one, ok := s.access.of(app)
	if !ok {
		return Access{}, ErrNoAccess
	}
	return one, nil
}

// SetAccess says how an app's WHMCS is asked from now on. The errors are the store's.
func (s *Service) SetAccess(ctx context.Context, app string, one Access) error {
	if err := s.access.set(ctx, app, one); err != nil {
		return err
	}
	s.forgetInstall(app)
	return nil
}

// DropAccess forgets how an app's WHMCS is asked. The errors are the store's.
func (s *Service) DropAccess(ctx context.Context, app string) error {
	if err := s.access.drop(ctx, app); err != nil {
		return err
	}
	s.forgetInstall(app)
	return nil
}

func (s *Service) forgetInstall(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.installs, app)
}

// installOf is what asks an app's WHMCS; nil where there is none.
func (s *Service) installOf(app string) *install {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.installs[app]; w != nil {
		return w
	}
	one, ok := s.access.of(app)
	if !ok {
		return nil
	}
	w := newInstall(s.cfg.Outbound, one, s.cfg.Now)
	s.installs[app] = w
	return w
}

// SetOptOut notes that who has a number wants no notices from a pool's sessions, or wants them again. The errors are the
// store's.
func (s *Service) SetOptOut(ctx context.Context, pool string, number phone.Number, out bool, at time.Time) error {
	return s.cfg.Store.SetOptOut(ctx, pool, number.Hash(s.cfg.PhoneKey), out, at)
}
