package apiapp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/app/apiapp"
	"wabek/internal/config"
	"wabek/internal/job"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A NATS server that is stopped while a stream is being made leaves these two of that stream behind.
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

const (
	patient = 30 * time.Second
	testKey = "a-key-of-these-tests"
)

// steps keeps the log lines of every job, in order.
type steps struct {
	mu    sync.Mutex
	lines map[string][]string
	all   bytes.Buffer
}

func (s *steps) Write(line []byte) (int, error) {
	var l struct{ Msg, Job string }
	if err := json.Unmarshal(line, &l); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Write(line)
	if l.Job != "" {
		s.lines[l.Job] = append(s.lines[l.Job], l.Msg)
	}
	return len(line), nil
}

func (s *steps) of(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines[id]...)
}

func (s *steps) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// whole is a standalone wabek with a simulator, paired.
type whole struct {
	t    *testing.T
	sim  *whatsim.Server
	app  *apiapp.App
	log  *steps
	stop func()
}

func startSim(t *testing.T) *whatsim.Server {
	t.Helper()
	sim, err := whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	return sim
}

// startWhole starts a standalone wabek on a data directory; show is called with each code to scan.
func startWhole(t *testing.T, sim *whatsim.Server, dir string, show func(ctx context.Context, code string)) *whole {
	t.Helper()
	w := &whole{t: t, sim: sim, log: &steps{lines: map[string][]string{}}}
	cfg, _, err := config.LoadAPI([]string{"WABEK_ADDR=127.0.0.1:0", "WABEK_DATA_DIR=" + dir, "WABEK_API_KEY=" + testKey})
	require.NoError(t, err)
	root, err := hex.DecodeString(sim.RootKeyHex())
	require.NoError(t, err)
	cfg.WhatsApp = config.WhatsApp{Endpoint: sim.Endpoint(), RootKey: config.RootKey(root)}
	ctx, cancel := context.WithCancel(context.Background())
	var scans sync.WaitGroup
	w.app, err = apiapp.New(ctx, apiapp.Options{
		Config: cfg, Logger: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Stdout: io.Discard,
		ShowQR: func(c whatsapp.QRCode) { scans.Go(func() { show(ctx, c.Text) }) },
	})
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- w.app.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ran)
		scans.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

// scanWith pairs by a virtual phone.
func scanWith(t *testing.T, sim *whatsim.Server) func(context.Context, string) {
	t.Helper()
	return func(ctx context.Context, code string) {
		if _, err := sim.Pair(ctx, code, ""); err != nil && ctx.Err() == nil {
			t.Error("pair:", err)
		}
	}
}

func (w *whole) call(method, path, body string) (int, http.Header, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.app.URL()+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("X-API-Key", testKey)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, res.Header, strings.TrimSpace(string(answer))
}

func (w *whole) ready() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		status, _, body := w.call(http.MethodGet, "/readyz", "")
		return status == http.StatusOK && strings.Contains(body, `"up":1`)
	}, patient, 10*time.Millisecond)
}

// send issues an OTP and reads its code on the phone.
func (w *whole) send(digits string) (id, code string) {
	w.t.Helper()
	status, _, body := w.call(http.MethodPost, "/api/v1/otp", `{"phone":"+`+digits+`","purpose":"verification"}`)
	require.Equal(w.t, http.StatusOK, status, body)
	var answer struct{ OTPID string }
	require.NoError(w.t, json.Unmarshal([]byte(body), &answer))
	ctx, cancel := context.WithTimeout(w.t.Context(), patient)
	defer cancel()
	m, err := w.sim.WaitMessage(ctx, digits, nil)
	require.NoError(w.t, err)
	return answer.OTPID, regexp.MustCompile(`(?m)^[0-9]{6}$`).FindString(m.Text)
}

func (w *whole) verify(id, code string) string {
	w.t.Helper()
	status, _, body := w.call(http.MethodPost, "/api/v1/otp-verify", `{"otp_id":"`+id+`","otp":"`+code+`"}`)
	require.Equal(w.t, http.StatusOK, status, body)
	return body
}

func TestStory_TheTraceOfOneOTP(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/architecture.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| [0-9]+[ab]? \\| `([a-z ]+)` \\|").FindAllStringSubmatch(string(page), -1)
	var told []string
	for _, row := range rows {
		told = append(told, row[1])
	}
	require.Greater(t, len(told), 8, "the table of docs/architecture.md is there")

	sim := startSim(t)
	w := startWhole(t, sim, t.TempDir(), scanWith(t, sim))
	w.ready()
	id, code := w.send("905551230001")
	require.Eventually(t, func() bool {
		done := strings.Join(w.log.of(id), ",")
		return strings.Contains(done, "job settled") && strings.Contains(done, "receipt stored")
	}, patient, 5*time.Millisecond)
	require.JSONEq(t, `{"valid":true}`, w.verify(id, code))
	require.JSONEq(t, `{"valid":false,"reason":"OTP already used"}`, w.verify(id, code))

	logged := w.log.of(id)
	at := map[string]int{}
	for i, step := range slices.Backward(logged) {
		at[step] = i // the first time
	}
	for _, step := range told {
		require.Contains(t, at, step, "told, and not done: %v", logged)
	}
	for _, step := range logged {
		require.Contains(t, told, step, "done, and not told")
	}
	// What must follow what; receipts, settling and the answer to the client run beside the rest.
	for _, chain := range [][]string{
		{"job committed", "job published", "job taken", "job claimed", "message sent", "sent stored", "otp tried"},
		{"job committed", "otp issued"},
		{"job claimed", "receipt stored"},
		{"message sent", "job settled", "otp tried"},
	} {
		for i := 1; i < len(chain); i++ {
			require.Less(t, at[chain[i-1]], at[chain[i]], "%s, then %s: %v", chain[i-1], chain[i], logged)
		}
	}
	require.NotContains(t, w.log.text(), code, "no code is logged, at any level")
	require.NotContains(t, w.log.text(), "5551230001", "no number is logged, at any level")
}

func TestStory_NoSessionYet(t *testing.T) {
	t.Parallel()
	shown := make(chan string, 8)
	w := startWhole(t, startSim(t), t.TempDir(), func(_ context.Context, code string) { shown <- code })
	require.Contains(t, <-shown, "https://wa.me/", "a code to scan is shown")

	status, header, body := w.call(http.MethodPost, "/api/v1/otp", `{"phone":"+905551230002","purpose":"verification"}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, `"code":"no_session"`)
	require.NotEmpty(t, header.Get("Retry-After"))
	status, _, body = w.call(http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, `"ready":false`)
	status, _, _ = w.call(http.MethodGet, "/healthz", "")
	require.Equal(t, http.StatusOK, status)
	w.stop() // also while it waits for a scan
}

func TestStory_ARestartKeepsSessionRecordsAndSecret(t *testing.T) {
	t.Parallel()
	sim, dir := startSim(t), t.TempDir()
	w := startWhole(t, sim, dir, scanWith(t, sim))
	w.ready()
	id, code := w.send("905551230003")
	w.stop()
	secret, err := os.Stat(dir + "/secret")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), secret.Mode().Perm())

	again := startWhole(t, sim, dir, func(context.Context, string) { t.Error("a code is shown although a session is paired") })
	again.ready()
	require.JSONEq(t, `{"valid":true}`, again.verify(id, code))
	again.send("905551230004")
}

// The states of a delivery are told live, in their order, by the stream's own sequence.
func TestStory_TheEventsOfOneOTP(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	w := startWhole(t, sim, t.TempDir(), scanWith(t, sim))
	w.ready()
	_, _, body := w.call(http.MethodPost, "/api/v1/otp", `{"phone":"+905551230009","purpose":"verification"}`)
	var issued struct{ OTPID string }
	require.NoError(t, json.Unmarshal([]byte(body), &issued))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.app.URL()+"/api/v1/otp/"+issued.OTPID+"/events", nil)
	require.NoError(t, err)
	req.Header.Set("X-API-Key", testKey)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	rank, seq := -1, uint64(0)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			next, err := strconv.ParseUint(id, 10, 64)
			require.NoError(t, err)
			require.GreaterOrEqual(t, next, seq)
			seq = next
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var view struct {
			Status job.State
			SentAt string
		}
		require.NoError(t, json.Unmarshal([]byte(data), &view))
		require.Greater(t, view.Status.Rank(), rank)
		rank = view.Status.Rank()
		if rank >= job.Delivered.Rank() {
			require.NotEmpty(t, view.SentAt)
			return
		}
	}
	require.Fail(t, "the stream has ended early", lines.Err())
}
