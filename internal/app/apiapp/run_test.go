package apiapp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"wabek/internal/config"
	"wabek/internal/console"
	"wabek/internal/job"
	"wabek/internal/queue"
)

// startAlone makes a standalone App whose sender is the one given.
func startAlone(t *testing.T, send func(context.Context) error) *App {
	t.Helper()
	return startAt(t, t.TempDir(), send)
}

func startAt(t *testing.T, dir string, send func(context.Context) error) *App {
	t.Helper()
	cfg, _, err := config.LoadAPI([]string{"WABEK_ADDR=127.0.0.1:0", "WABEK_DATA_DIR=" + dir, "WABEK_API_KEY=a-key-of-these-tests"})
	require.NoError(t, err)
	a, err := New(t.Context(), Options{
		Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard,
		Sender: func(ctx context.Context, _ *nats.Conn, _ *queue.Broker, _ job.Opener) error { return send(ctx) },
	})
	require.NoError(t, err)
	return a
}

func TestRun_EndsWithItsServerAndStopsTheSenderFirst(t *testing.T) {
	t.Parallel()
	var drained atomic.Bool
	a := startAlone(t, func(ctx context.Context) error {
		<-ctx.Done()
		drained.Store(true)
		return nil
	})
	require.NoError(t, a.listener.Close())
	require.ErrorIs(t, a.Run(t.Context()), net.ErrClosed)
	require.True(t, drained.Load(), "the sender was told to stop, and waited for")
}

func TestRun_EndsWithItsSender(t *testing.T) {
	t.Parallel()
	a := startAlone(t, func(context.Context) error { return io.ErrUnexpectedEOF })
	require.ErrorIs(t, a.Run(t.Context()), io.ErrUnexpectedEOF)
	_, err := net.Dial("tcp", a.listener.Addr().String()) //nolint:noctx // at once, or not at all
	require.Error(t, err, "nothing listens any more")
}

func TestSettings_SayWhereTheyAreFrom(t *testing.T) {
	t.Parallel()
	cfg, _, err := config.LoadAPI([]string{
		"WABEK_ADDR=127.0.0.1:0", "WABEK_DATA_DIR=" + t.TempDir(), "WABEK_DENY_COUNTRIES=KP", "WABEK_RATE_PER_SECOND=2", "WABEK_RATE_BURST=7",
	})
	require.NoError(t, err)
	a, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.close()) })
	got := map[string]console.Setting{}
	for _, g := range a.settings() {
		for _, s := range g.Settings {
			got[s.Name] = s
		}
	}
	for name, want := range map[string][3]string{
		"Countries":    {"all, not KP", string(console.FromEnvironment), "WABEK_DENY_COUNTRIES"},
		"OTPs at once": {"7", string(console.FromEnvironment), "WABEK_RATE_BURST"},
		"Length":       {"6", string(console.FromDefault), "OTP_LENGTH"},
	} {
		require.Equal(t, want, [3]string{got[name].Value, string(got[name].Source), got[name].From}, name)
	}
}

// Where a crash leaves the door behind, commands must not take their key to whoever has its port by now.
func TestDoor_OneThatACrashLeftIsTakenAway(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once, or not at all
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	dir := t.TempDir()
	left := filepath.Join(dir, doorFile)
	require.NoError(t, os.WriteFile(left, []byte(`{"url":"http://`+taken.Addr().String()+`"}`), 0o600))
	cfg, _, err := config.LoadAPI([]string{"WABEK_ADDR=" + taken.Addr().String(), "WABEK_DATA_DIR=" + dir, "WABEK_API_KEY=a-key-of-these-tests"})
	require.NoError(t, err)
	_, err = New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard})
	require.ErrorContains(t, err, "WABEK_ADDR")
	require.NoFileExists(t, left)
}
