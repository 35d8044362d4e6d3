package apiapp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"wabek/internal/config"
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
