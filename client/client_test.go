package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/client"
	"wabek/internal/api"
	"wabek/internal/api/apitest"
	"wabek/internal/apps"
	"wabek/internal/otp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const number = "+905551234567"

// connect makes a client of a server that loses no time between tries.
func connect(t *testing.T, url string, options ...client.Option) *client.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(url, apitest.Key, append([]client.Option{
		client.WithHTTPClient(&http.Client{Transport: transport}), client.WithPauses(time.Microsecond, time.Millisecond),
	}, options...)...)
	require.NoError(t, err)
	return c
}

func TestStory_AnOTPIsIssuedAndVerifiedOnce(t *testing.T) {
	t.Parallel()
	server := apitest.New(t, nil)
	c := connect(t, server.URL)
	issued, err := c.Issue(t.Context(), client.IssueRequest{
		Phone: number, Purpose: "login", Locale: "en", Expiry: 5 * time.Minute, Metadata: map[string]string{"user": "u-1"}, IP: "203.0.113.7",
	})
	require.NoError(t, err)
	require.Equal(t, client.Queued, issued.Status)
	require.Equal(t, "+90•••••4567", issued.To)
	require.WithinRange(t, issued.ExpiresAt, time.Now().Add(4*time.Minute), time.Now().Add(5*time.Minute))
	code := server.Messages()[0].Code()

	wrong, err := c.Verify(t.Context(), client.VerifyRequest{ID: issued.ID, Code: "x"})
	require.NoError(t, err)
	require.Equal(t, client.Verdict{Reason: client.ReasonWrong, AttemptsLeft: 4}, wrong)
	again, err := c.Resend(t.Context(), issued.ID)
	require.NoError(t, err)
	require.Equal(t, issued.ID, again.ID)
	require.Equal(t, code, server.Messages()[1].Code())
	seen, err := c.Get(t.Context(), issued.ID)
	require.NoError(t, err)
	require.Equal(t, client.StateOpen, seen.State)
	require.Equal(t, map[string]string{"user": "u-1"}, seen.Metadata)
	require.Equal(t, 2, seen.Sends)
	require.True(t, seen.SentAt.IsZero())

	right, err := c.Verify(t.Context(), client.VerifyRequest{Phone: number, Purpose: "login", Code: code})
	require.NoError(t, err)
	require.Equal(t, client.Verdict{Valid: true}, right)
	right, err = c.Verify(t.Context(), client.VerifyRequest{ID: issued.ID, Code: code})
	require.NoError(t, err)
	require.Equal(t, client.Verdict{Reason: client.ReasonUsed}, right)

	issued, err = c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	require.NoError(t, err)
	cancelled, err := c.Cancel(t.Context(), issued.ID)
	require.NoError(t, err)
	require.Equal(t, client.StateCancelled, cancelled.State)
	_, err = c.Resend(t.Context(), issued.ID)
	require.Equal(t, client.CodeOTPNotFound, client.CodeOf(err))
}

func TestErrors_SayWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	server := apitest.New(t, nil)
	_, err := server.Apps.SaveApp(t.Context(), otp.DefaultApp, apps.Settings{CooldownSeconds: new(30)}, false)
	require.NoError(t, err)
	c := connect(t, server.URL)
	_, err = c.Issue(t.Context(), client.IssueRequest{Purpose: "login"})
	e, ok := errors.AsType[*client.Error](err)
	require.True(t, ok)
	require.Equal(t, http.StatusBadRequest, e.Status)
	require.Equal(t, client.CodeInvalidField, e.Code)
	require.Equal(t, "phone", e.Field)
	require.Contains(t, e.Detail, "phone is missing")
	require.NotEmpty(t, e.RequestID)
	require.Contains(t, err.Error(), "400 invalid_field phone: phone is missing")

	_, err = c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	require.NoError(t, err)
	_, err = c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	e, ok = errors.AsType[*client.Error](err)
	require.True(t, ok)
	require.Equal(t, client.CodeRateLimited, e.Code)
	require.Equal(t, "phone_cooldown", e.Limit)
	require.Equal(t, 30*time.Second, e.RetryAfter)
	_, err = c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login", Expiry: time.Millisecond})
	require.ErrorContains(t, err, "whole seconds")

	stranger, err := client.New(server.URL, "wrong-key", client.WithHTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
	require.NoError(t, err)
	_, err = stranger.Get(t.Context(), "x/../y")
	require.Equal(t, client.CodeUnauthorized, client.CodeOf(err))
	require.NotContains(t, err.Error(), "wrong-key")
	require.Empty(t, client.CodeOf(errors.New("other")))
}

// A lossy network loses requests and answers; what was asked for happens once all the same.
func TestRetries_NothingIsSentTwice(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	server := apitest.New(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch seen.Add(1) % 5 {
			case 1: // the request is lost
				panic(http.ErrAbortHandler)
			case 2: // the answer is lost
				h.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case 3: // a proxy gives up
				h.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusBadGateway)
			case 4: // half of the answer is lost
				answer := httptest.NewRecorder()
				h.ServeHTTP(answer, r)
				w.Header().Set("Content-Length", "500")
				_, _ = w.Write(answer.Body.Bytes()[:10])
				panic(http.ErrAbortHandler)
			default:
				h.ServeHTTP(w, r)
			}
		})
	})
	c := connect(t, server.URL, client.WithTries(0))
	const n = 40
	var wait sync.WaitGroup
	var valid atomic.Int64
	for i := range n {
		wait.Go(func() {
			phone := fmt.Sprintf("+9055512%05d", i)
			issued, err := c.Issue(t.Context(), client.IssueRequest{Phone: phone, Purpose: "login"})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.Resend(t.Context(), issued.ID); err != nil {
				t.Error(err)
			}
			for _, m := range server.Messages() {
				if m.To != phone {
					continue
				}
				verdict, err := c.Verify(t.Context(), client.VerifyRequest{ID: issued.ID, Code: m.Code()})
				if err != nil {
					t.Error(err)
				}
				if verdict.Valid {
					valid.Add(1)
				}
			}
		})
	}
	wait.Wait()
	sent := len(server.Messages())
	require.Equal(t, 2*n, sent, "as many as were asked for")
	require.EqualValues(t, n, valid.Load(), "each once, though answers were lost")
}

func TestOnce_HoldsOverCalls(t *testing.T) {
	t.Parallel()
	server := apitest.New(t, nil)
	c := connect(t, server.URL)
	ask := client.IssueRequest{Phone: number, Purpose: "login"}
	first, err := c.Issue(t.Context(), ask, client.Once("order-17"))
	require.NoError(t, err)
	require.False(t, first.Replayed)
	second, err := c.Issue(t.Context(), ask, client.Once("order-17"))
	require.NoError(t, err)
	require.True(t, second.Replayed)
	second.Replayed = false
	require.Equal(t, first, second)
	require.Len(t, server.Messages(), 1)
	ask.Purpose = "other"
	_, err = c.Issue(t.Context(), ask, client.Once("order-17"))
	require.Equal(t, client.CodeKeyReused, client.CodeOf(err))
}

// A name that is no name would leave the request without one, and then each further try could send another message.
func TestOnce_SaysWhatIsNoName(t *testing.T) {
	t.Parallel()
	url, asked := answers(t)
	c := connect(t, url)
	for _, bad := range []string{"", "with space", "line\n", "ü", strings.Repeat("x", 256)} {
		_, err := c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"}, client.Once(bad))
		require.ErrorContains(t, err, "Once", bad)
		_, err = c.Resend(t.Context(), "x", client.Once(bad))
		require.ErrorContains(t, err, "Once", bad)
		_, err = c.Verify(t.Context(), client.VerifyRequest{ID: "x", Code: "1"}, client.Once(bad))
		require.ErrorContains(t, err, "Once", bad)
	}
	require.Zero(t, asked.Load())
	_, err := c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"}, client.Once(strings.Repeat("~", 255)))
	require.NoError(t, err)
}

// answers is a server that answers with these, one after another, and then that the OTP is issued.
func answers(t *testing.T, list ...http.HandlerFunc) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := apitest.New(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := int(asked.Add(1)); n <= len(list) {
				list[n-1](w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	return server.URL, asked
}

// problem answers with a problem document.
func problem(status int, code, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":"x"}`, status, code)
	}
}

func TestRetries_WhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	plain := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	cut := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		options []client.Option
		again   bool
	}{
		"a request with this key under way": {problem(409, "idempotency_key_in_flight", ""), nil, true},
		"no session":                        {problem(503, "no_session", "0"), nil, true},
		"another's 503":                     {plain(503), nil, true},
		"a proxy without its server":        {plain(502), nil, true},
		"a proxy whose server is slow":      {plain(504), nil, true},
		"a lost connection":                 {cut, nil, true},
		"a limit, asked for":                {problem(429, "rate_limited", "1"), []client.Option{client.WaitWhenLimited(time.Second)}, true},
		"a limit":                           {problem(429, "rate_limited", "1"), nil, false},
		"a limit for longer than asked for": {problem(429, "rate_limited", "2"), []client.Option{client.WaitWhenLimited(time.Second)}, false},
		"another conflict":                  {problem(409, "otp_not_open", ""), nil, false},
		"a wrong field":                     {problem(400, "invalid_field", ""), nil, false},
		"a wrong key":                       {problem(401, "unauthorized", ""), nil, false},
		"a key used for something else":     {problem(422, "idempotency_key_reused", ""), nil, false},
		"an error within":                   {problem(500, "internal", ""), nil, false},
		"an answer that is no JSON":         {plain(200), nil, false},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, asked := answers(t, c.answer)
			_, err := connect(t, url, c.options...).Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
			if c.again {
				require.NoError(t, err)
				require.EqualValues(t, 2, asked.Load())
				return
			}
			require.Error(t, err)
			require.EqualValues(t, 1, asked.Load())
		})
	}
}

func TestRetries_End(t *testing.T) {
	t.Parallel()
	server := apitest.New(t, nil)
	server.Refuse(&api.Refusal{Code: api.CodeNoSession, RetryAfter: 50 * time.Second})
	ask := client.IssueRequest{Phone: number, Purpose: "login"}
	t.Run("before a pause that would outlive the context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		_, err := connect(t, server.URL).Issue(ctx, ask)
		require.Equal(t, client.CodeNoSession, client.CodeOf(err))
		require.NoError(t, ctx.Err(), "at once")
	})
	t.Run("before a pause that nobody waits for, also without an end of the context", func(t *testing.T) {
		t.Parallel()
		for _, after := range []string{"3600", "99999999999999999999", "Fri, 01 Jan 2100 00:00:00 GMT"} {
			for _, status := range []int{http.StatusServiceUnavailable, http.StatusConflict} {
				code := map[int]string{http.StatusServiceUnavailable: "no_session", http.StatusConflict: "idempotency_key_in_flight"}[status]
				url, asked := answers(t, problem(status, code, after))
				_, err := connect(t, url).Issue(t.Context(), ask)
				require.EqualValues(t, code, client.CodeOf(err), after)
				require.EqualValues(t, 1, asked.Load())
			}
			url, _ := answers(t, problem(429, "rate_limited", after))
			_, err := connect(t, url, client.WaitWhenLimited(time.Minute)).Issue(t.Context(), ask)
			require.Equal(t, client.CodeRateLimited, client.CodeOf(err), after)
		}
	})
	t.Run("with the context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		h := &http.Client{Transport: after(func() { cancel(enough) })}
		c, err := client.New(server.URL, apitest.Key, client.WithHTTPClient(h), client.WithPauses(time.Hour, time.Hour))
		require.NoError(t, err)
		_, err = c.Issue(ctx, ask)
		require.Error(t, err)
		require.Error(t, ctx.Err())
	})
	t.Run("after so many tries", func(t *testing.T) {
		t.Parallel()
		url, asked := answers(t, problem(503, "busy", "0"), problem(503, "busy", "0"), problem(503, "busy", "0"), problem(503, "busy", "0"))
		_, err := connect(t, url, client.WithTries(3)).Issue(t.Context(), ask)
		require.Equal(t, client.CodeBusy, client.CodeOf(err))
		require.EqualValues(t, 3, asked.Load())
	})
}

// after calls back when a request was answered.
type after func()

func (a after) RoundTrip(r *http.Request) (*http.Response, error) {
	defer a()
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

func TestTheKeyGoesNowhereElse(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	defer elsewhere.Close()
	url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusPermanentRedirect)
	})
	_, err := connect(t, url).Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	e, ok := errors.AsType[*client.Error](err)
	require.True(t, ok)
	require.Equal(t, http.StatusPermanentRedirect, e.Status)
	require.Empty(t, asked)
}

// Programs that measure their requests put something else in the place of http.DefaultTransport.
func TestNew_TakesADefaultTransportOfAnotherKind(t *testing.T) { //nolint:paralleltest // it is everybody's
	url, _ := answers(t)
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	var used atomic.Int64
	http.DefaultTransport = after(func() { used.Add(1) })
	c, err := client.New(url, apitest.Key)
	require.NoError(t, err)
	_, err = c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	require.NoError(t, err)
	require.EqualValues(t, 1, used.Load())
}

func TestNew_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, bad := range [][2]string{
		{"", "k"},
		{"otp.example.org", "k"},
		{"ftp://otp.example.org", "k"},
		{"https://", "k"},
		{"https://a?b", "k"},
		{"https://u:p@a", "k"},
		{"https://a", ""},
		{"https://a", "k\n"},
		{"https://a", "ke y"},
		{"https://a", "ké"},
	} {
		_, err := client.New(bad[0], bad[1])
		require.Error(t, err, bad)
	}
	_, err := client.New("https://otp.example.org/below/", "k")
	require.NoError(t, err)
}
