package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wabek/internal/otp"
	"wabek/internal/whmcs"
)

// Code names a kind of error. The strings are part of the public contract.
type Code string

// The codes.
const (
	CodeInvalidJSON      Code = "invalid_json"
	CodeInvalidField     Code = "invalid_field"
	CodeUnauthorized     Code = "unauthorized"
	CodeForbidden        Code = "forbidden"
	CodeNotFound         Code = "not_found"
	CodeOTPNotFound      Code = "otp_not_found"
	CodeMethodNotAllowed Code = "method_not_allowed"
	CodeNotOpen          Code = "otp_not_open"
	CodeConflict         Code = "conflict"
	CodeKeyInFlight      Code = "idempotency_key_in_flight"
	CodeKeyReused        Code = "idempotency_key_reused"
	CodeBodyTooLarge     Code = "body_too_large"
	CodeUnsupported      Code = "unsupported_encoding"
	CodeCountry          Code = "country_not_allowed"
	CodeLimited          Code = "rate_limited"
	CodeInternal         Code = "internal"
	CodeNoSession        Code = "no_session"
	CodeOverloaded       Code = "overloaded"
	CodeQueueUnavailable Code = "queue_unavailable"
	CodeBusy             Code = "busy"
	CodeShuttingDown     Code = "shutting_down"
	CodeUnknownAction    Code = "unknown_action"
	CodeBadSignature     Code = "bad_signature"
	CodeNoticeNotFound   Code = "notice_not_found"
	CodeNotResendable    Code = "not_resendable"
)

// kind is what the catalogue says of a code.
type kind struct {
	code   Code
	status int
	title  string
	detail string // where the place of the error has nothing better to say
	mend   string // for docs/errors.md
}

// catalogue holds every error that the API answers with.
//
//nolint:gochecknoglobals // a table that nothing changes
var catalogue = []kind{
	{
		CodeInvalidJSON, http.StatusBadRequest, "The body is not a JSON object",
		"Send one JSON object in the body.",
		"The body must be one JSON object and nothing behind it, in UTF-8. `Content-Type` isn't looked at: whatever it says, the body is read as JSON.",
	},
	{
		CodeInvalidField, http.StatusBadRequest, "A field is missing or malformed",
		"Look at the field that is named.",
		"`field` names the field and `detail` says what it must look like. `phone`: international form, a plus, the country code and the number, like `+905551234567`; " +
			"spaces, dots, dashes and brackets may part the digits. `purpose`: 1 to 64 of the letters a–z and A–Z, digits, space, `_`, `-`, `.` and `:`. " +
			"`otp_id`: the `otpId` that `POST /api/v1/otp` answered. `otp`: the code, a string of 1 to 32 characters, not a number, since it may begin with a zero. " +
			"Fields that aren't known are ignored, but for those of the admin API: a setting that is misspelt must not be passed over.",
	},
	{
		CodeUnauthorized, http.StatusUnauthorized, "The API key is missing or wrong",
		"Send your API key in the header X-API-Key.",
		"Send the key in the header `X-API-Key`: one that `api key create` made, the value of `WABEK_API_KEY`, or the key that the API showed once on its first start. " +
			"A key that was revoked or has expired is as good as none.",
	},
	{
		CodeBadSignature, http.StatusUnauthorized, "The signature of a WHMCS event is wrong",
		"The header X-Wabek-Signature doesn't sign this body with this API key, or is more than five minutes old.",
		"The header is `t=<Unix seconds>,v1=<hex>`, where hex is HMAC-SHA-256 over the same seconds, a dot and the raw body, keyed with the 32 bytes of SHA-256 of the API key. " +
			"Check that both servers have the right time, and that nothing between them changes the body. Without the header `client` and `data` aren't used.",
	},
	{
		CodeForbidden, http.StatusForbidden, "The API key may not do this",
		"The API key isn't good for this request.",
		"`detail` says why: the key lacks the scope that the request needs (`otp`, `whmcs`, `read` or `admin`), or may not be used from your address. " +
			"An operator makes one that may, with `api key create`. Behind a proxy the address is the proxy's unless `WABEK_TRUSTED_PROXIES` names it.",
	},
	{
		CodeCountry, http.StatusForbidden, "The app doesn't send to this country",
		"This app doesn't send to the country of this number.",
		"No OTP was issued. The app's `allowCountries` and `denyCountries` decide; an operator changes them with `api app set`.",
	},
	{
		CodeNotFound, http.StatusNotFound, "No such address",
		"There is nothing at this address; the API is at /api/v1/otp and /api/v1/otp-verify.",
		"Check the path, and that it has no slash at its end. `/docs` lists them all. The admin API answers so too where there is no app, key or dead letter of that name.",
	},
	{
		CodeOTPNotFound, http.StatusNotFound, "No such OTP",
		"There is no OTP of this id, or it is another app's.",
		"The id in the path must be an `otpId` that `POST /api/v1/otp` answered to a key of the same app. An OTP is forgotten a day after it has expired, and a cancelled one can't be sent again.",
	},
	{
		CodeNoticeNotFound, http.StatusNotFound, "No such notice",
		"There is no notice of this id, or it is another app's.",
		"The id in the path must be an `eventId` that `POST /api/v1/whmcs-webhook` answered to a key of the same app. Notices are forgotten after 35 days.",
	},
	{
		CodeNotOpen, http.StatusConflict, "The OTP is not open any more",
		"The OTP can't be used any more; ask for a new one.",
		"`detail` says why: it has expired, was superseded, was used, is locked after too many wrong codes, or has had its ten messages. Ask for a new one.",
	},
	{
		CodeConflict, http.StatusConflict, "That can't be done as things are",
		"The request contradicts what is there.",
		"Only the admin API answers so; `detail` says why: an app of that name exists already, the default app was to be deleted, no server runs that a sign-in link could lead to, or the callback of a dead letter can't join those that wait.",
	},
	{
		CodeNotResendable, http.StatusConflict, "The notice can't be sent again",
		"Only a notice that was sent, failed or expired can be sent again.",
		"A notice that waits or is on its way will be sent anyhow; one that was skipped was never written; a client who has asked for no more gets none; and a notice may have ten messages.",
	},
	{
		CodeKeyInFlight, http.StatusConflict, "A request with this idempotency key is under way",
		"The first request with this Idempotency-Key isn't answered yet; send this one again in a moment.",
		"Send the request again with the same key: it gets the answer of the first.",
	},
	{
		CodeKeyReused, http.StatusUnprocessableEntity, "The idempotency key was used for another request",
		"This Idempotency-Key came before with other content; use a new key for a new request.",
		"A key stands for one request and its content, for 24 hours and per app. Make a new one, like a random UUID, for each thing that you want done once, and send it again only with the same content.",
	},
	{
		CodeUnknownAction, http.StatusUnprocessableEntity, "The action of a WHMCS event is unknown",
		"There is no text for this action.",
		"`detail` names the actions known. An operator adds one by a file of that name in the directory of `WABEK_NOTICES_DIR`; see docs/notices.md.",
	},
	{
		CodeLimited, http.StatusTooManyRequests, "Too many requests",
		"Wait for as long as Retry-After says.",
		"`limit` names the limit: `phone_cooldown`, `phone_per_hour`, `phone_per_day` (messages to one number), `wrong_tries_delay`, `wrong_tries` (wrong codes in a row for one number, over all its OTPs), " +
			"`app_rate` (OTPs of your app), `address_per_hour` (OTPs for one `ip`). `Retry-After` says in seconds when to try again, and `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` how much is allowed. " +
			"`wrong_tries` ends by no time: an operator lifts it with `api app unlock`. Limits belong to an app and are set with `api app set`. Nothing was sent. A request that a limit of its phone refused counts as one of the app and of the `ip` nevertheless.",
	},
	{
		CodeMethodNotAllowed, http.StatusMethodNotAllowed, "This address doesn't take this method",
		"Use a method that the header Allow names.",
		"The header `Allow` names the methods that the address takes: `POST` to issue and to verify an OTP, `GET` to look at it.",
	},
	{
		CodeBodyTooLarge, http.StatusRequestEntityTooLarge, "The body is too large",
		"Send a body of at most 16 KiB.",
		"A body may have 16 KiB. Most requests need a few hundred bytes; the largest `params` and `metadata` that there may be fit in as ASCII, not in every script.",
	},
	{
		CodeUnsupported, http.StatusUnsupportedMediaType, "The body is compressed",
		"Send the body as it is, without Content-Encoding.",
		"Bodies are small, so none may be compressed: leave `Content-Encoding` out. `Content-Type` isn't looked at.",
	},
	{
		CodeInternal, http.StatusInternalServerError, "Internal error",
		"Something went wrong here. The log has the cause under the id in the header X-Request-Id.",
		"The cause is in the API's log, in the line with the `request_id` that the answer carried as `X-Request-Id`. " +
			"An OTP that was asked for may or may not have been issued; asking again is safe: the newer one takes its place.",
	},
	{
		CodeNoSession, http.StatusServiceUnavailable, "No WhatsApp session can deliver",
		"No WhatsApp session is connected that could deliver the OTP; try again soon.",
		"No OTP was issued. Every session of the pool is logged out, or has been away for longer than `WABEK_QUEUE_GRACE`. `/readyz` counts the sessions; pair one, or look at the sender's log.",
	},
	{
		CodeOverloaded, http.StatusServiceUnavailable, "The sessions can't keep up",
		"More OTPs wait than the WhatsApp sessions can send in time; try again when Retry-After says.",
		"No OTP was issued. So many wait that another one couldn't arrive within `WABEK_MAX_WAIT` at the pace at which the sessions send. Pair more sessions, or ask for fewer.",
	},
	{
		CodeQueueUnavailable, http.StatusServiceUnavailable, "The queue is away",
		"The queue has been away for too long to promise delivery; try again soon.",
		"No OTP was issued. The API has had no connection to NATS for longer than `WABEK_QUEUE_GRACE`. Check the server that `WABEK_NATS_URL` names; the API connects again by itself.",
	},
	{
		CodeBusy, http.StatusServiceUnavailable, "Too many requests wait",
		"The server has more to write than it can; try again in a moment.",
		"More requests wait for the disk than are allowed to, or are under way at all, or follow OTPs live; or this one waited for too long, and then it may or may not have taken effect. " +
			"Asking for an OTP again is safe. Where this lasts, the disk under `WABEK_DATA_DIR` is too slow for the load.",
	},
	{
		CodeShuttingDown, http.StatusServiceUnavailable, "The server is shutting down",
		"This server is shutting down; send the request again.",
		"Send the request again: another API, or this one after its restart, will take it. Where it lasts without a restart, the record store has stopped because it couldn't write, and the log says why; what was under way then may or may not have taken effect.",
	},
}

// docsPath serves docs/errors.md, so that the type of a problem leads somewhere on every installation.
const docsPath = "/docs/errors"

// Refusal is what Admission answers where no OTP can be taken.
type Refusal struct { //nolint:errname // reads better where it is made, and is one half of an answer more than an error
	Code       Code          // CodeNoSession, CodeOverloaded, CodeQueueUnavailable, CodeBusy or CodeShuttingDown
	RetryAfter time.Duration // rounded up to whole seconds, at least one
	Detail     string        // a sentence for the caller; empty for the catalogue's
}

// Error says the code and the detail.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

// problem is an error on its way to the client.
type problem struct {
	code   Code
	field  string
	detail string          // empty for the catalogue's
	limit  *otp.LimitError // for 429
	retry  time.Duration   // for 429 and 503; 0 for retryDefault
	close  bool            // the connection is of no further use
	cause  error           // for the log alone
}

// retryDefault is the Retry-After of a 503 that doesn't know better.
const retryDefault = time.Second

func (p *problem) Error() string { return string(p.code) + ": " + p.detail }

func (p *problem) Unwrap() error { return p.cause }

func (p *problem) kind() kind {
	for _, k := range catalogue {
		if k.code == p.code {
			return k
		}
	}
	return (&problem{code: CodeInternal}).kind()
}

func invalid(field, detail string) *problem {
	return &problem{code: CodeInvalidField, field: field, detail: detail}
}

// problemOf finds the problem behind an error of a handler, the router or package otp.
func problemOf(err error) *problem {
	var (
		p       *problem
		refusal *Refusal
		router  *echo.HTTPError
		limit   *otp.LimitError
		notOpen *otp.NotOpenError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &limit):
		return &problem{code: CodeLimited, limit: limit, retry: limit.RetryAfter}
	case errors.As(err, &notOpen):
		return &problem{code: CodeNotOpen, detail: notOpenDetail(notOpen)}
	case errors.Is(err, whmcs.ErrNoNotice):
		return &problem{code: CodeNoticeNotFound}
	case errors.Is(err, otp.ErrNoRecord):
		return &problem{code: CodeOTPNotFound}
	case errors.Is(err, otp.ErrKeyReused):
		return &problem{code: CodeKeyReused}
	case errors.As(err, &refusal):
		return &problem{code: refusal.Code, detail: refusal.Detail, retry: refusal.RetryAfter}
	case errors.As(err, &router) && router.Code == http.StatusNotFound:
		return &problem{code: CodeNotFound}
	case errors.As(err, &router) && router.Code == http.StatusMethodNotAllowed:
		return &problem{code: CodeMethodNotAllowed}
	case errors.Is(err, otp.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		return &problem{code: CodeBusy, cause: err}
	case errors.Is(err, otp.ErrClosed):
		return &problem{code: CodeShuttingDown, cause: err, close: true}
	default:
		return &problem{code: CodeInternal, cause: err}
	}
}

// document is a problem as RFC 9457 has it, with success, code and field of our own.
type document struct {
	Type    string    `json:"type"`
	Title   string    `json:"title"`
	Status  int       `json:"status"`
	Success bool      `json:"success"`
	Code    Code      `json:"code"`
	Field   string    `json:"field,omitempty"`
	Limit   otp.Limit `json:"limit,omitempty"`
	Detail  string    `json:"detail"`
}

// write answers with the problem.
func (p *problem) write(c echo.Context) error {
	k := p.kind()
	doc := document{Type: docsPath + "#" + string(k.code), Title: k.title, Status: k.status, Code: k.code, Field: p.field, Detail: p.detail}
	if p.limit != nil {
		doc.Limit = p.limit.Limit
	}
	if doc.Detail == "" {
		doc.Detail = k.detail
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "application/problem+json")
	switch k.status {
	case http.StatusTooManyRequests:
		p.writeLimit(h)
	case http.StatusServiceUnavailable:
		retry := p.retry
		if retry == 0 {
			retry = retryDefault
		}
		h.Set(echo.HeaderRetryAfter, retrySeconds(retry))
	case http.StatusUnauthorized: // RFC 9110 section 11.6.1 wants a challenge with every 401
		h.Set(echo.HeaderWWWAuthenticate, `ApiKey realm="wabek"`)
	}
	if p.close {
		h.Set(echo.HeaderConnection, "close")
	}
	c.Response().WriteHeader(k.status)
	_, err := c.Response().Write(body.Bytes())
	return err
}

// forever is what a client is told to wait where no time helps.
const forever = 24 * time.Hour

// writeLimit says in headers what is allowed and when to try again: Retry-After (RFC 9110), and the three of
// draft-ietf-httpapi-ratelimit-headers-05, which most clients that know any know.
func (p *problem) writeLimit(h http.Header) {
	if p.limit == nil {
		h.Set(echo.HeaderRetryAfter, retrySeconds(retryDefault))
		return
	}
	wait := p.limit.RetryAfter
	if wait == 0 {
		wait = forever
	}
	h.Set(echo.HeaderRetryAfter, retrySeconds(wait))
	h.Set("RateLimit-Limit", strconv.Itoa(p.limit.Allowed))
	h.Set("RateLimit-Remaining", "0")
	h.Set("RateLimit-Reset", retrySeconds(wait))
}

func notOpenDetail(e *otp.NotOpenError) string {
	if e.Sends {
		return fmt.Sprintf("The OTP has had its %d messages; ask for a new one.", otp.MaxSends)
	}
	return e.Verdict.Reason() + "; ask for a new one."
}

// Markdown is docs/errors.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Errors

<!-- Generated from internal/api/problem.go; do not edit. To renew: go test ./internal/api -update -->

Every error of the API is a problem document (RFC 9457, ` + "`application/problem+json`" + `):

` + "```json" + `
{"type":"/docs/errors#invalid_field","title":"A field is missing or malformed","status":400,"success":false,"code":"invalid_field","field":"phone","detail":"…"}
` + "```" + `

Decide by ` + "`code`" + `, which never changes its meaning; ` + "`detail`" + ` is for people. Every 429 and 503 has ` + "`Retry-After`" + ` in seconds.
The header ` + "`X-Request-Id`" + ` of each answer leads to its line in the log; a request may bring its own, 1 to 64 of letters,
digits, dot, dash and underscore. A wrong or used code is no error: ` + "`/api/v1/otp-verify`" + ` answers 200 with
` + "`valid`" + ` and ` + "`reason`" + `. What isn't HTTP at all, or has headers above 16 KiB, is refused in plain text before it gets here.

`)
	for _, k := range catalogue {
		b.WriteString("## " + string(k.code) + "\n\n" + strconv.Itoa(k.status) + " · " + k.title + ".\n\n" + k.mend + "\n\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
