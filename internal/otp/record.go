package otp

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"

	"wabek/internal/job"
	"wabek/internal/phone"
)

// ID names an OTP: a UUID of version 7 (RFC 9562), whose first 48 bits are the time of issue in Unix
// milliseconds. Records sorted by id are sorted by age, which is worth a factor of ten to a B+tree.
// It is a name, not a secret: 74 bits of it are random.
type ID = uuid.UUID

// NewID makes the id of an OTP issued now.
func NewID(now time.Time, random io.Reader) (ID, error) {
	var id ID
	if _, err := io.ReadFull(random, id[6:]); err != nil {
		return ID{}, fmt.Errorf("draw id: %w", err)
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli())) // 48 bits last till the year 10889
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id, nil
}

// IssuedAt is the time in an id made by NewID, to the millisecond.
func IssuedAt(id ID) time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))) //nolint:gosec // 48 bits fit
}

// State is what may still be done with an OTP.
type State uint8

// The states of an OTP. That it has expired or is locked follows from the record's time and count.
const (
	Open       State = iota // it may be verified
	Used                    // it was verified, once
	Superseded              // a newer OTP of the same app, phone and purpose took its place
	Cancelled               // withdrawn
)

// Record is what is kept of an OTP. It holds neither the code nor the phone number in the clear.
// Times are whole milliseconds.
type Record struct {
	ID          ID
	App         string     // who issued it, and the only one who may verify it
	Pool        string     // whose sessions deliver it
	Phone       phone.Hash // for limits and superseding
	Masked      string     // the number as people may see it
	Purpose     string
	Digest      Digest
	Expires     time.Time
	Attempts    uint8 // wrong codes so far
	MaxAttempts uint8
	State       State
	UsedAt      time.Time // zero unless Used
	Sends       uint8     // messages sent for it, the first one included; 0 for a test number
	LastSend    time.Time // of the latest one after the first; zero where there is none
	Delivery    job.State // how far the latest message has come, as far as the record knows
	Reason      job.Reason
	SentAt      time.Time // when WhatsApp acknowledged the latest message; zero until then, as the next three
	DeliveredAt time.Time // when a device of the recipient had it
	ReadAt      time.Time
	EndedAt     time.Time // when it failed, expired or was cancelled unsent
	Metadata    []byte    // the caller's own, a JSON object; may be empty
	Sealed      []byte    // the body of its latest send job, until nobody can need it any more
}

// MaxSends is how many messages one OTP may have, the first one included.
const MaxSends = 10

// Test says that the OTP is for a test number: nothing is ever sent.
func (r *Record) Test() bool { return r.Sends == 0 }

// JobID is the id of the latest send job: the OTP's own for the first, with -2, -3 … behind it for later ones.
func (r *Record) JobID() job.ID { return jobID(r.ID, r.Sends) }

func jobID(id ID, n uint8) job.ID {
	if n < 2 {
		return job.ID(id.String())
	}
	return job.ID(id.String() + "-" + strconv.Itoa(int(n)))
}

// ParseJobID takes the id of a send job apart: of which OTP it is, and its how manieth. False where it is of none.
func ParseJobID(id job.ID) (ID, uint8, bool) {
	const own = 36 // characters of a UUID
	if len(id) < own {
		return ID{}, 0, false
	}
	parsed, err := uuid.Parse(string(id[:own])) // of this length there is but one form
	if err != nil {
		return ID{}, 0, false
	}
	if len(id) == own {
		return parsed, 1, true
	}
	n, err := strconv.ParseUint(string(id[own+1:]), 10, 8)
	if err != nil || n < 2 || id != jobID(parsed, uint8(n)) {
		return ID{}, 0, false
	}
	return parsed, uint8(n), true
}

// Locked says that no further code may be tried.
func (r *Record) Locked() bool { return r.Attempts >= r.MaxAttempts }

// Standing is what may still be done with the OTP, as people and programs are told: open, verified, superseded, cancelled,
// locked or expired.
func (r *Record) Standing(now time.Time) string {
	switch {
	case r.State == Used:
		return "verified"
	case r.State == Cancelled:
		return "cancelled"
	case r.expired(now):
		return "expired"
	case r.State == Superseded:
		return "superseded"
	case r.Locked():
		return "locked"
	}
	return "open"
}

// Supersede marks the record as replaced by a newer OTP. One that was used or has expired stays as it is,
// so that its own reason stays true.
func (r *Record) Supersede(now time.Time) {
	if r.State != Open || r.expired(now) {
		return
	}
	r.State = Superseded
	r.Sealed = nil
}

// Deliver notes how far the latest message has come. A state never takes back a higher one, so a status may be
// applied twice and in any order; one of an earlier message says nothing any more. It reports whether the record
// changed.
func (r *Record) Deliver(s job.Status) bool {
	if s.State.Rank() <= r.Delivery.Rank() || s.Job != r.JobID() {
		return false
	}
	r.Delivery, r.Reason = s.State, s.Reason
	at := s.At.Truncate(time.Millisecond)
	switch s.State { //nolint:exhaustive // the others have no time of their own
	case job.Sent:
		r.SentAt, r.EndedAt = at, time.Time{} // it was sent after all
	case job.Delivered:
		r.DeliveredAt = at
	case job.Read:
		r.ReadAt = at
		if r.DeliveredAt.IsZero() { // of receipts that come together the furthest alone is told
			r.DeliveredAt = at
		}
	case job.Failed, job.Expired, job.Cancelled:
		r.EndedAt = at
	}
	return true
}

// expired: an OTP lives up to, not including, the moment it expires.
func (r *Record) expired(now time.Time) bool { return !now.Before(r.Expires) }
