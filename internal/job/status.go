package job

import (
	"encoding/json"
	"fmt"
	"time"
)

// State is how far a send job has come.
type State string

// The states. Their ranks say which may follow which; see State.Rank.
const (
	Queued    State = "queued"    // committed, nothing heard of it yet; never published
	Sending   State = "sending"   // a session has claimed it
	Failed    State = "failed"    // given up, with a reason
	Expired   State = "expired"   // its time ran out before it was sent
	Cancelled State = "cancelled" // withdrawn before it was sent
	Moved     State = "moved"     // goes on in another pool
	Sent      State = "sent"      // WhatsApp's server has acknowledged it
	Delivered State = "delivered" // a device of the recipient has it
	Read      State = "read"      // the recipient has seen it
)

// Rank orders the states: none < sending < failed, expired, cancelled, moved < sent < delivered < read.
// A status is stored only where it raises the rank; so an OTP that was sent after all ends as sent, whatever
// was said of it before. An unknown state, from a newer version, ranks lowest.
func (s State) Rank() int {
	switch s { //nolint:exhaustive // Queued ranks as what is unknown does
	case Sending:
		return 1
	case Failed, Expired, Cancelled, Moved:
		return 2
	case Sent:
		return 3
	case Delivered:
		return 4
	case Read:
		return 5
	default:
		return 0
	}
}

// Settled says that nothing more has to be done for the job: it was sent, or given up.
func (s State) Settled() bool { return s.Rank() >= Failed.Rank() }

// Reason says why a job failed. The strings are part of the public contract: stable, machine-readable.
type Reason string

// The reasons.
const (
	ReasonNone            Reason = ""
	ReasonNotOnWhatsApp   Reason = "not_on_whatsapp"  // the number has no WhatsApp account
	ReasonUnreadable      Reason = "unreadable_job"   // the job can't be opened: wrong key, altered, malformed
	ReasonRefused         Reason = "refused"          // WhatsApp refused the message for good
	ReasonWithdrawn       Reason = "withdrawn"        // its OTP was superseded, cancelled or used before it was sent, or is sent by another message
	ReasonRateLimited     Reason = "rate_limited"     // WhatsApp told the session to slow down
	ReasonReachOutLimited Reason = "reach_out_locked" // WhatsApp lets this account write to no new contact (error 463)
	ReasonDisconnected    Reason = "disconnected"     // the session has no connection
	ReasonLoggedOut       Reason = "logged_out"       // the session was unlinked or banned
	ReasonOutdated        Reason = "client_outdated"  // WhatsApp refuses this version of the client
	ReasonUnconfirmed     Reason = "unconfirmed"      // the stanza may have gone out; WhatsApp didn't answer
	ReasonUnreachable     Reason = "unreachable"      // no key of any device of the recipient could be had
)

// Status is one step of a job, as the status stream keeps it: the latest per job wins.
type Status struct {
	Job     ID     `json:"job"`
	Pool    string `json:"pool"`
	State   State  `json:"state"`
	Session string `json:"session,omitempty"` // who claimed or sent it
	Fence   uint64 `json:"fence,omitempty"`   // of the session's lease: a higher one outlives a lower one
	Try     int    `json:"try,omitempty"`     // 1 for the first claim
	Nonce   string `json:"nonce,omitempty"`   // of one claim, so that its owner knows it again after a lost answer
	// Released is set on a claim given back: the message surely didn't go out, so any session may claim it.
	Released bool      `json:"released,omitempty"`
	Reason   Reason    `json:"reason,omitempty"`
	At       time.Time `json:"at"` // by the clock of who published it

	// Seq is where the status stands in its stream, where it was read from there; else 0.
	Seq uint64 `json:"-"`
}

// Receipt is what a device of the recipient said of a job's message.
type Receipt struct {
	Job   ID
	Pool  string
	State State     // Delivered or Read
	At    time.Time // by WhatsApp's clock, to the second
}

// statusVersion is the format of a status. Fields may be added without raising it.
const statusVersion = 1

type statusJSON struct {
	Version int `json:"v"`
	Status
}

// Encode writes the status as the stream keeps it.
func (s Status) Encode() ([]byte, error) {
	data, err := json.Marshal(statusJSON{Version: statusVersion, Status: s})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return data, nil
}

// DecodeStatus reads what Encode wrote. Errors: ErrMalformed, ErrNewerFormat.
func DecodeStatus(data []byte) (Status, error) {
	var s statusJSON
	if err := json.Unmarshal(data, &s); err != nil || s.Job == "" {
		return Status{}, fmt.Errorf("%w: status", ErrMalformed)
	}
	if s.Version > statusVersion {
		return Status{}, ErrNewerFormat
	}
	return s.Status, nil
}
