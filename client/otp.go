package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Status is how far the latest message of an OTP has come.
type Status string

// The statuses. Sent is WhatsApp's acknowledgement, Delivered a receipt of the recipient's device.
const (
	Queued    Status = "queued"    // it waits
	Sending   Status = "sending"   // a session has it
	Sent      Status = "sent"      // WhatsApp has acknowledged it
	Delivered Status = "delivered" // a device of the recipient has it
	Read      Status = "read"      // it was seen
	Failed    Status = "failed"    // given up; OTP.Reason says why
	Expired   Status = "expired"   // its time ran out before it was sent
	Withdrawn Status = "cancelled" // withdrawn before it was sent
	Moved     Status = "moved"     // it goes on in another pool
	Test      Status = "test"      // a test number: nothing is sent
)

// Arrived says that a device of the recipient has the message. Wait for this rather than for Delivered: a message that is read
// at once may never be seen as that.
func (s Status) Arrived() bool { return s == Delivered || s == Read }

// State is what may still be done with an OTP.
type State string

// The states.
const (
	StateOpen       State = "open"       // it may be verified
	StateVerified   State = "verified"   // it was, once
	StateSuperseded State = "superseded" // a newer one took its place
	StateCancelled  State = "cancelled"
	StateLocked     State = "locked" // too many wrong codes
	StateExpired    State = "expired"
)

// IssueRequest asks for an OTP. Phone and Purpose are needed.
type IssueRequest struct {
	Phone    string            // in international form, like +905551234567
	Purpose  string            // what it is for: 1 to 64 of letters, digits, space, _ - . and :
	Locale   string            // language of the message, BCP 47; empty: the country of the number decides
	Template string            // name of the text; empty: the purpose's
	Params   map[string]string // for the operator's own texts
	Expiry   time.Duration     // life of the OTP, whole seconds, a minute to an hour; 0: the app's
	Metadata map[string]string // given back with the OTP's state and in callbacks
	IP       string            // address of the end user who asks, for the limit address_per_hour
	Code     string            // your own code, where the app may bring one
}

// Issued is an OTP that will be delivered.
type Issued struct {
	ID        string    `json:"otpId"`
	ExpiresAt time.Time `json:"expiresAt"`
	Status    Status    `json:"status"`
	To        string    `json:"to"`   // masked
	Test      bool      `json:"test"` // the number is a test number: nothing is sent
	Replayed  bool      `json:"-"`    // the answer of an earlier request of the same name
}

// Issue sends a one-time password to a phone. It returns when the OTP is durable at the server.
func (c *Client) Issue(ctx context.Context, r IssueRequest, options ...CallOption) (Issued, error) {
	if r.Expiry%time.Second != 0 {
		return Issued{}, errors.New("wabek: Expiry must be whole seconds")
	}
	k, err := newCall("/api/v1/otp", struct {
		Phone    string            `json:"phone"`
		Purpose  string            `json:"purpose"`
		Locale   string            `json:"locale,omitempty"`
		Template string            `json:"template,omitempty"`
		Params   map[string]string `json:"params,omitempty"`
		Expiry   int64             `json:"expiry_seconds,omitempty"`
		Metadata map[string]string `json:"metadata,omitempty"`
		IP       string            `json:"ip,omitempty"`
		Code     string            `json:"code,omitempty"`
	}{r.Phone, r.Purpose, r.Locale, r.Template, r.Params, int64(r.Expiry / time.Second), r.Metadata, r.IP, r.Code}, options)
	if err != nil {
		return Issued{}, err
	}
	return c.issued(ctx, k)
}

// Resend sends the code of an open OTP in another message. The code lives no longer for it.
func (c *Client) Resend(ctx context.Context, id string, options ...CallOption) (Issued, error) {
	k, err := newCall(path(id, "/resend"), nil, options)
	if err != nil {
		return Issued{}, err
	}
	return c.issued(ctx, k)
}

func (c *Client) issued(ctx context.Context, k *call) (out Issued, err error) {
	out.Replayed, err = c.do(ctx, k, &out)
	return out, err
}

// VerifyRequest is a code that somebody typed, for the OTP of ID, or else for the latest of Phone and Purpose. Whatever is
// given must fit.
type VerifyRequest struct {
	ID      string `json:"otp_id,omitempty"`
	Code    string `json:"otp"`
	Phone   string `json:"phone,omitempty"`
	Purpose string `json:"purpose,omitempty"`
}

// Reasons of a verdict. The sentences never change.
const (
	ReasonNotFound        = "OTP not found"
	ReasonExpired         = "OTP expired"
	ReasonSuperseded      = "OTP superseded"
	ReasonTooManyAttempts = "Too many attempts"
	ReasonUsed            = "OTP already used"
	ReasonWrong           = "Invalid OTP"
)

// Verdict says whether a code is right. One that isn't is no error.
type Verdict struct {
	Valid        bool   `json:"valid"`
	Reason       string `json:"reason"`       // why it isn't valid
	AttemptsLeft int    `json:"attemptsLeft"` // how many wrong codes the OTP still takes; with ReasonWrong alone
	Test         bool   `json:"test"`
	Replayed     bool   `json:"-"`
}

// Verify says whether a code is right. A right one is valid once.
func (c *Client) Verify(ctx context.Context, r VerifyRequest, options ...CallOption) (out Verdict, err error) {
	k, err := newCall("/api/v1/otp-verify", r, options)
	if err != nil {
		return Verdict{}, err
	}
	out.Replayed, err = c.do(ctx, k, &out)
	return out, err
}

// OTP is an OTP as the server knows it. A time that hasn't come is zero.
type OTP struct {
	ID           string            `json:"otpId"`
	State        State             `json:"state"`
	Status       Status            `json:"status"`
	Reason       string            `json:"reason"` // why its message went no further, machine-readable
	To           string            `json:"to"`     // masked
	Purpose      string            `json:"purpose"`
	CreatedAt    time.Time         `json:"createdAt"`
	ExpiresAt    time.Time         `json:"expiresAt"`
	SentAt       time.Time         `json:"sentAt"`
	DeliveredAt  time.Time         `json:"deliveredAt"`
	ReadAt       time.Time         `json:"readAt"`
	EndedAt      time.Time         `json:"endedAt"` // its message failed, expired or was cancelled unsent
	VerifiedAt   time.Time         `json:"verifiedAt"`
	Sends        int               `json:"sends"` // messages, the first one included
	AttemptsLeft int               `json:"attemptsLeft"`
	Metadata     map[string]string `json:"metadata"`
	Test         bool              `json:"test"`
}

// Get says how an OTP is.
func (c *Client) Get(ctx context.Context, id string) (OTP, error) {
	return c.look(ctx, &call{method: http.MethodGet, path: path(id, "")})
}

// Cancel withdraws an OTP: its code is worth nothing from now on, and its message isn't sent if it wasn't yet; Status says
// whether it was. Withdrawing twice is no error.
func (c *Client) Cancel(ctx context.Context, id string) (OTP, error) {
	return c.look(ctx, &call{method: http.MethodPost, path: path(id, "/cancel")})
}

func (c *Client) look(ctx context.Context, k *call) (out OTP, err error) {
	_, err = c.do(ctx, k, &out)
	return out, err
}

func path(id, rest string) string { return "/api/v1/otp/" + url.PathEscape(id) + rest }
