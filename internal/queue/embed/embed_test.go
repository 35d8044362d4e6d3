package embed_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/queue/embed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart_KeepsStreamsInItsDirectoryAndListensNowhere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nats")
	for round := range 2 {
		srv, err := embed.Start(embed.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.Empty(t, srv.Addr())
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		nc, err := srv.Connect()
		require.NoError(t, err)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		if round == 0 {
			_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "X", Subjects: []string{"x"}})
		} else {
			_, err = js.Stream(t.Context(), "X")
		}
		require.NoError(t, err)
		nc.Close()
		srv.Shutdown()
	}
}

func TestStart_ListensWithAUserWhereAsked(t *testing.T) {
	t.Parallel()
	srv, err := embed.Start(embed.Options{
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		Listen: "127.0.0.1:0", User: "wabek", Password: "pass",
	})
	require.NoError(t, err)
	t.Cleanup(srv.Shutdown)
	_, err = nats.Connect("nats://" + srv.Addr())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	nc, err := nats.Connect("nats://"+srv.Addr(), nats.UserInfo("wabek", "pass"))
	require.NoError(t, err)
	nc.Close()
	nc, err = srv.Connect()
	require.NoError(t, err)
	nc.Close()
}

func TestStart_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for name, o := range map[string]embed.Options{
		"no directory":                        {Logger: log},
		"no logger":                           {Dir: t.TempDir()},
		"a listen address without port":       {Dir: t.TempDir(), Logger: log, Listen: "127.0.0.1"},
		"a port for everybody without a user": {Dir: t.TempDir(), Logger: log, Listen: "0.0.0.0:0"},
	} {
		_, err := embed.Start(o)
		require.Error(t, err, name)
	}
}
