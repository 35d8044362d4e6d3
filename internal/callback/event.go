package callback

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wabek/internal/job"
)

// ErrEvent says that an event can't be posted as it is. It is a mistake of the program: giving it again won't help.
var ErrEvent = errors.New("unusable event")

// TypeStatus is the type of an event that tells the state of an OTP.
const TypeStatus = "otp.status"

// maxBody bounds a payload, in bytes. Metadata is the only part of it that isn't small, and is bounded by who takes it.
const maxBody = 64 << 10

// Event is a change of an OTP's state, with the whole of it.
type Event struct {
	At  time.Time // of the change
	OTP OTP
}

// OTP is the state of an OTP as its app may know it: neither the code nor the whole number. Zero times and empty texts
// are left out.
type OTP struct {
	ID          string          `json:"otpId"`
	App         string          `json:"app"`
	State       string          `json:"state"`  // what may still be done with it, as GET /api/v1/otp/{id} says it
	Status      string          `json:"status"` // how far its message is, likewise
	To          string          `json:"to"`     // masked
	Purpose     string          `json:"purpose"`
	CreatedAt   time.Time       `json:"createdAt"`
	ExpiresAt   time.Time       `json:"expiresAt"`
	SentAt      time.Time       `json:"sentAt,omitzero"`
	DeliveredAt time.Time       `json:"deliveredAt,omitzero"`
	ReadAt      time.Time       `json:"readAt,omitzero"`
	VerifiedAt  time.Time       `json:"verifiedAt,omitzero"`
	Reason      string          `json:"reason,omitempty"`   // of a failure, machine-readable
	Metadata    json.RawMessage `json:"metadata,omitempty"` // the app's own, a JSON object
	Test        bool            `json:"test"`
	Seq         uint64          `json:"seq"` // above 0; higher for a later state of the same OTP, the same for the same one
}

// Seq numbers the states of an OTP from what its record says, so that nothing has to count: the number of its latest
// message (1 for the first, 0 where there is none), how far that has come, and whether the OTP is locked, or closed for good
// (verified, superseded or cancelled), which a locked one may be later. All of these only rise, so does it; the same state
// always has the same one.
func Seq(message int, delivery job.State, locked, closed bool) uint64 {
	const perMessage = 24                                                   // more than three for each rank
	n := uint64(max(0, message))*perMessage + uint64(delivery.Rank())*3 + 1 //nolint:gosec // neither is negative
	switch {
	case closed:
		return n + 2
	case locked:
		return n + 1
	}
	return n
}

// id is the webhook-id: the same for the same state of the same OTP.
func (e Event) id() string { return e.OTP.ID + "-" + strconv.FormatUint(e.OTP.Seq, 10) }

type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      OTP       `json:"data"`
}

// encode writes the body that is posted, and signed as it stands.
func (e Event) encode() (json.RawMessage, error) {
	o := e.OTP
	if err := job.CheckPool(o.App); err != nil {
		return nil, fmt.Errorf("%w: app: %w", ErrEvent, err)
	}
	if _, err := job.ParseID(e.id()); err != nil || o.ID == "" {
		return nil, fmt.Errorf("%w: otpId: %w", ErrEvent, job.ErrName)
	}
	if o.Seq == 0 {
		return nil, fmt.Errorf("%w: no seq", ErrEvent)
	}
	if o.To != "" && !strings.Contains(o.To, "•") {
		return nil, fmt.Errorf("%w: the number isn't masked", ErrEvent)
	}
	at := e.At
	for _, t := range []*time.Time{&at, &o.CreatedAt, &o.ExpiresAt, &o.SentAt, &o.DeliveredAt, &o.ReadAt, &o.VerifiedAt} {
		if !t.IsZero() {
			*t = t.UTC().Truncate(time.Millisecond)
		}
	}
	body, err := json.Marshal(payload{Type: TypeStatus, Timestamp: at, Data: o})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: metadata isn't JSON", ErrEvent) // the cause would quote it
	case len(body) > maxBody:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrEvent, maxBody)
	}
	return body, nil
}

// storedFormat is the format of a callback in the queue. Fields may be added without raising it.
const storedFormat = 1

var (
	errMalformed = errors.New("malformed callback")
	errNewer     = errors.New("callback has a newer format")
)

// stored is a callback as the queue keeps it. Times are Unix milliseconds.
type stored struct {
	Version int             `json:"v"`
	First   int64           `json:"first"`          // when it was enqueued
	Tries   int             `json:"tries"`          // that failed
	Due     int64           `json:"due,omitempty"`  // before which it isn't tried again
	Last    string          `json:"last,omitempty"` // how the latest try ended
	Body    json.RawMessage `json:"body"`
}

func (s stored) encode() ([]byte, error) {
	s.Version = storedFormat
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode callback: %w", err)
	}
	return data, nil
}

func decodeStored(data []byte) (stored, error) {
	var s stored
	err := json.Unmarshal(data, &s)
	switch {
	case err == nil && s.Version > storedFormat:
		return stored{}, errNewer
	case err != nil, s.Version < 1, s.First <= 0, s.Tries < 0, len(s.Body) == 0:
		return stored{}, errMalformed
	}
	return s, nil
}
