package api

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"wabek/internal/job"
	"wabek/internal/otp"
)

// timeFormat is how answers write times: RFC 3339 in UTC, to the millisecond.
const timeFormat = "2006-01-02T15:04:05.000Z"

// statusTest is the status of an OTP for a test number: nothing is sent.
const statusTest = "test"

// statusOf is how far a message has come, as answers say it.
func statusOf(test bool, s job.State) string {
	if test {
		return statusTest
	}
	return string(s)
}

// appendIssued writes the answer to an OTP that was issued. It is on the path of every one, so it is written by hand;
// nothing in it needs escaping.
func appendIssued(buf []byte, i otp.Issued) []byte {
	buf = append(buf, `{"success":true,"otpId":"`...)
	buf = append(buf, i.ID.String()...)
	buf = append(buf, `","expiresAt":"`...)
	buf = i.Expires.UTC().AppendFormat(buf, timeFormat)
	buf = append(buf, `","status":"`...)
	buf = append(buf, statusOf(i.Test, i.Delivery)...)
	buf = append(buf, `","to":"`...)
	buf = append(buf, i.To...)
	return appendEnd(append(buf, '"'), i.Test)
}

func answerIssued(i otp.Issued) []byte { return appendIssued(nil, i) }

// appendTried writes the answer to a try. Reasons are fixed sentences.
func appendTried(buf []byte, t otp.Tried) []byte {
	if t.Verdict == otp.Valid {
		return appendEnd(append(buf, `{"valid":true`...), t.Test)
	}
	buf = append(buf, `{"valid":false,"reason":"`...)
	buf = append(append(buf, t.Verdict.Reason()...), '"')
	if t.Verdict == otp.Wrong {
		buf = strconv.AppendInt(append(buf, `,"attemptsLeft":`...), int64(t.Attempts), 10)
	}
	return appendEnd(buf, t.Test)
}

func answerTried(t otp.Tried) []byte { return appendTried(nil, t) }

func appendEnd(buf []byte, test bool) []byte {
	if test {
		buf = append(buf, `,"test":true`...)
	}
	return append(buf, "}\n"...)
}

// View is an OTP as GET /api/v1/otp/{id} shows it.
type View struct {
	ID           string          `json:"otpId"`
	State        string          `json:"state"`  // open, verified, superseded, cancelled, locked or expired
	Status       string          `json:"status"` // queued, sending, sent, delivered, read, failed, expired, cancelled, moved or test
	Reason       string          `json:"reason,omitempty"`
	To           string          `json:"to"` // masked
	Purpose      string          `json:"purpose"`
	CreatedAt    string          `json:"createdAt"`
	ExpiresAt    string          `json:"expiresAt"`
	SentAt       string          `json:"sentAt,omitempty"`      // WhatsApp has acknowledged the latest message
	DeliveredAt  string          `json:"deliveredAt,omitempty"` // a device of the recipient has it
	ReadAt       string          `json:"readAt,omitempty"`
	EndedAt      string          `json:"endedAt,omitempty"` // it failed, expired or was cancelled unsent
	VerifiedAt   string          `json:"verifiedAt,omitempty"`
	Sends        int             `json:"sends"`
	AttemptsLeft int             `json:"attemptsLeft"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	Test         bool            `json:"test,omitempty"`
}

// viewOf shows a record, with what the queue knows of its message ahead of it.
func (s *Server) viewOf(ctx context.Context, r otp.Record) View {
	if !r.Test() && r.Delivery != job.Read {
		last, seq, err := s.o.Deliveries.Last(ctx, r.Pool, r.JobID())
		if err == nil && seq > 0 {
			r.Deliver(last)
		}
	}
	return view(r, s.o.Now())
}

func view(r otp.Record, now time.Time) View {
	if r.Delivery.Rank() > job.Failed.Rank() {
		r.EndedAt = time.Time{} // it was sent after all
	}
	return View{
		ID: r.ID.String(), State: r.Standing(now), Status: statusOf(r.Test(), r.Delivery), Reason: string(r.Reason), To: r.Masked, Purpose: r.Purpose,
		CreatedAt: when(otp.IssuedAt(r.ID)), ExpiresAt: when(r.Expires), SentAt: when(r.SentAt), DeliveredAt: when(r.DeliveredAt),
		ReadAt: when(r.ReadAt), EndedAt: when(r.EndedAt), VerifiedAt: when(r.UsedAt),
		Sends: int(r.Sends), AttemptsLeft: int(r.MaxAttempts) - int(min(r.Attempts, r.MaxAttempts)), Metadata: r.Metadata, Test: r.Test(),
	}
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}
