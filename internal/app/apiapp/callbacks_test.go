package apiapp

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"wabek/internal/config"
	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/queue"
)

// posted is what a receiver was told of an OTP.
type posted struct {
	Type string
	Data struct {
		OTPID, State, Status string
		Seq                  uint64
		Metadata             map[string]string
	}
}

// receiver takes callbacks, and answers as it is told.
type receiver struct {
	*httptest.Server
	answer atomic.Int64
	came   chan posted
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{came: make(chan posted, 100)}
	r.answer.Store(http.StatusNoContent)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var p posted
		if json.NewDecoder(q.Body).Decode(&p) == nil {
			r.came <- p
		}
		w.WriteHeader(int(r.answer.Load()))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next(t *testing.T) posted {
	t.Helper()
	select {
	case p := <-r.came:
		return p
	case <-time.After(30 * time.Second):
		require.FailNow(t, "no callback comes")
		return posted{}
	}
}

// What the record alone knows is told too: that an OTP was verified.
func TestCallbacks_AnAppIsToldOfAVerification(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	cfg, _, err := config.LoadAPI([]string{
		"WABEK_ADDR=127.0.0.1:0", "WABEK_DATA_DIR=" + t.TempDir(), "WABEK_API_KEY=a-key-of-these-tests", "WABEK_OUTBOUND_NETWORKS=127.0.0.0/8",
	})
	require.NoError(t, err)
	a, err := New(t.Context(), Options{
		Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard,
		Sender: func(ctx context.Context, _ *nats.Conn, _ *queue.Broker, _ job.Opener) error { <-ctx.Done(); return nil },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ran)
	})
	c := commands{t: t, dir: cfg.DataDir}
	c.run(0, "app", "set", otp.DefaultApp, "callbackUrl="+r.URL)
	c.run(0, "app", "test-number", otp.DefaultApp, "+905551234567", "424242")
	call := func(path, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("X-API-Key", "a-key-of-these-tests")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, string(text))
		return string(text)
	}
	issue := func() string {
		var issued struct{ OTPID string }
		text := call("/api/v1/otp", `{"phone":"+905551234567","purpose":"login","metadata":{"order":"17"}}`)
		require.NoError(t, json.Unmarshal([]byte(text), &issued))
		return issued.OTPID
	}
	id := issue()
	call("/api/v1/otp-verify", `{"otp_id":"`+id+`","otp":"424242"}`)
	told := r.next(t)
	require.Equal(t, "otp.status", told.Type)
	require.Equal(t, id, told.Data.OTPID)
	require.Equal(t, "verified", told.Data.State)
	require.Equal(t, "17", told.Data.Metadata["order"])

	older := issue()
	r.answer.Store(http.StatusGone)
	issue()
	require.Equal(t, older, r.next(t).Data.OTPID, "it was superseded")
	require.Eventually(t, func() bool {
		app, err := a.apps.App(otp.DefaultApp)
		return err == nil && app.CallbackURL == ""
	}, 30*time.Second, 5*time.Millisecond, "who answers 410 wants no more")
}
