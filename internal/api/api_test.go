package api_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/otp"
)

func (b *bundle) issue() (id string) {
	b.t.Helper()
	a := b.do(http.MethodPost, "/api/v1/otp", goodIssue)
	require.Equal(b.t, http.StatusOK, a.status, a.body)
	m := regexp.MustCompile(`^\{"success":true,"otpId":"([0-9a-f-]{36})","expiresAt":"2026-[^"]+Z","status":"queued","to":"\+90•••••4567"\}\n$`).FindStringSubmatch(a.body)
	require.NotNil(b.t, m, a.body)
	return m[1]
}

func (b *bundle) verify(id, code string) string {
	b.t.Helper()
	a := b.do(http.MethodPost, "/api/v1/otp-verify", fmt.Sprintf(`{"otp_id":%q,"otp":%q}`, id, code))
	require.Equal(b.t, http.StatusOK, a.status, a.body)
	return strings.TrimSpace(a.body)
}

func TestStory_OneOTPIsIssuedAndVerifiedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	code := b.code()
	require.JSONEq(t, `{"valid":false,"reason":"Invalid OTP","attemptsLeft":1}`, b.verify(id, "x"+code))
	require.Equal(t, `{"valid":true}`, b.verify(strings.ToUpper(id), code))
	require.JSONEq(t, `{"valid":false,"reason":"OTP already used"}`, b.verify(id, code))

	id = b.issue()
	require.JSONEq(t, `{"valid":false,"reason":"Invalid OTP","attemptsLeft":1}`, b.verify(id, "a"))
	require.JSONEq(t, `{"valid":false,"reason":"Invalid OTP","attemptsLeft":0}`, b.verify(id, "b"))
	require.JSONEq(t, `{"valid":false,"reason":"Too many attempts"}`, b.verify(id, b.code()))

	older := b.issue()
	olderCode := b.code()
	id = b.issue()
	require.JSONEq(t, `{"valid":false,"reason":"OTP superseded"}`, b.verify(older, olderCode))
	b.after(10 * time.Minute)
	require.JSONEq(t, `{"valid":false,"reason":"OTP expired"}`, b.verify(id, b.code()))

	log := b.log.String()
	for _, secret := range []string{number[1:], apiKey, code, olderCode} {
		require.NotContains(t, log, secret)
	}
	require.Contains(t, log, `"route":"/api/v1/otp-verify","status":200`)
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.do(http.MethodGet, "/healthz", "").header.Get("X-Request-Id")
	require.NotEqual(t, first, b.do(http.MethodGet, "/healthz", "").header.Get("X-Request-Id"))
	for _, bad := range []string{strings.Repeat("a", 65), "a b", "a\"b", "ç"} {
		require.NotEqual(t, bad, b.do(http.MethodGet, "/healthz", "", "X-Request-Id", bad).header.Get("X-Request-Id"))
	}
	longest := strings.Repeat("a", 64)
	require.Equal(t, longest, b.do(http.MethodGet, "/nowhere", "", "X-Request-Id", longest).header.Get("X-Request-Id"))
	require.Contains(t, b.log.String(), `"request_id":"`+longest+`"`)
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	b := setup(t, with(failing(otp.ErrBusy)))
	b.do(http.MethodGet, "/healthz", "", "X-Request-Id", "fine")
	b.do(http.MethodPost, "/api/v1/otp", "{", "X-Request-Id", "bad")
	b.do(http.MethodPost, "/api/v1/otp", goodIssue, "X-Request-Id", "busy")
	log := b.log.String()
	require.Regexp(t, `"level":"DEBUG".*"request_id":"fine"`, log)
	require.Regexp(t, `"level":"INFO".*"request_id":"bad".*"code":"invalid_json"`, log)
	require.Regexp(t, `"level":"WARN".*"request_id":"busy".*"err":"record store is busy"`, log)
}

func TestAPanicIsLoggedWithoutWhatItSays(t *testing.T) {
	t.Parallel()
	b := setup(t, with(otps{issue: func(context.Context, otp.Request) (otp.Issued, error) { panic("code 987654") }}))
	require.Equal(t, http.StatusInternalServerError, b.do(http.MethodPost, "/api/v1/otp", goodIssue).status)
	require.Contains(t, b.log.String(), `"msg":"handler panicked"`)
	require.Contains(t, b.log.String(), "setup_test.go", "the stack says where")
	require.NotContains(t, b.log.String(), "987654")
}

func TestAChunkedBodyHasTheSameLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for size, status := range map[int]int{16 << 10: http.StatusOK, 16<<10 + 1: http.StatusRequestEntityTooLarge} {
		body := goodIssue + strings.Repeat(" ", size-len(goodIssue))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/api/v1/otp", struct{ *strings.Reader }{strings.NewReader(body)})
		require.NoError(t, err)
		req.ContentLength = -1
		req.Header.Set("X-API-Key", apiKey)
		require.Equal(t, status, b.send(req).status, size)
	}
}

func TestAClientThatLeavesMakesNoNoise(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	b := setup(t, with(otps{issue: func(ctx context.Context, _ otp.Request) (otp.Issued, error) {
		close(entered)
		<-ctx.Done()
		defer close(left)
		return otp.Issued{}, fmt.Errorf("issue OTP: %w", ctx.Err())
	}}))
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/api/v1/otp", strings.NewReader(goodIssue))
	require.NoError(t, err)
	req.Header.Set("X-API-Key", apiKey)
	go func() { <-entered; cancel() }()
	resp, err := b.client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	require.ErrorIs(t, err, context.Canceled)
	<-left
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), `"status":499`) }, 5*time.Second, time.Millisecond)
	require.NotContains(t, b.log.String(), `"level":"WARN"`)
	require.NotContains(t, b.log.String(), `"level":"ERROR"`)
}

func TestABodyCutShortIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(b.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /api/v1/otp HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 100\r\n\r\n{", apiKey)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	status, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 400 Bad Request\r\n", status)
}

func TestShutdown_FinishesWhatIsUnderWayAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	b := setup(t, with(otps{issue: func(context.Context, otp.Request) (otp.Issued, error) {
		close(entered)
		<-release
		return otp.Issued{ID: otp.ID{1}}, nil
	}}))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b.url = "http://" + l.Addr().String()
	b.client = &http.Client{Transport: &http.Transport{}}
	defer b.client.CloseIdleConnections()
	served, stopped := make(chan error, 1), make(chan error, 1)
	go func() { served <- b.server.Serve(l) }()
	var first sync.WaitGroup
	first.Go(func() {
		if a := b.do(http.MethodPost, "/api/v1/otp", goodIssue); a.status != http.StatusOK {
			t.Errorf("the request under way was answered %d", a.status)
		}
	})
	<-entered
	b.server.Drain()
	refused := b.do(http.MethodPost, "/api/v1/otp", goodIssue)
	require.Equal(t, http.StatusServiceUnavailable, refused.status)
	require.Contains(t, refused.body, `"code":"shutting_down"`)
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	go func() { stopped <- b.server.Shutdown(context.WithoutCancel(t.Context())) }()
	require.NoError(t, <-served, "Serve ends at once")
	close(release)
	first.Wait()
	require.NoError(t, <-stopped)
}

func TestShutdown_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	b := setup(t, with(otps{issue: func(ctx context.Context, _ otp.Request) (otp.Issued, error) {
		close(entered)
		<-ctx.Done() // the connection being cut ends it
		return otp.Issued{}, ctx.Err()
	}}))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served, asked := make(chan error, 1), make(chan struct{})
	go func() { served <- b.server.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+"/api/v1/otp", strings.NewReader(goodIssue))
	require.NoError(t, err)
	req.Header.Set("X-API-Key", apiKey)
	go func() {
		defer close(asked)
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.server.Shutdown(ctx), context.Canceled)
	require.NoError(t, <-served)
	<-asked
}

func TestNew_NeedsEveryOption(t *testing.T) {
	t.Parallel()
	_, err := api.New(api.Options{})
	require.Error(t, err)
}
