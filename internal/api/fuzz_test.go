package api_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/status"
	"wabek/internal/text"
	"wabek/internal/whmcs"
)

// null is a domain that agrees with everything at once.
func null() otps {
	return otps{
		issue:  func(context.Context, otp.Request) (otp.Issued, error) { return otp.Issued{ID: otp.ID{6: 0x70}}, nil },
		verify: func(context.Context, otp.Try) (otp.Tried, error) { return otp.Tried{Verdict: otp.Valid}, nil },
	}
}

// none has no documents and no statuses.
type none struct{}

func (none) Documents(context.Context, string) (map[string][]byte, error) {
	return map[string][]byte{}, nil
}

func (none) SetDocument(context.Context, string, []byte) error { return nil }

func (none) Last(context.Context, string, job.ID) (job.Status, uint64, error) {
	return job.Status{}, 0, nil
}

func (none) History(context.Context, string, job.ID, uint64) ([]job.Status, error) { return nil, nil }

type healthy struct{}

func (healthy) Health() api.Report { return api.Report{Ready: true} }

// nullHooks takes every event.
type nullHooks struct{ api.Hooks }

func (nullHooks) Actions() []string { return []string{"InvoiceCreated", "UserLogin"} }

func (nullHooks) Accept(context.Context, string, whmcs.Hook) (whmcs.ID, bool, error) {
	return whmcs.ID{1}, false, nil
}

func (nullHooks) DropAccess(context.Context, string) error { return nil }

func nullServer(tb testing.TB) http.Handler {
	tb.Helper()
	logger := slog.New(slog.DiscardHandler)
	registry, err := apps.Open(tb.Context(), apps.Config{
		Documents: none{}, Default: defaultSettings(), Fixed: []apps.FixedKey{{ID: "fixed", Digest: apps.DigestOf(apiKey), Scopes: apps.Scopes()}}, PhoneKey: keys.NewMAC([]byte("key")), CallbackKey: keys.NewMAC([]byte("key")),
		Now: time.Now, Logger: logger,
	})
	require.NoError(tb, err)
	texts, err := text.Load("")
	require.NoError(tb, err)
	s, err := api.New(api.Options{
		OTPs: null(), Callers: registry, Limiter: apps.NewLimiter(time.Now), Texts: texts, Deliveries: none{}, Callbacks: &letters{}, Hooks: nullHooks{}, Live: status.NewHub(1, func(id job.ID) string { return string(id) }),
		Admission: &admission{}, Health: healthy{}, Now: time.Now, Logger: logger,
	})
	require.NoError(tb, err)
	return s.Handler()
}

// FuzzBody sends any body to both routes: never a panic, never a 500, and never what was sent in an error.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		goodIssue, unknownOTP, goodEvent, `{"action":"UserLogin","userid":"7","client":{"phonenumber":5},"data":[]}`, `{"action":"InvoiceCreated","invoiceid":1e9}`, "", "{", "null", `{"phone":5}`, `{"phone":{"a":[]},"otp":[[]]}`, "\xff", `{"PHONE":"+905551234567"}`,
		`{"phone":"+905551234567","purpose":"login","params":{"a":1}}`, `{"phone":"+905551234567","purpose":"login","metadata":{"a":"b"},"ip":"::1%x"}`,
		`{"phone":"+905551234567","purpose":"login","locale":"tr","expiry_seconds":1e9}`, `{"phone":"+905551234567","purpose":"p","template":"x","code":"123456"}`,
		`{"phone":"+905551234567","purpose":"login","otp":"123456"}`,
		`{"otp_id":"{01999999-9999-7999-8999-999999999999}","otp":""}`, strings.Repeat("[", 2000), strings.Repeat(" ", 16<<10),
	} {
		f.Add(s)
	}
	h := nullServer(f)
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/api/v1/otp", "/api/v1/otp-verify", "/api/v1/whmcs-webhook"} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
			req.Header.Set("X-API-Key", apiKey)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			var doc struct {
				Code, Field string
				Success     *bool
			}
			require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &doc))
			if rec.Code == http.StatusOK {
				continue
			}
			require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, rec.Code, rec.Body)
			require.NotNil(t, doc.Success)
			require.Contains(t, []string{"invalid_json", "invalid_field", "body_too_large", "unknown_action"}, doc.Code)
			require.Contains(t, []string{
				"", "phone", "purpose", "otp_id", "otp", "locale", "template", "params", "expiry_seconds", "metadata", "ip", "code",
				"action", "invoiceid", "userid", "ticketid", "replyid", "serviceid", "domainid", "time", "client", "data",
			}, doc.Field)
			require.Equal(t, doc.Code == "invalid_field" || doc.Code == "unknown_action", doc.Field != "")
		}
	})
}

// FuzzAdmin sends any body to the admin API: an answer or a problem, never a panic, never a 500.
func FuzzAdmin(f *testing.F) {
	for _, s := range []string{
		`{"name":"shop","title":"Shop","perHour":3,"allowCountries":["TR"]}`, `{"name":"shop","testNumbers":{"a":"b"}}`, `{"ratePerSecond":1e308}`,
		`{"app":"default","scopes":["otp"],"networks":["192.0.2.0/24"],"expiresInDays":1}`, `{"phone":"+905551234567","code":"424242"}`,
		`{"expiresInDays":9223372036854775807}`, `{"networks":["::/0","x"]}`, "", "{}", "null", "{}{}", `{"name":null}`, `{"burst":-1,"locale":"x-"}`,
	} {
		f.Add(s)
	}
	h := nullServer(f)
	f.Fuzz(func(t *testing.T, body string) {
		for _, request := range []string{
			"POST /api/v1/admin/apps", "PUT /api/v1/admin/apps/default", "POST /api/v1/admin/keys", "POST /api/v1/admin/apps/default/test-numbers",
		} {
			method, path, _ := strings.Cut(request, " ")
			req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			req.Header.Set("X-API-Key", apiKey)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			require.True(t, json.Valid(rec.Body.Bytes()))
			require.Contains(t, []int{200, 201, 400, 409, 413}, rec.Code, "%s: %s", request, rec.Body)
		}
	})
}

// noop is the ceiling: an echo handler that only parses and answers.
func noop() http.Handler {
	e := echo.New()
	e.POST("/api/v1/otp", func(c echo.Context) error {
		var q struct {
			Phone   string `json:"phone"`
			Purpose string `json:"purpose"`
		}
		if err := c.Bind(&q); err != nil {
			return err
		}
		return c.JSON(http.StatusOK, struct {
			Success bool   `json:"success"`
			ID      string `json:"otpId"`
		}{true, "00000000-0000-7000-0000-000000000000"})
	})
	return e
}

func BenchmarkIssue(b *testing.B) {
	for name, h := range map[string]http.Handler{"wabek": nullServer(b), "noop_echo": noop()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := strings.NewReader(goodIssue)
			req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/api/v1/otp", body)
			req.Header.Set("X-API-Key", apiKey)
			req.Header.Set("Content-Type", "application/json")
			w := &discard{header: http.Header{}}
			for b.Loop() {
				body.Reset(goodIssue)
				clear(w.header)
				w.status = 0
				h.ServeHTTP(w, req)
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// discard is a response nobody reads, without a recorder's cost.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
