package senderapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/optout"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/whatsapp"
)

// What is heard while there is no queue is kept, also when the sender is gone meanwhile; then the queue gets it, once for
// each message, in the order in which it was heard, under an id that a subject can hold.
func TestWishes_AreKeptUntilTheQueueHasThem(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	log, quiet := slog.New(slog.NewTextHandler(&logged, nil)), slog.New(slog.DiscardHandler)
	server, err := embed.Start(embed.Options{Dir: t.TempDir(), Logger: quiet})
	require.NoError(t, err)
	defer server.Shutdown()
	nc, err := server.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: quiet})...)
	require.NoError(t, err)
	defer nc.Close()
	broker, err := queue.New(nc, queue.Options{Logger: quiet}) // there is no stream yet
	require.NoError(t, err)
	seal := sealKeys(t)
	a := New(Options{Pool: "default", DataDir: t.TempDir(), Broker: broker, Opener: seal, Sealer: seal, Logger: log})
	said := func(digits string, want optout.Wish, message string) whatsapp.Wish {
		from, err := phone.Restore(digits)
		require.NoError(t, err)
		return whatsapp.Wish{From: from, Want: want, ID: message, At: time.Unix(1_700_000_000, 0)}
	}
	stop, start := said("+905551234567", optout.Stop, "3EB0*.> A"), said("+905551234567", optout.Start, "3EB0B")
	other := said("+905557654321", optout.Stop, start.ID) // whoever writes chooses the id

	kept, err := openSpool(a.o.DataDir)
	require.NoError(t, err)
	a.hearWishes(kept, log)(stop)
	require.Error(t, kept.passAll(t.Context(), broker.PutWish, log))
	// The sender is killed here, in the middle of another one.
	require.NoError(t, os.WriteFile(filepath.Join(kept.dir, spoolNew), []byte("half"), 0o600))
	require.NotContains(t, contents(t, kept.dir), "5551234567", "nothing is in the clear")

	kept, err = openSpool(a.o.DataDir)
	require.NoError(t, err)
	hear := a.hearWishes(kept, log)
	passing, end := context.WithCancel(t.Context())
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		kept.passOn(passing, broker.PutWish, quiet)
	}()
	hear(start)
	hear(other)
	hear(stop)

	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	ended := make(chan error, 2)
	go func() { ended <- broker.Run(ctx) }()
	require.Eventually(t, func() bool { names, err := kept.names(); return err == nil && len(names) == 0 }, time.Minute, time.Millisecond)
	var got []job.Wish
	go func() {
		ended <- broker.Wishes(ctx, "test", func(_ context.Context, pool, id string, sealed []byte) error {
			wish, err := job.OpenWish(seal, pool, id, sealed)
			if got = append(got, wish); len(got) == 3 {
				done()
			}
			return err
		})
	}()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	want := []job.Wish{{From: stop.From, Stop: true, At: stop.At}, {From: start.From, At: start.At}, {From: other.From, Stop: true, At: other.At}}
	require.Equal(t, want, got, "the one that came twice waited there already")
	end()
	<-passed
	require.Empty(t, logged.String())
	require.Nil(t, New(Options{}).hearWishes(kept, log), "who can't seal doesn't listen")
}

// The disk is bounded, and what can't be a wish doesn't stand in the way of those that are.
func TestWishes_SpoolIsBounded(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	kept, err := openSpool(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, kept.keep("default", "w1", []byte("1")))
	require.NoError(t, kept.keep("Default", "w2", []byte("2")))
	require.NoError(t, kept.keep("default", "w3", []byte("3")))
	kept.waiting = maxSpool
	seal := sealKeys(t)
	from, err := phone.Restore("+905551234567")
	require.NoError(t, err)
	New(Options{Pool: "default", Sealer: seal}).hearWishes(kept, log)(whatsapp.Wish{From: from, Want: optout.Stop, ID: "A"})
	require.Contains(t, logged.String(), "a wish is lost")
	require.NotContains(t, logged.String(), "905551234567")

	var put []string
	full := errors.New("queue is full")
	take := func(_ context.Context, pool, id string, sealed []byte) error {
		if err := job.CheckPool(pool); err != nil {
			return fmt.Errorf("store wish: %w", err)
		}
		if put = append(put, id+" "+string(sealed)); len(put) == 1 {
			return full
		}
		return nil
	}
	require.ErrorIs(t, kept.passAll(t.Context(), take, log), full)
	require.NoError(t, kept.passAll(t.Context(), take, log))
	require.Equal(t, []string{"w1 1", "w1 1", "w3 3"}, put)
	require.NoError(t, kept.passAll(t.Context(), take, log))
	require.Len(t, put, 3)
	require.Equal(t, maxSpool-3, kept.waiting)
}

func sealKeys(t *testing.T) *keys.SealKeys {
	t.Helper()
	secret, err := keys.NewSecret(strings.Repeat("s", 32))
	require.NoError(t, err)
	return keys.DeriveSealKeys(secret, keys.Secret{})
}

// contents is all that a directory's files are called and hold.
func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var all strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		all.WriteString(e.Name() + " " + string(data) + " ")
	}
	return all.String()
}
