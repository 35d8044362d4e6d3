package console_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/console"
	"wabek/internal/job"
)

func (c *client) post(path, body string) (answer, map[string]any) {
	c.b.t.Helper()
	a := c.do(http.MethodPost, "/console/api/v1"+path, body, "Content-Type", "application/json")
	var doc map[string]any
	require.NoError(c.b.t, json.Unmarshal([]byte(a.body), &doc), a.body)
	return a, doc
}

func TestPassOn_AnswersAsTheAPIDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.user()
	_, issued := u.post("/otp", `{"phone":"`+number+`","purpose":"login","locale":"tr"}`)
	require.Equal(t, []any{true, "queued"}, []any{issued["success"], issued["status"]})
	id := issued["otpId"].(string)

	limited, doc := u.post("/otp", `{"phone":"`+number+`","purpose":"login"}`)
	require.Equal(t, []any{429, "30", "rate_limited", "phone_cooldown"}, []any{limited.status, limited.header.Get("Retry-After"), doc["code"], doc["limit"]})

	_, wrong := u.post("/otp-verify", `{"otp_id":"`+id+`","otp":"x"}`)
	require.Equal(t, map[string]any{"valid": false, "reason": "Invalid OTP", "attemptsLeft": 4.0}, wrong)
	b.cooldown(0)
	_, again := u.post("/otp/"+id+"/resend", "")
	require.Equal(t, true, again["success"])
	require.Len(t, b.api.Messages(), 2)
	_, right := u.post("/otp-verify", `{"otp_id":"`+id+`","otp":"`+b.code()+`"}`)
	require.Equal(t, map[string]any{"valid": true}, right)
	shown := u.get("/console/api/v1/otp/" + id)
	require.Contains(t, shown.body, `"state":"verified"`)
	late, doc := u.post("/otp/"+id+"/cancel", "")
	require.Equal(t, []any{409, "otp_not_open"}, []any{late.status, doc["code"]})
	require.NotContains(t, b.log.String(), number)
}

func TestPassOn_NothingElseOfTheAPI(t *testing.T) {
	t.Parallel()
	var reached []string
	b := setup(t, func(o *console.Options) {
		inner := o.API
		o.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reached = append(reached, r.URL.Path)
			inner.ServeHTTP(w, r)
		})
	})
	u := b.user()
	for _, path := range []string{
		"/api/v1/admin/apps", "/api/v1/otp/x/../../admin/apps", "/api/v1/otp/%2e%2e/admin/apps", "/api/v1/otp/x/unlock", "/api/v1/otp/", "/healthz", "/api",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			require.NotEqual(t, http.StatusOK, u.do(method, "/console"+path, "{}").status, method+path)
		}
	}
	require.Empty(t, reached)
}

func TestPassOn_CookiesAndKeysStayBehind(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	b := setup(t, func(o *console.Options) {
		o.API = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r })
	})
	u := b.user()
	u.do(http.MethodPost, "/console/api/v1/otp?a=b", "{}", "Content-Type", "application/json", "X-API-Key", "another", "Authorization", "x", "X-Forwarded-For", "1.2.3.4",
		"Idempotency-Key", "k", "Last-Event-ID", "7")
	r := <-seen
	require.Equal(t, http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"k"}, "Last-Event-Id": {"7"}}, r.Header)
	require.Equal(t, []string{"/api/v1/otp", "a=b", "/api/v1/otp?a=b"}, []string{r.URL.Path, r.URL.RawQuery, r.RequestURI})
	require.NotEmpty(t, r.RemoteAddr)
}

// events follows an OTP; the function gives the next event as id and status, false at the end of the stream.
func (c *client) events(id string, headers ...string) (next func() (string, string, bool)) {
	c.b.t.Helper()
	resp, err := c.http.Do(c.request(http.MethodGet, "/console/api/v1/otp/"+id+"/events", "", headers...))
	require.NoError(c.b.t, err)
	c.b.t.Cleanup(func() { _ = resp.Body.Close() })
	require.Equal(c.b.t, http.StatusOK, resp.StatusCode)
	require.Equal(c.b.t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	return func() (seq, status string, more bool) {
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				seq = id
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var view struct{ Status string }
				require.NoError(c.b.t, json.Unmarshal([]byte(data), &view))
				return seq, view.Status, true
			}
		}
		return "", "", false
	}
}

func TestPassOn_EventsAsTheyHappenAndFromWhereTheyBrokeOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.user()
	_, issued := u.post("/otp", `{"phone":"`+number+`","purpose":"login"}`)
	id := issued["otpId"].(string)
	next := u.events(id)
	want := func(seq, status string) {
		t.Helper()
		gotSeq, got, more := next()
		require.Equal(t, []any{seq, status, true}, []any{gotSeq, got, more})
	}
	want("0", "queued")
	b.api.Say(id, job.Sending)
	want("1", "sending")
	b.api.Say(id, job.Sent)
	want("2", "sent")
	next = u.events(id, "Last-Event-ID", "1")
	want("2", "sent")
	b.api.Say(id, job.Delivered)
	want("3", "delivered")
}

func TestPassOn_AStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.user()
	_, issued := u.post("/otp", `{"phone":"`+number+`","purpose":"login"}`)
	next := u.events(issued["otpId"].(string))
	_, _, more := next()
	require.True(t, more)
	require.Equal(t, http.StatusSeeOther, u.form("/console/sign-out", nil).status)
	_, _, more = next()
	require.False(t, more)
	require.Equal(t, http.StatusUnauthorized, u.get("/console/api/v1/otp/"+issued["otpId"].(string)+"/events").status)
}
