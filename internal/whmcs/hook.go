package whmcs

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FieldError says which field of a hook's request is wrong, and what it must look like. It never quotes what was sent.
type FieldError struct{ Field, Text string }

// Error is the text.
func (e *FieldError) Error() string { return e.Text }

// UnknownActionError is returned for an action that has no text.
type UnknownActionError struct {
	Known []string // sorted
}

// Error names those known.
func (e *UnknownActionError) Error() string {
	return "the action is unknown; there are " + strings.Join(e.Known, ", ")
}

// ErrSignature says that a signature is malformed, wrong, or too old.
var ErrSignature = errors.New("the signature is wrong or too old")

// SignatureAge is how far the time of a signature may be from ours.
const SignatureAge = 5 * time.Minute

// Number is a whole number from PHP, which may write it as a string. What it writes for none (0, "", null, false) is 0.
type Number int64

// UnmarshalJSON reads a number, a string of digits, or nothing.
func (n *Number) UnmarshalJSON(text []byte) error {
	s := strings.Trim(string(bytes.TrimSpace(text)), `"`)
	if s == "" || s == "null" || s == "false" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return errNumber
	}
	*n = Number(v)
	return nil
}

var errNumber = errors.New("must be a whole number")

// Text is a short text from PHP, which may write numbers without quotes. What isn't a text is none.
type Text string

// UnmarshalJSON reads a string or a number.
func (t *Text) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		*t = Text(s)
		return nil
	}
	*t = ""
	var n json.Number
	if json.Unmarshal(text, &n) == nil {
		*t = Text(n)
	}
	return nil
}

// Client is what a hook knows of a client, in WHMCS's own words (GetClientsDetails).
type Client struct {
	Phone     Text `json:"phonenumber,omitempty"`
	PhoneCode Text `json:"phonecc,omitempty"`              // country calling code, digits
	Formatted Text `json:"phonenumberformatted,omitempty"` // +CC.NNN
	Telephone Text `json:"telephoneNumber,omitempty"`      // the same under another name
	Country   Text `json:"country,omitempty"`              // ISO 3166-1 alpha-2
	Language  Text `json:"language,omitempty"`             // english, turkish, …
	FirstName Text `json:"firstname,omitempty"`
	Currency  Text `json:"currency_code,omitempty"`
}

// Data is what a hook knows for a text.
type Data struct {
	Invoice  Text `json:"invoicenum,omitempty"`
	Total    Text `json:"total,omitempty"`
	Currency Text `json:"currency,omitempty"` // code, where it isn't the client's
	Due      Text `json:"duedate,omitempty"`
	URL      Text `json:"url,omitempty"`
	Subject  Text `json:"subject,omitempty"`
	Ticket   Text `json:"ticket,omitempty"` // as the client knows it, like ABC-123456
	Product  Text `json:"product,omitempty"`
	Domain   Text `json:"domain,omitempty"`
	Days     Text `json:"days,omitempty"`
	IP       Text `json:"ip,omitempty"`
}

// Hook is the body of a request of WHMCS's.
type Hook struct {
	Action  string  `json:"action"`
	Invoice Number  `json:"invoiceid,omitempty"`
	User    Number  `json:"userid,omitempty"`
	Ticket  Number  `json:"ticketid,omitempty"`
	Reply   Number  `json:"replyid,omitempty"`
	Service Number  `json:"serviceid,omitempty"`
	Domain  Number  `json:"domainid,omitempty"`
	Type    Text    `json:"type,omitempty"`
	Time    Number  `json:"time,omitempty"` // Unix seconds
	Due     Text    `json:"duedate,omitempty"`
	Client  *Client `json:"client,omitempty"`
	Data    *Data   `json:"data,omitempty"`
}

// longestText bounds the texts of a hook that are kept: nothing of WHMCS's is longer.
const longestText = 500

// ParseHook reads the body of a request. signature is its X-Wabek-Signature, or empty; key is SHA-256 of the API key it
// came with. Data and client of a request without one are passed over: the key alone says who may announce an event, not
// that nobody has changed the number on the way. Errors: *FieldError, *UnknownActionError, ErrSignature, and those of
// json.Unmarshal. known are the actions that there are texts for.
func ParseHook(body []byte, signature string, key [sha256.Size]byte, known []string, now time.Time) (Hook, error) {
	var h Hook
	if err := json.Unmarshal(body, &h); err != nil {
		if errors.Is(err, errNumber) {
			field := firstNoNumber(body)
			return h, &FieldError{Field: field, Text: field + " must be a whole number."}
		}
		return h, err
	}
	if signature == "" {
		h.Client, h.Data = nil, nil
	} else if !signed(body, signature, key, now) {
		return h, ErrSignature
	}
	return h, h.check(known)
}

// firstNoNumber names the first field of a body that should be a number and isn't.
func firstNoNumber(body []byte) string {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(body, &fields) // it could be read before
	for _, name := range []string{"invoiceid", "userid", "ticketid", "replyid", "serviceid", "domainid", "time"} {
		if text, ok := fields[name]; ok && new(Number).UnmarshalJSON(text) != nil {
			return name
		}
	}
	return "invoiceid"
}

// signed checks a signature t=<Unix seconds>,v1=<hex of HMAC-SHA-256 over "<t>." and the body>.
func signed(body []byte, signature string, key [sha256.Size]byte, now time.Time) bool {
	stamp, sum, ok := strings.Cut(signature, ",v1=")
	stamp, begins := strings.CutPrefix(stamp, "t=")
	at, err := strconv.ParseInt(stamp, 10, 64)
	mac, bad := hex.DecodeString(sum)
	if !ok || !begins || err != nil || bad != nil {
		return false
	}
	if age := now.Sub(time.Unix(at, 0)); age > SignatureAge || age < -SignatureAge {
		return false
	}
	return hmac.Equal(mac, Sign(body, stamp, key))
}

// Sign is the signature over a body at a time, Unix seconds in digits.
func Sign(body []byte, stamp string, key [sha256.Size]byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// subject is what an action is about: which id it must have, and which other fields make it one occurrence.
type subject struct {
	field string
	id    func(*Hook) Number
	once  func(*Hook, time.Time) string
}

func always(*Hook, time.Time) string { return "" }

// subjectOf says what an action is about. One that only a directory of texts knows is about whatever id it has.
func subjectOf(action string) subject {
	invoice := func(h *Hook) Number { return h.Invoice }
	service := func(h *Hook) Number { return h.Service }
	switch action {
	case "InvoiceCreated", "InvoicePaid", "InvoiceCancelled":
		return subject{"invoiceid", invoice, always}
	case "InvoicePaymentReminder":
		return subject{"invoiceid", invoice, func(h *Hook, _ time.Time) string { return string(h.Type) + "/" + h.due() }}
	case "InvoiceRefunded": // an invoice may be refunded in parts
		return subject{"invoiceid", invoice, func(h *Hook, now time.Time) string { return h.moment(now, 24*time.Hour) }}
	case "ClientLogin", "UserLogin": // WHMCS may run both hooks for one login
		return subject{"userid", func(h *Hook) Number { return h.User }, func(h *Hook, now time.Time) string { return h.moment(now, time.Minute) }}
	case "TicketOpen":
		return subject{"ticketid", func(h *Hook) Number { return h.Ticket }, always}
	case "TicketAdminReply":
		return subject{"replyid", func(h *Hook) Number { return h.Reply }, always}
	case "AfterModuleCreate":
		return subject{"serviceid", service, always}
	case "AfterModuleSuspend":
		return subject{"serviceid", service, func(h *Hook, now time.Time) string { return h.moment(now, 24*time.Hour) }}
	case "DomainRenewalNotice":
		return subject{"domainid", func(h *Hook) Number { return h.Domain }, func(h *Hook, _ time.Time) string { return h.due() + "/" + h.days() }}
	default:
		all := func(h *Hook, now time.Time) string {
			return fmt.Sprint(h.Invoice, h.User, h.Ticket, h.Reply, h.Service, h.Domain, h.Type, h.due(), h.moment(now, 24*time.Hour))
		}
		return subject{"", nil, all}
	}
}

// due is the date that a request names, wherever it stands.
func (h *Hook) due() string {
	if h.Due == "" && h.Data != nil {
		return string(h.Data.Due)
	}
	return string(h.Due)
}

func (h *Hook) days() string {
	if h.Data == nil {
		return ""
	}
	return string(h.Data.Days)
}

// moment is when it happened, as the request says; else when we heard of it, so roughly that a retry falls into the same.
func (h *Hook) moment(now time.Time, roughly time.Duration) string {
	if h.Time != 0 {
		return strconv.FormatInt(int64(h.Time), 10)
	}
	return "about " + now.UTC().Truncate(roughly).Format(time.RFC3339)
}

func (h *Hook) check(known []string) error {
	if h.Action == "" {
		return &FieldError{Field: "action", Text: "action is missing; send the name of the hook, like InvoiceCreated."}
	}
	found := false
	for _, k := range known {
		found = found || k == h.Action
	}
	if !found {
		return &UnknownActionError{Known: known}
	}
	if s := subjectOf(h.Action); s.id != nil && s.id(h) == 0 {
		return &FieldError{Field: s.field, Text: s.field + " is missing; " + h.Action + " is about one."}
	}
	texts := []Text{h.Type, h.Due}
	if c := h.Client; c != nil {
		texts = append(texts, c.Phone, c.PhoneCode, c.Formatted, c.Telephone, c.Country, c.Language, c.FirstName, c.Currency)
	}
	if d := h.Data; d != nil {
		texts = append(texts, d.Invoice, d.Total, d.Currency, d.Due, d.URL, d.Subject, d.Ticket, d.Product, d.Domain, d.Days, d.IP)
	}
	for _, t := range texts {
		if len(t) > longestText {
			return &FieldError{Field: "data", Text: fmt.Sprintf("type, duedate and all of client and data may have %d bytes each.", longestText)}
		}
	}
	return nil
}

// Occurrence stands for what happened once in WHMCS, however often it is told: app, action, id and a hash of what tells it
// from other times. Ids rise in WHMCS, so what is new sorts behind what is known, and a store needn't write all over its file.
type Occurrence string

// occurrence is that of a hook of an app: its action, what it is about, and what tells it from other times.
func (h *Hook) occurrence(app string, now time.Time) Occurrence {
	s := subjectOf(h.Action)
	action, id := h.Action, Number(0)
	if s.id != nil {
		id = s.id(h)
	}
	if action == "ClientLogin" {
		action = "UserLogin"
	}
	sum := sha256.Sum256([]byte(s.once(h, now)))
	return Occurrence(fmt.Sprintf("%s/%s/%016x/%x", app, action, int64(id), sum[:8]))
}
