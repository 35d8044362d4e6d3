package whmcs

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"wabek/internal/job"
	"wabek/internal/phone"
)

// Errors of a Store, and of what looks into one.
var (
	// ErrNoNotice says that there is no notice of an id, or that it is another app's.
	ErrNoNotice = errors.New("no such notice")
	// ErrNotResendable says that a notice can't be sent again: it never was, is on its way, or its text is gone.
	ErrNotResendable = errors.New("the notice can't be sent again")
)

// ID names an event of WHMCS and the notice that it becomes: a UUID of version 7 (RFC 9562), so that ids sort by time.
type ID uuid.UUID

// NewID draws an id.
func NewID() (ID, error) {
	id, err := uuid.NewV7()
	return ID(id), err
}

// ParseID reads an id as String writes it.
func ParseID(s string) (ID, bool) {
	const length = 36
	id, err := uuid.Parse(s)
	return ID(id), err == nil && len(s) == length && id != uuid.Nil
}

// String writes a UUID in its usual form.
func (id ID) String() string { return uuid.UUID(id).String() }

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error { return (*uuid.UUID)(id).UnmarshalText(text) }

// Time is when the id was drawn, to the millisecond (RFC 9562 section 5.7).
func (id ID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))) //nolint:gosec // 48 bits fit
}

// jobPrefix begins the ids of the jobs of notices, which those of OTPs don't.
const jobPrefix = "n-"

// JobID names the nth message of a notice, from 1: n-<id>, n-<id>-2, … It hangs on the event alone, so an event that is
// resolved twice makes one job.
func JobID(id ID, n int) job.ID {
	if n <= 1 {
		return job.ID(jobPrefix + id.String())
	}
	return job.ID(jobPrefix + id.String() + "-" + strconv.Itoa(n))
}

// ParseJobID reads what JobID wrote; false for a job of something else.
func ParseJobID(j job.ID) (id ID, n int, ok bool) {
	const length = 36
	rest, ok := strings.CutPrefix(string(j), jobPrefix)
	if !ok || len(rest) < length {
		return ID{}, 0, false
	}
	if id, ok = ParseID(rest[:length]); !ok {
		return ID{}, 0, false
	}
	if rest = rest[length:]; rest == "" {
		return id, 1, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "-"))
	return id, n, err == nil && n > 1 && JobID(id, n) == j
}

// State is how far a notice has come. From Queued on it is the state of its job.
type State string

// The states before there is a job, and where there never is one.
const (
	Accepted State = "accepted" // stored; it waits to be resolved
	Skipped  State = "skipped"  // nobody is told, see the reason
	Failed   State = "failed"   // given up, by the resolver or a sender
)

// Queued is the state of a notice whose job waits for a sender.
const Queued = State(job.Queued)

// Reasons of Skipped and Failed, but for those of a send.
const (
	ReasonNoPhone        = "no_phone"            // the client has no number
	ReasonBadPhone       = "bad_phone"           // the client's number can't be read
	ReasonOptedOut       = "opted_out"           // the client has asked for no more
	ReasonUnknownClient  = "unknown_client"      // WHMCS knows neither client nor invoice
	ReasonNoAPI          = "no_whmcs_api"        // the event came without data, and the app has no WHMCS to ask
	ReasonNoText         = "no_text"             // the texts have nothing for it any more
	ReasonCountry        = "country_not_allowed" // the app doesn't send there
	ReasonNotUnderstood  = "unreadable"          // its stored data can't be opened
	ReasonWHMCSTooLong   = "whmcs_unreachable"   // WHMCS didn't answer for the whole of EventLife
	ReasonNothingTheSame = "app_deleted"         // its app is gone
)

// Notice is an event of WHMCS, and what has become of it.
type Notice struct {
	ID      ID     `json:"-"`
	App     string `json:"app"`
	Pool    string `json:"pool,omitempty"` // from Queued on
	Action  string `json:"action"`
	Type    string `json:"type,omitempty"` // of a reminder
	User    int64  `json:"user,omitempty"` // the client's id in WHMCS
	Invoice int64  `json:"invoice,omitempty"`
	Ticket  int64  `json:"ticket,omitempty"`
	Reply   int64  `json:"reply,omitempty"`
	Service int64  `json:"service,omitempty"`
	Domain  int64  `json:"domain,omitempty"`

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	To     string `json:"to,omitempty"` // masked
	Sends  int    `json:"sends,omitempty"`

	Updated     time.Time `json:"updated,omitzero"`
	SentAt      time.Time `json:"sent,omitzero"`
	DeliveredAt time.Time `json:"delivered,omitzero"`
	ReadAt      time.Time `json:"read,omitzero"`
	Expires     time.Time `json:"expires,omitzero"` // of the job

	Occurrence Occurrence `json:"occurrence"`
	// Sealed is the event's data while it waits to be resolved, from then on the body of its job. It holds what nobody
	// may read in a file: a number, a name, a text.
	Sealed []byte `json:"sealed,omitempty"`
}

// Job is the notice's job as the queue must get it.
func (n *Notice) Job() job.Envelope {
	return job.Envelope{
		ID: JobID(n.ID, n.Sends), Lane: job.LaneNotice, Pool: n.Pool, Target: job.AnySession, Expires: n.Expires, Sealed: n.Sealed,
	}
}

// Settled says whether nothing more is to be done: it was skipped or given up, or WhatsApp has it.
func (n *Notice) Settled() bool {
	return n.State == Skipped || n.State == Failed || job.State(n.State).Settled()
}

// Deliver folds a status of the notice's latest job in. It reports whether the notice has changed; it only ever rises.
func (n *Notice) Deliver(s job.Status) bool {
	_, nth, ok := ParseJobID(s.Job)
	if !ok || nth != n.Sends || s.State.Rank() <= job.State(n.State).Rank() {
		return false
	}
	n.State, n.Reason, n.Updated = State(s.State), string(s.Reason), s.At
	switch s.State { //nolint:exhaustive // the others have no time of their own
	case job.Sent:
		n.SentAt = s.At
	case job.Delivered:
		n.DeliveredAt = s.At
	case job.Read:
		n.ReadAt = s.At
	}
	return true
}

// Query says which notices of an app to list.
type Query struct {
	App    string
	Before ID // older than this one; zero for the latest
	Limit  int
	// What they must have; zero values are everything.
	User   int64
	Action string
	State  State
}

// Matches says whether a notice is one that is asked for.
func (q *Query) Matches(n *Notice) bool {
	return n.App == q.App && (q.User == 0 || n.User == q.User) && (q.Action == "" || n.Action == q.Action) && (q.State == "" || n.State == q.State)
}

// Store keeps notices; record/bolt does. What returns nil is on stable storage.
type Store interface {
	// AcceptNotice stores a notice that waits to be resolved, unless there is one of the same occurrence already: then it
	// returns that one's id, and true.
	AcceptNotice(ctx context.Context, n Notice) (first ID, known bool, err error)
	// Notice reads one. Errors: ErrNoNotice.
	Notice(ctx context.Context, id ID) (Notice, error)
	// ChangeNotice runs a rule on a notice, in the one order of all changes, and stores what it made of it. Where the rule
	// raises Sends, the notice's job is put on the outbox in the same transaction. Errors: ErrNoNotice, the rule's own.
	ChangeNotice(ctx context.Context, id ID, rule func(*Notice) error) error
	// Unresolved lists notices that wait to be resolved, by id, above after.
	Unresolved(ctx context.Context, after ID, limit int) ([]Waiting, error)
	// Notices lists those that a query is for, the latest first. next is where to go on, zero at the end; there may be
	// fewer than the limit, even none, before the end.
	Notices(ctx context.Context, q Query) (list []Notice, next ID, err error)
	// OptedOut says whether who has a number wants no notices from a pool's sessions.
	OptedOut(ctx context.Context, pool string, number phone.Hash) (bool, error)
	// SetOptOut notes that they want none, or that they want them again, unless something later is known of them.
	SetOptOut(ctx context.Context, pool string, number phone.Hash, out bool, at time.Time) error
}

// Waiting is an event that waits to be resolved.
type Waiting struct {
	ID  ID
	App string
}
