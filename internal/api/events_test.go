package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/job"
)

// stream is a client that follows an OTP.
type stream struct {
	t     *testing.T
	body  *http.Response
	lines *bufio.Scanner
}

type event struct {
	id   string
	data document
}

func (b *bundle) follow(id string, headers ...string) *stream {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/api/v1/otp/"+id+"/events", nil)
	require.NoError(b.t, err)
	req.Header.Set("X-API-Key", apiKey)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return &stream{t: b.t, body: resp, lines: bufio.NewScanner(resp.Body)}
}

// next is the next event; false at the end of the stream.
func (s *stream) next() (e event, more bool) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			e.id = id
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			require.NoError(s.t, json.Unmarshal([]byte(data), &e.data))
		}
		if line == "" && e.data != nil {
			return e, true
		}
	}
	return e, false
}

// want reads the next event, which must have this id, status and state.
func (s *stream) want(id, status, state string) event {
	s.t.Helper()
	e, more := s.next()
	require.True(s.t, more, "the stream has ended")
	require.Equal(s.t, []any{id, status, state}, []any{e.id, e.data["status"], e.data["state"]})
	return e
}

func TestEvents_EachStateAsItHappens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	s := b.follow(id)
	require.Equal(t, "text/event-stream", s.body.Header.Get("Content-Type"))
	s.want("0", "queued", "open")
	b.says(job.Status{Job: job.ID(id), State: job.Sending})
	s.want("1", "sending", "open")
	b.says(job.Status{Job: job.ID(id), State: job.Sent})
	require.Equal(t, "2026-11-24T09:00:00.000Z", s.want("2", "sent", "open").data["sentAt"])
	b.says(job.Status{Job: job.ID(id), State: job.Sending}) // an older one that comes late
	b.says(job.Status{Job: job.ID(id), State: job.Read})
	s.want("4", "read", "open")
	b.verify(id, "x")
	require.EqualValues(t, 1, s.want("4", "read", "open").data["attemptsLeft"])
	b.verify(id, b.code())
	s.want("4", "read", "verified")

	b.newID(goodIssue)
	other := b.issue()
	s = b.follow(other)
	s.want("0", "queued", "open")
	b.call(postOTP+"/"+other+"/resend", "")
	require.EqualValues(t, 2, s.want("0", "queued", "open").data["sends"])
	b.says(job.Status{Job: job.ID(other), State: job.Sent}) // of the first message, which says nothing of the second
	b.says(job.Status{Job: job.ID(other + "-2"), State: job.Sent})
	s.want("6", "sent", "open")
	b.call(postOTP+"/"+other+"/cancel", "")
	s.want("6", "sent", "cancelled")
}

func TestEvents_GoOnWhereTheyWere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	for _, state := range []job.State{job.Sending, job.Sent, job.Delivered} {
		b.says(job.Status{Job: job.ID(id), State: state})
	}
	b.follow(id).want("3", "delivered", "open")
	s := b.follow(id, "Last-Event-ID", "1")
	s.want("2", "sent", "open")
	s.want("3", "delivered", "open")
	b.says(job.Status{Job: job.ID(id), State: job.Read})
	s.want("4", "read", "open")
	b.follow(id, "Last-Event-ID", "4").want("4", "read", "open")
	a := b.do(http.MethodGet, "/api/v1/otp/"+id+"/events", "", "Last-Event-ID", "x")
	require.Equal(t, http.StatusBadRequest, a.status)
}

func TestEvents_EndWithTheOTP(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	b.after(10*time.Minute + 59*time.Second)
	s := b.follow(id)
	s.want("0", "queued", "expired")
	b.after(2 * time.Second)
	b.hub.Nudge(id)
	_, more := s.next()
	require.False(t, more, "a minute after its expiry")
}

func TestEvents_EndWhenTheServerDrains(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.follow(b.issue())
	s.want("0", "queued", "open")
	b.server.Drain()
	_, more := s.next()
	require.False(t, more)
}

func TestEvents_HaveABound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	for range 3 {
		b.follow(id).want("0", "queued", "open")
	}
	require.Equal(t, http.StatusServiceUnavailable, b.follow(id).body.StatusCode)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/api/v1/otp/01999999-9999-7999-8999-999999999999/events", "").status)
}

// What is told again is told as it was: not with times of what came later.
func TestEvents_AStateThatIsToldAgainHasNoLaterTimes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	for _, state := range []job.State{job.Sending, job.Sent, job.Delivered} {
		b.says(job.Status{Job: job.ID(id), State: state})
	}
	require.NoError(t, b.store.Apply(t.Context(), b.stream))
	s := b.follow(id, "Last-Event-ID", "1")
	sent := s.want("2", "sent", "open")
	require.Contains(t, sent.data, "sentAt")
	require.NotContains(t, sent.data, "deliveredAt", "an acknowledgement is no receipt")
	require.Contains(t, s.want("3", "delivered", "open").data, "deliveredAt")
}

func TestEvents_GoOnFromBeforeTheFirstStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	b.follow(id).want("0", "queued", "open")
	b.says(job.Status{Job: job.ID(id), State: job.Sending})
	b.says(job.Status{Job: job.ID(id), State: job.Sent})
	s := b.follow(id, "Last-Event-ID", "0")
	s.want("1", "sending", "open")
	s.want("2", "sent", "open")
}

func TestEvents_AnOTPThatIsIssuedAgainIsToldAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{Reissue: new(apps.Same)})
	id := b.newID(goodIssue, "X-API-Key", key)
	s := b.follow(id, "X-API-Key", key)
	s.want("0", "queued", "open")
	b.says(job.Status{Job: job.ID(id), State: job.Sent})
	s.want("1", "sent", "open")
	require.Equal(t, id, b.newID(goodIssue, "X-API-Key", key))
	require.EqualValues(t, 2, s.want("1", "queued", "open").data["sends"])
}

// deaf tells nobody that an OTP has changed, as where a request ended before it could.
type deaf struct{ api.Live }

func (deaf) Nudge(string) {}

func TestEvents_AtTheExpiryTheRecordSaysHowItEnded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *api.Options) { o.Live = deaf{o.Live} })
	id := b.issue()
	b.after(10*time.Minute - 50*time.Millisecond)
	s := b.follow(id)
	s.want("0", "queued", "open")
	require.JSONEq(t, `{"valid":true}`, b.verify(id, b.code()))
	b.after(50 * time.Millisecond)
	s.want("0", "queued", "verified")
}

func TestEvents_EndWithTheirKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, key, err := b.apps.CreateKey(t.Context(), apps.NewKey{App: "default", Scopes: []apps.Scope{apps.ScopeRead}})
	require.NoError(t, err)
	id := b.issue()
	s := b.follow(id, "X-API-Key", key)
	s.want("0", "queued", "open")
	require.NoError(t, b.apps.RevokeKey(t.Context(), strings.Split(key, "_")[1]))
	b.says(job.Status{Job: job.ID(id), State: job.Sent})
	e, more := s.next()
	require.False(t, more, "a revoked key is told nothing more: %v", e.data)
}

// slowDeliveries is a queue that doesn't answer.
type slowDeliveries struct {
	api.Deliveries
	letGo chan struct{}
}

func (d slowDeliveries) History(ctx context.Context, pool string, id job.ID, after uint64) ([]job.Status, error) {
	<-d.letGo
	return d.Deliveries.History(ctx, pool, id, after)
}

func TestEvents_BeginAtOnceThoughTheQueueIsSlow(t *testing.T) {
	t.Parallel()
	slow := slowDeliveries{letGo: make(chan struct{})}
	b := setup(t, func(o *api.Options) {
		slow.Deliveries = o.Deliveries
		o.Deliveries = slow
	})
	s := b.follow(b.issue()) // which waits for the headers
	close(slow.letGo)
	s.want("0", "queued", "open")
}
