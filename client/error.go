package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code names a kind of error; none ever changes its meaning. The API's page /docs/errors says what mends each.
type Code string

// The codes.
const (
	CodeInvalidJSON         Code = "invalid_json"
	CodeInvalidField        Code = "invalid_field" // Error.Field names it
	CodeUnauthorized        Code = "unauthorized"
	CodeForbidden           Code = "forbidden"
	CodeCountryNotAllowed   Code = "country_not_allowed"
	CodeNotFound            Code = "not_found"
	CodeOTPNotFound         Code = "otp_not_found"
	CodeOTPNotOpen          Code = "otp_not_open"
	CodeConflict            Code = "conflict"
	CodeKeyInFlight         Code = "idempotency_key_in_flight"
	CodeKeyReused           Code = "idempotency_key_reused"
	CodeRateLimited         Code = "rate_limited" // Error.Limit names the limit
	CodeMethodNotAllowed    Code = "method_not_allowed"
	CodeBodyTooLarge        Code = "body_too_large"
	CodeUnsupportedEncoding Code = "unsupported_encoding"
	CodeInternal            Code = "internal"
	CodeNoSession           Code = "no_session"
	CodeOverloaded          Code = "overloaded"
	CodeQueueUnavailable    Code = "queue_unavailable"
	CodeBusy                Code = "busy"
	CodeShuttingDown        Code = "shutting_down"

	// Those of the calls for WHMCS, which this package doesn't make.
	CodeUnknownAction  Code = "unknown_action"
	CodeBadSignature   Code = "bad_signature"
	CodeNoticeNotFound Code = "notice_not_found"
	CodeNotResendable  Code = "not_resendable"
)

// Error is an answer of the API that refuses a request: a problem document (RFC 9457). It holds nothing of the request.
type Error struct {
	Status     int           // of HTTP
	Code       Code          // empty where it isn't wabek that answered, but something before it
	Detail     string        // for people
	Field      string        // which field or header is wrong
	Limit      string        // which limit was met, like phone_cooldown
	RetryAfter time.Duration // when it is worth trying again; 0 where it wasn't said
	RequestID  string        // leads to the request in the server's log
}

// Error is one line of what is known.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wabek: %d", e.Status)
	for _, part := range []string{string(e.Code), e.Limit, e.Field} {
		if part != "" {
			b.WriteString(" " + part)
		}
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// CodeOf is the code of the *Error within err; empty where there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func newError(resp *http.Response, body []byte) *Error {
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"), RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	var problem struct {
		Code                 Code
		Detail, Field, Limit string
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "application/problem+json" && json.Unmarshal(body, &problem) == nil {
		e.Code, e.Detail, e.Field, e.Limit = problem.Code, problem.Detail, problem.Field, problem.Limit
	} else {
		e.Detail = http.StatusText(resp.StatusCode)
	}
	return e
}

// retryAfter reads the header's seconds, or its date, as something before the API may say it; 0 for anything else.
func retryAfter(value string) time.Duration {
	const most = 365 * 24 * time.Hour
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, time.Until(at)), most)
	}
	n, err := strconv.ParseUint(value, 10, 64) // the largest number where it is larger
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(n, uint64(most/time.Second))) * time.Second
}

// malformedError is an answer that can't be understood, or a request that can't be made. Trying again is no use.
type malformedError struct{ cause error }

func (e *malformedError) Error() string { return "wabek: " + e.cause.Error() }

func (e *malformedError) Unwrap() error { return e.cause }
