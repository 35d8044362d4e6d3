package api_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/otp"
)

var update = flag.Bool("update", false, "rewrite generated files")

const (
	goodIssue  = `{"phone":"` + number + `","purpose":"verification"}`
	unknownOTP = `{"otp_id":"01999999-9999-7999-8999-999999999999","otp":"123456"}`
)

// TestAnswers compares whole answers, status, headers and body, with the files in testdata.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const issue, verify = "POST /api/v1/otp", "POST /api/v1/otp-verify"
	refused := func(code api.Code, detail string) func(*bundle) {
		return func(b *bundle) {
			b.policy.refusal = &api.Refusal{Code: code, RetryAfter: 4500 * time.Millisecond, Detail: detail}
		}
	}
	panicking := otps{issue: func(context.Context, otp.Request) (otp.Issued, error) { panic("code 123456") }}
	for _, c := range []struct {
		name    string
		request string
		body    string
		headers []string
		otps    api.OTPs
		before  func(*bundle)
	}{
		{name: "issue", request: issue, body: goodIssue},
		{name: "issue_ignores_unknown_fields_and_takes_the_last_of_two", request: issue, body: ` {"phone":"+1","phone":"` + number + `","purpose":"p","more":{"a":[1]}} `},
		{name: "issue_with_any_content_type", request: issue, body: goodIssue, headers: []string{"Content-Type", "text/plain"}},
		{name: "issue_keeps_a_request_id", request: issue, body: goodIssue, headers: []string{"X-Request-Id", "trace-1.a_B"}},
		{name: "verify_not_found", request: verify, body: unknownOTP},
		{name: "verify_any_text_may_be_a_wrong_code", request: verify, body: `{"otp_id":"01999999-9999-7999-8999-999999999999","otp":"<\u0000 é>"}`},
		{name: "healthz", request: "GET /healthz"},
		{name: "healthz_head", request: "HEAD /healthz"},
		{name: "readyz", request: "GET /readyz"},
		{name: "readyz_degraded", request: "GET /readyz", before: degraded},
		{name: "readyz_degraded_strict", request: "GET /readyz?strict", before: degraded},
		{name: "readyz_not_ready", request: "GET /readyz", before: func(b *bundle) { degraded(b); b.report.Ready = false }},
		{name: "readyz_draining", request: "GET /readyz", before: func(b *bundle) { b.server.Drain() }},
		{name: "options", request: "OPTIONS /api/v1/otp"},

		{name: "invalid_json", request: issue, body: `{"phone":"` + number + `",`},
		{name: "invalid_json_empty", request: issue},
		{name: "invalid_json_no_object", request: issue, body: `["` + number + `"]`},
		{name: "invalid_json_null", request: verify, body: `null`},
		{name: "invalid_json_trailing_garbage", request: issue, body: goodIssue + "x"},
		{name: "invalid_json_two_objects", request: verify, body: unknownOTP + unknownOTP},
		{name: "invalid_field_phone_missing", request: issue, body: `{"purpose":"verification"}`},
		{name: "invalid_field_phone_null", request: issue, body: `{"phone":null,"purpose":"verification"}`},
		{name: "invalid_field_phone_number", request: issue, body: `{"phone":905551234567,"purpose":"verification"}`},
		{name: "invalid_field_phone_malformed", request: issue, body: `{"phone":"05551234567","purpose":"verification"}`},
		{name: "invalid_field_purpose_missing", request: issue, body: `{"phone":"` + number + `"}`},
		{name: "invalid_field_purpose_type", request: issue, body: `{"phone":"` + number + `","purpose":["a"]}`},
		{name: "invalid_field_purpose_characters", request: issue, body: `{"phone":"` + number + `","purpose":"a/b"}`},
		{name: "invalid_field_purpose_long", request: issue, body: `{"phone":"` + number + `","purpose":"` + strings.Repeat("p", 65) + `"}`},
		{name: "invalid_field_otp_id_missing", request: verify, body: `{"otp":"123456"}`},
		{name: "invalid_field_otp_id_malformed", request: verify, body: `{"otp_id":"0199","otp":"123456"}`},
		{name: "invalid_field_otp_id_urn", request: verify, body: `{"otp_id":"urn:uuid:01999999-9999-7999-8999-999999999999","otp":"123456"}`},
		{name: "invalid_field_otp_missing", request: verify, body: `{"otp_id":"01999999-9999-7999-8999-999999999999"}`},
		{name: "invalid_field_otp_number", request: verify, body: `{"otp_id":"01999999-9999-7999-8999-999999999999","otp":123456}`},
		{name: "invalid_field_otp_long", request: verify, body: `{"otp_id":"01999999-9999-7999-8999-999999999999","otp":"` + strings.Repeat("1", 33) + `"}`},
		{name: "unauthorized_missing", request: issue, body: goodIssue, headers: []string{"X-API-Key", ""}},
		{name: "unauthorized_wrong", request: issue, body: goodIssue, headers: []string{"X-API-Key", apiKey + "2"}},
		{name: "unauthorized_before_the_body_is_parsed", request: verify, body: "{", headers: []string{"X-API-Key", "wrong"}},
		{name: "body_too_large", request: issue, body: `{"phone":"` + strings.Repeat(" ", 16<<10) + `"}`},
		{name: "not_found", request: "GET /api/v1/otps/" + number},
		{name: "otp_not_found", request: "GET /api/v1/otp/" + number},
		{name: "otp_not_found_resend", request: "POST /api/v1/otp/01999999-9999-7999-8999-999999999999/resend"},
		{name: "otp_not_found_cancel", request: "POST /api/v1/otp/01999999-9999-7999-8999-999999999999/cancel"},
		{name: "otp_not_open", request: "POST /api/v1/otp/01999999-9999-7999-8999-999999999999/resend", otps: failing(&otp.NotOpenError{Verdict: otp.AlreadyUsed})},
		{name: "otp_not_open_sends", request: "POST /api/v1/otp/01999999-9999-7999-8999-999999999999/resend", otps: failing(&otp.NotOpenError{Sends: true})},
		{name: "idempotency_key_reused", request: issue, body: goodIssue, headers: []string{"Idempotency-Key", "a"}, otps: failing(otp.ErrKeyReused)},
		{name: "invalid_field_idempotency_key", request: issue, body: goodIssue, headers: []string{"Idempotency-Key", "a b"}},
		{name: "rate_limited", request: issue, body: goodIssue, otps: failing(&otp.LimitError{
			Limit: otp.LimitPhoneHour, Allowed: 6, Window: time.Hour, RetryAfter: 90500 * time.Millisecond,
		})},
		{name: "rate_limited_for_ever", request: verify, body: unknownOTP, otps: failing(&otp.LimitError{Limit: otp.LimitGuesses, Allowed: 100})},
		{name: "unsupported_encoding", request: issue, body: goodIssue, headers: []string{"Content-Encoding", "gzip"}},
		{name: "country_not_allowed", request: issue, body: goodIssue, before: func(b *bundle) {
			_, err := b.apps.SaveApp(b.t.Context(), otp.DefaultApp, apps.Settings{DenyCountries: &[]string{"TR"}}, false)
			require.NoError(b.t, err)
		}},
		{name: "conflict", request: "DELETE /api/v1/admin/apps/default"},
		{name: "invalid_field_locale", request: issue, body: `{"phone":"` + number + `","purpose":"p","locale":"türkçe"}`},
		{name: "invalid_field_template", request: issue, body: `{"phone":"` + number + `","purpose":"p","template":"none"}`},
		{name: "invalid_field_params", request: issue, body: `{"phone":"` + number + `","purpose":"p","params":{"A":"b"}}`},
		{name: "invalid_field_params_type", request: issue, body: `{"phone":"` + number + `","purpose":"p","params":{"a":123456}}`},
		{name: "invalid_field_metadata", request: issue, body: `{"phone":"` + number + `","purpose":"p","metadata":{"":"b"}}`},
		{name: "invalid_field_expiry_seconds", request: issue, body: `{"phone":"` + number + `","purpose":"p","expiry_seconds":59}`},
		{name: "invalid_field_expiry_seconds_type", request: issue, body: `{"phone":"` + number + `","purpose":"p","expiry_seconds":"600"}`},
		{name: "invalid_field_ip", request: issue, body: `{"phone":"` + number + `","purpose":"p","ip":"fe80::1%eth0"}`},
		{name: "invalid_field_code", request: issue, body: `{"phone":"` + number + `","purpose":"p","code":"123456"}`},
		{name: "invalid_field_verify_phone", request: verify, body: `{"phone":"5","purpose":"p","otp":"123456"}`},
		{name: "not_found_slash", request: issue + "/", body: goodIssue},
		{name: "method_not_allowed", request: "GET /api/v1/otp"},
		{name: "method_not_allowed_health", request: "POST /healthz"},
		{name: "no_session", request: issue, body: goodIssue, before: refused(api.CodeNoSession, "Pair one.")},
		{name: "no_session_without_detail", request: issue, body: goodIssue, before: refused(api.CodeNoSession, "")},
		{name: "overloaded", request: issue, body: goodIssue, before: refused(api.CodeOverloaded, "")},
		{name: "queue_unavailable", request: issue, body: goodIssue, before: refused(api.CodeQueueUnavailable, "")},
		{name: "shutting_down_refused", request: issue, body: goodIssue, before: refused(api.CodeShuttingDown, "")},
		{name: "shutting_down_draining", request: verify, body: unknownOTP, before: func(b *bundle) { b.server.Drain() }},
		{name: "shutting_down_store_closed", request: issue, body: goodIssue, before: func(b *bundle) { require.NoError(b.t, b.store.Close()) }},
		{name: "busy", request: issue, body: goodIssue, otps: failing(fmt.Errorf("issue OTP: %w", otp.ErrBusy))},
		{name: "busy_deadline", request: verify, body: unknownOTP, otps: failing(fmt.Errorf("verify OTP: %w", context.DeadlineExceeded))},
		{name: "internal", request: issue, body: goodIssue, otps: failing(errors.New("disk on fire"))},
		{name: "internal_panic", request: issue, body: goodIssue, otps: panicking},
		{name: "internal_unexpected_admission_error", request: issue, body: goodIssue, before: func(b *bundle) { b.policy.refusal = errors.New("odd") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var options []option
			if c.otps != nil {
				options = append(options, with(c.otps))
			}
			b := setup(t, options...)
			if c.before != nil {
				c.before(b)
			}
			method, path, _ := strings.Cut(c.request, " ")
			golden(t, c.name, b.do(method, path, c.body, c.headers...))
			for _, secret := range []string{number, number[1:], number[2:], apiKey, "123456"} {
				require.NotContains(t, b.log.String(), secret)
			}
		})
	}
}

func degraded(b *bundle) {
	b.report.Degraded = []string{"nats", "sessions"}
	b.report.Sessions = api.SessionCount{Up: 1, Total: 3}
	b.report.Relay = api.RelayCount{Pending: 7, Republished: 2}
}

// golden compares an answer with its file. What differs from run to run is checked and left out.
func golden(t *testing.T, name string, a answer) {
	t.Helper()
	require.NotEmpty(t, a.header.Get("X-Request-Id"))
	var out strings.Builder
	fmt.Fprintf(&out, "%d %s\n", a.status, http.StatusText(a.status))
	for _, h := range slices.Sorted(maps.Keys(a.header)) {
		if h == "Date" || h == "Content-Length" || h == "X-Request-Id" && !strings.HasPrefix(a.header.Get(h), "trace-") {
			continue
		}
		fmt.Fprintf(&out, "%s: %s\n", h, strings.Join(a.header[h], ", "))
	}
	out.WriteString("\n" + a.body)
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test ./internal/api -update")
	require.Equal(t, string(want), out.String())
}

func TestEveryCodeHasAGoldenFileAndASectionOfTheDocumentation(t *testing.T) {
	t.Parallel()
	for _, code := range []api.Code{
		api.CodeInvalidJSON, api.CodeInvalidField, api.CodeUnauthorized, api.CodeNotFound, api.CodeMethodNotAllowed, api.CodeBodyTooLarge,
		api.CodeInternal, api.CodeNoSession, api.CodeQueueUnavailable, api.CodeBusy, api.CodeShuttingDown, api.CodeOTPNotFound, api.CodeNotOpen,
		api.CodeForbidden, api.CodeCountry, api.CodeConflict, api.CodeOverloaded, api.CodeKeyInFlight, api.CodeKeyReused, api.CodeLimited, api.CodeUnsupported,
	} {
		files, err := filepath.Glob(filepath.Join("testdata", string(code)+"*.golden"))
		require.NoError(t, err)
		require.NotEmpty(t, files, code)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(data), `"type":"/docs/errors#`+string(code)+`"`, file)
			require.Contains(t, string(data), `"success":false,"code":"`+string(code)+`"`, file)
		}
		require.Contains(t, api.Markdown(), "\n## "+string(code)+"\n")
	}
}

func TestDocumentationIsUpToDate(t *testing.T) {
	t.Parallel()
	const file = "../../docs/errors.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(api.Markdown()), 0o644))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(have), api.Markdown(), "run go test ./internal/api -update")
	served := setup(t).do(http.MethodGet, "/docs/errors", "")
	require.Equal(t, string(have), served.body)
}
