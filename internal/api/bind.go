package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/google/uuid"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// scratch is the memory that a request needs for its body and its answer. It is used again by a later one.
type scratch struct {
	buf    []byte // maxBody and one more
	answer []byte
	issue  issueRequest
	verify verifyRequest
}

// issueRequest is the body of POST /api/v1/otp.
type issueRequest struct {
	Phone   string `json:"phone"`
	Purpose string `json:"purpose"`
}

// verifyRequest is the body of POST /api/v1/otp-verify.
type verifyRequest struct {
	ID   string `json:"otp_id"`
	Code string `json:"otp"`
}

// bind reads the body of a request into a struct. Errors are problems; none repeats what was sent.
//
// encoding/json does as we promise: unknown fields are ignored, of a repeated one the last counts, and what
// follows the object is an error.
func (x *scratch) bind(r *http.Request, into any) error {
	body, err := x.read(r)
	if err != nil {
		return err
	}
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) == 0 {
		return &problem{code: CodeInvalidJSON, detail: "The body is empty; send one JSON object."}
	} else if b[0] != '{' {
		return &problem{code: CodeInvalidJSON, detail: "The body does not begin like a JSON object, with {."}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return unreadable(err)
	}
	return nil
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
		return invalid(typed.Field, typed.Field+" must be a string, in quotes.")
	default:
		return &problem{code: CodeInvalidJSON}
	}
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

func (q *issueRequest) parse() (phone.Number, error) {
	if q.Phone == "" {
		return phone.Number{}, invalid("phone", "phone is missing; send the number in international form, like +905551234567.")
	}
	number, err := phone.Parse(q.Phone)
	if err != nil {
		return phone.Number{}, invalid("phone", "phone: "+err.Error()+".")
	}
	if q.Purpose == "" {
		return phone.Number{}, invalid("purpose", "purpose is missing; say what the OTP is for, like verification or login.")
	}
	if !validPurpose(q.Purpose) {
		return phone.Number{}, invalid("purpose", "purpose must be 1 to 64 of a-z, A-Z, 0-9, space, underscore, dash, dot and colon.")
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
	return len(s) <= longest
}

// parse checks what can be an id and a code at all; whether they are right is the domain's to say.
func (q *verifyRequest) parse() (otp.ID, error) {
	const uuidLength, longestCode = 36, 32
	if q.ID == "" {
		return otp.ID{}, invalid("otp_id", "otp_id is missing; send the otpId that POST /api/v1/otp answered.")
	}
	id, err := uuid.Parse(q.ID)
	if err != nil || len(q.ID) != uuidLength {
		return otp.ID{}, invalid("otp_id", "otp_id is not a UUID; send the otpId that POST /api/v1/otp answered.")
	}
	if q.Code == "" {
		return otp.ID{}, invalid("otp", "otp is missing; send the code as a string, like \"012345\".")
	}
	if utf8.RuneCountInString(q.Code) > longestCode {
		return otp.ID{}, invalid("otp", "otp is longer than 32 characters; send the code alone.")
	}
	return id, nil
}
