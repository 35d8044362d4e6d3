package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"wabek/internal/apps"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/text"
)

// scratch is the memory that a request needs for its body and its answer. It is used again by a later one.
type scratch struct {
	buf    []byte // maxBody and one more
	answer []byte
	issue  issueRequest
	verify verifyRequest
}

// issueRequest is the body of POST /api/v1/otp. Its order and names also make what an idempotency key stands for.
type issueRequest struct {
	Phone    string            `json:"phone"`
	Purpose  string            `json:"purpose"`
	Locale   string            `json:"locale,omitempty"`
	Template string            `json:"template,omitempty"`
	Params   map[string]string `json:"params,omitempty"`
	Expiry   *int              `json:"expiry_seconds,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	IP       string            `json:"ip,omitempty"`
	Code     string            `json:"code,omitempty"`

	address netip.Addr // IP, read
}

// verifyRequest is the body of POST /api/v1/otp-verify.
type verifyRequest struct {
	ID      string `json:"otp_id"`
	Code    string `json:"otp"`
	Phone   string `json:"phone,omitempty"`
	Purpose string `json:"purpose,omitempty"`
}

// bind reads the body of a request into a struct. Errors are problems; none repeats what was sent.
//
// encoding/json does as we promise: unknown fields are ignored, of a repeated one the last counts, and what
// follows the object is an error.
func (x *scratch) bind(r *http.Request, into any) error {
	body, err := x.object(r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return unreadable(err)
	}
	return nil
}

// fieldsOfStrings are the fields that hold several strings.
func fieldsOfStrings() []string {
	return []string{"params", "metadata", "allowCountries", "denyCountries", "scopes", "networks"}
}

// unreadable says in our words what json.Unmarshal says in its own, which may quote what was sent.
func unreadable(err error) *problem {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &syntax):
		return &problem{code: CodeInvalidJSON, detail: fmt.Sprintf("The body stops being one JSON object at byte %d.", syntax.Offset)}
	case errors.As(err, &typed) && typed.Field != "":
		// An embedded struct's name isn't in the JSON; what is behind another dot was sent.
		field, _, _ := strings.Cut(strings.TrimPrefix(typed.Field, "Settings."), ".")
		switch {
		case typed.Type.Kind() == reflect.String && slices.Contains(fieldsOfStrings(), field): // a value in it is what is wrong
			return invalid(field, field+" may hold strings only, in quotes.")
		case typed.Type.Kind() == reflect.Int:
			return invalid(field, field+" must be a whole number, without quotes.")
		case typed.Type.Kind() == reflect.Float64:
			return invalid(field, field+" must be a number, without quotes.")
		case typed.Type.Kind() == reflect.Bool:
			return invalid(field, field+" must be true or false, without quotes.")
		case typed.Type.Kind() == reflect.Map, typed.Type.Kind() == reflect.Struct:
			return invalid(field, field+" must be an object of strings.")
		case typed.Type.Kind() == reflect.Slice:
			return invalid(field, field+" must be a list of strings.")
		}
		return invalid(field, field+" must be a string, in quotes.")
	default:
		return &problem{code: CodeInvalidJSON}
	}
}

// object reads a body that begins like a JSON object.
func (x *scratch) object(r *http.Request) ([]byte, error) {
	body, err := x.read(r)
	if err != nil {
		return nil, err
	}
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) == 0 {
		return nil, &problem{code: CodeInvalidJSON, detail: "The body is empty; send one JSON object."}
	} else if b[0] != '{' {
		return nil, &problem{code: CodeInvalidJSON, detail: "The body does not begin like a JSON object, with {."}
	}
	return body, nil
}

// read reads the whole body, up to maxBody.
func (x *scratch) read(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, &problem{code: CodeBodyTooLarge, close: true}
	}
	for n := 0; ; {
		m, err := r.Body.Read(x.buf[n:])
		n += m
		switch {
		case n > maxBody:
			return nil, &problem{code: CodeBodyTooLarge, close: true}
		case err == io.EOF:
			return x.buf[:n], nil
		case err != nil:
			return nil, &problem{code: CodeInvalidJSON, detail: "The body did not arrive whole.", close: true}
		}
	}
}

// Bounds of what a caller may send along.
const (
	mostMetadata    = 20 // entries
	longestKey      = 40 // characters
	longestValue    = 200
	longestTag      = 35 // RFC 5646 section 4.4.1
	longestTemplate = 64
)

// requestOf reads what an OTP is asked for.
func (s *Server) requestOf(q *issueRequest, app *apps.App) (otp.Request, error) {
	number, err := parsePhone(q.Phone, app)
	if err != nil {
		return otp.Request{}, err
	}
	if q.Purpose == "" {
		return otp.Request{}, invalid("purpose", "purpose is missing; say what the OTP is for, like verification or login.")
	}
	if err := q.check(app); err != nil {
		return otp.Request{}, err
	}
	r := otp.Request{
		App: app.Name, Pool: app.Pool, Phone: number, Purpose: q.Purpose, Policy: app.Policy, Limits: app.Limits, Code: q.Code,
		Resend: app.Reissue == apps.Same,
	}
	if q.Expiry != nil {
		r.Policy.Expiry = time.Duration(*q.Expiry) * time.Second
	}
	if len(q.Metadata) > 0 {
		if r.Metadata, err = json.Marshal(q.Metadata); err != nil {
			return otp.Request{}, err
		}
	}
	if code, ok := s.o.Callers.TestNumber(app, number); ok {
		r.Test, r.Code = true, code
	}
	write := text.Request{
		App: app.Title, Purpose: q.Purpose, Template: q.Template, Locale: q.Locale, Region: number.Region(), DefaultLocale: app.Locale,
		Params: q.Params,
	}
	if err := s.o.Texts.Check(write); err != nil {
		return otp.Request{}, wrongText(err)
	}
	r.Text = func(code string, life time.Duration) (string, error) {
		write.Code, write.Life = code, life
		return s.o.Texts.Render(write)
	}
	return r, nil
}

// wrongText says which field keeps a message from being written.
func wrongText(err error) error {
	field := "params"
	if errors.As(err, new(*text.UnknownTemplateError)) {
		field = "template"
	}
	return invalid(field, field+": "+err.Error()+".")
}

// check looks at all fields but the phone.
func (q *issueRequest) check(app *apps.App) error {
	switch {
	case !validPurpose(q.Purpose):
		return invalid("purpose", "purpose must be 1 to 64 of a-z, A-Z, 0-9, space, underscore, dash, dot and colon.")
	case !validLocale(q.Locale):
		return invalid("locale", "locale must be a language tag, like tr or pt-BR.")
	case len(q.Template) > longestTemplate:
		return invalid("template", "template is longer than 64 characters; name one of the server's templates.")
	case q.Expiry != nil && (*q.Expiry < int(otp.MinExpiry.Seconds()) || *q.Expiry > int(otp.MaxExpiry.Seconds())):
		return invalid("expiry_seconds", fmt.Sprintf("expiry_seconds must be %d to %d.", int(otp.MinExpiry.Seconds()), int(otp.MaxExpiry.Seconds())))
	case q.Code != "" && !app.CustomCodes:
		return invalid("code", "This app may not bring codes of its own; leave code out, or let an operator allow customCodes.")
	case q.Code != "" && !validCode(q.Code):
		return invalid("code", fmt.Sprintf("code must be %d to %d digits.", otp.MinLength, otp.MaxLength))
	}
	if len(q.Metadata) > mostMetadata {
		return invalid("metadata", fmt.Sprintf("metadata may have %d entries.", mostMetadata))
	}
	for key, value := range q.Metadata {
		if key == "" || utf8.RuneCountInString(key) > longestKey || utf8.RuneCountInString(value) > longestValue {
			return invalid("metadata", fmt.Sprintf("metadata: a key may have 1 to %d characters, a value %d.", longestKey, longestValue))
		}
	}
	if q.IP != "" {
		var err error
		if q.address, err = netip.ParseAddr(q.IP); err != nil || q.address.Zone() != "" {
			return invalid("ip", "ip must be an IP address, like 203.0.113.7 or 2001:db8::1.")
		}
	}
	return nil
}

func parsePhone(s string, app *apps.App) (phone.Number, error) {
	if s == "" {
		return phone.Number{}, invalid("phone", "phone is missing; send the number in international form, like +905551234567.")
	}
	number, err := phone.ParseIn(s, app.Country)
	if err != nil {
		return phone.Number{}, invalid("phone", "phone: "+err.Error()+".")
	}
	return number, nil
}

func validPurpose(s string) bool {
	const longest = 64
	for i := range len(s) {
		switch c := s[i]; {
		case alphanumeric(c), c == ' ', c == '_', c == '-', c == '.', c == ':':
		default:
			return false
		}
	}
	return s != "" && len(s) <= longest
}

// validLocale says whether a text could be a language tag, as far as it matters here.
func validLocale(s string) bool {
	for i := range len(s) {
		if s[i] != '-' && !alphanumeric(s[i]) {
			return false
		}
	}
	return len(s) <= longestTag
}

func validCode(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= otp.MinLength && len(s) <= otp.MaxLength
}

// parse checks what can be an id, a number and a code at all; whether they are right is the domain's to say.
func (q *verifyRequest) parse(app *apps.App) (otp.Try, error) {
	const longestCode = 32
	t := otp.Try{App: app.Name, Code: q.Code, Purpose: q.Purpose, Limits: app.Limits}
	if q.ID == "" && (q.Phone == "" || q.Purpose == "") {
		return t, invalid("otp_id", "otp_id is missing; send the otpId that POST /api/v1/otp answered, or phone and purpose instead.")
	}
	if q.ID != "" {
		id, ok := parseID(q.ID)
		if !ok {
			return t, invalid("otp_id", "otp_id is not a UUID; send the otpId that POST /api/v1/otp answered.")
		}
		t.ID = id
	}
	if q.Phone != "" {
		var err error
		if t.Phone, err = parsePhone(q.Phone, app); err != nil {
			return t, err
		}
	}
	switch {
	case q.Purpose != "" && !validPurpose(q.Purpose):
		return t, invalid("purpose", "purpose must be 1 to 64 of a-z, A-Z, 0-9, space, underscore, dash, dot and colon.")
	case q.Code == "":
		return t, invalid("otp", "otp is missing; send the code as a string, like \"012345\".")
	case utf8.RuneCountInString(q.Code) > longestCode:
		return t, invalid("otp", "otp is longer than 32 characters; send the code alone.")
	}
	return t, nil
}

// parseID reads the one form of a UUID that we give out.
func parseID(s string) (otp.ID, bool) {
	const length = 36
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == length && id != (otp.ID{})
}
