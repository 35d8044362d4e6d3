package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"wabek/client"
	"wabek/internal/api/apitest"
	"wabek/internal/job"
)

// cutting is a server whose streams of events are cut after so many writes.
func cutting(t *testing.T, writes int, streams *atomic.Int64) *apitest.Server {
	t.Helper()
	return apitest.New(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				streams.Add(1)
				w = &cut{ResponseWriter: w, left: writes}
			}
			h.ServeHTTP(w, r)
		})
	})
}

// cut ends the connection within the write after the last one that it lets through.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *cut) Write(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		_, _ = c.ResponseWriter.Write(p[:len(p)/2])
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

func TestEvents_EachStateOnceOverLostConnections(t *testing.T) {
	t.Parallel()
	var streams atomic.Int64
	server := cutting(t, 2, &streams)
	c := connect(t, server.URL)
	issued, err := c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	require.NoError(t, err)
	code := server.Messages()[0].Code()
	next := []func(){
		func() { server.Say(issued.ID, job.Sending) }, func() { server.Say(issued.ID, job.Sent) }, func() { server.Say(issued.ID, job.Delivered) },
		func() { server.Say(issued.ID, job.Read) },
		func() {
			_, err := c.Verify(t.Context(), client.VerifyRequest{ID: issued.ID, Code: code})
			require.NoError(t, err)
		},
	}
	var seen []string
	for event, err := range c.Events(t.Context(), issued.ID, "") {
		require.NoError(t, err)
		seen = append(seen, fmt.Sprint(event.ID, event.OTP.Status, event.OTP.State))
		if event.OTP.State == client.StateVerified {
			require.False(t, event.OTP.SentAt.IsZero())
			require.True(t, event.OTP.Status.Arrived())
			break
		}
		next[0]()
		next = next[1:]
	}
	require.Equal(t, []string{"0queuedopen", "1sendingopen", "2sentopen", "3deliveredopen", "4readopen", "4readverified"}, seen)
	require.Greater(t, streams.Load(), int64(2), "connections were lost")

	seen = nil
	for event, err := range c.Events(t.Context(), issued.ID, "2") {
		require.NoError(t, err)
		if seen = append(seen, event.ID); event.ID == "4" {
			break
		}
	}
	require.Equal(t, []string{"3", "4"}, seen, "from where one was")
}

func TestEvents_EndWithTheOTP(t *testing.T) {
	t.Parallel()
	const stream = "event: status\nid: 7\ndata: {\"otpId\":\"a\",\"state\":\"expired\"}\n\n"
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, text)
		}
	}
	url, asked := answers(t, say(stream), say(stream), say(stream))
	n := 0
	for event, err := range connect(t, url).Events(t.Context(), "a", "") {
		require.NoError(t, err)
		require.Equal(t, client.StateExpired, event.OTP.State)
		n++
	}
	require.Equal(t, 1, n)
	require.EqualValues(t, 2, asked.Load(), "asked once more: a server that goes away ends its streams too")
}

func TestEvents_Errors(t *testing.T) {
	t.Parallel()
	stream := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, text)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no OTP":          {problem(404, "otp_not_found", ""), "otp_not_found"},
		"no stream":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "no stream"},
		"no JSON":         {stream("event: status\ndata: x\n\n"), "invalid character"},
		"a line too long": {stream(":" + strings.Repeat("x", 70<<10)), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, asked := answers(t, c.answer)
			n := 0
			for _, err := range connect(t, url).Events(t.Context(), "a", "") {
				require.ErrorContains(t, err, c.want)
				n++
			}
			require.Equal(t, 1, n)
			require.EqualValues(t, 1, asked.Load())
		})
	}
}

func TestEvents_EndWithTheContext(t *testing.T) {
	t.Parallel()
	server := apitest.New(t, nil)
	c := connect(t, server.URL)
	issued, err := c.Issue(t.Context(), client.IssueRequest{Phone: number, Purpose: "login"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	var last error
	for _, err := range c.Events(ctx, issued.ID, "") {
		if last = err; err == nil {
			cancel(enough)
		}
	}
	require.ErrorIs(t, last, enough)
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][][3]string{
		"event: a\nid: 1\ndata: x\n\n":                      {{"a", "1", "x"}},
		"\ufeffdata:x\r\ndata: y\r\n\r\n":                   {{"", "", "x\ny"}},
		"data: x\r\r":                                       {{"", "", "x"}},
		": still here\n\nid: 3\n\ndata\n\n":                 {{"", "3", ""}},
		"event: a\n\ndata: x\n\n":                           {{"", "", "x"}},
		"id: 1\ndata: x\n\nid: 2\x00\ndata:  y\nodd: 1\n\n": {{"", "1", "x"}, {"", "1", " y"}},
		"data: not whole\n":                                 nil,
		"":                                                  nil,
	} {
		have, err := client.Messages(iotest.OneByteReader(strings.NewReader(text)))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want, have, "%q", text)
	}
	_, err := client.Messages(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("data: x\n\n"))))
	require.ErrorIs(t, err, iotest.ErrTimeout)
}

// FuzzMessages reads any stream: it ends, and says the same however the bytes arrive.
func FuzzMessages(f *testing.F) {
	for _, seed := range []string{"event: a\nid: 1\ndata: x\n\n", "\r\n\r\r\n\n", "\ufeff\ufeffdata\n\n", "id: \x00\ndata: \n\n", ": x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole, err := client.Messages(strings.NewReader(text))
		require.Error(t, err)
		pieces, err := client.Messages(iotest.OneByteReader(strings.NewReader(text)))
		require.Error(t, err)
		require.Equal(t, whole, pieces)
	})
}

// silent answers with a stream on which nothing ever comes.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	in, out := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = out.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: in, Request: r}, nil
}

func TestEvents_ASilentStreamIsNotTheCallersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("https://otp.example.org", apitest.Key, client.WithHTTPClient(&http.Client{Transport: silent{}}), client.WithTries(1))
		require.NoError(t, err)
		for _, err := range c.Events(t.Context(), "x", "") {
			require.ErrorContains(t, err, "silent")
			require.NotErrorIs(t, err, context.Canceled)
		}
	})
}
