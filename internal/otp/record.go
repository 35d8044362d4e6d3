package otp

import (
	"encoding/binary"
	"fmt"
	"io"
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
	Delivery    job.State // how far its message has come, as far as the record knows
	Reason      job.Reason
	Sealed      []byte // the body of its send job, until nobody can need it any more
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

// Deliver notes how far the message has come. A state never takes back a higher one, so a status may be
// applied twice and in any order. It reports whether the record changed.
func (r *Record) Deliver(s job.Status) bool {
	if s.State.Rank() <= r.Delivery.Rank() {
		return false
	}
	r.Delivery, r.Reason = s.State, s.Reason
	return true
}

// expired: an OTP lives up to, not including, the moment it expires.
func (r *Record) expired(now time.Time) bool { return !now.Before(r.Expires) }
