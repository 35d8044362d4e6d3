package apitest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/apps"
	"wabek/internal/keys"
	"wabek/internal/notice"
	"wabek/internal/record/bolt"
	"wabek/internal/whmcs"
)

// Hooks takes events into a store. Nobody resolves them: there is no queue.
func Hooks(tb testing.TB, store *bolt.Store, registry *apps.Registry, ring *keys.Ring, seal *keys.SealKeys, now func() time.Time) *whmcs.Service {
	tb.Helper()
	texts, err := notice.Load("")
	require.NoError(tb, err)
	hooks, err := whmcs.New(tb.Context(), whmcs.Config{
		Store: store, Documents: store, Queue: noEvents{}, Apps: clients{registry}, Texts: texts, Sealer: seal, PhoneKey: ring.PhoneHashKey(), MessageID: ring.MessageID,
		Released: func() int64 { return 0 }, Window: func() int64 { return 1 }, Now: now, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
	return hooks
}

type clients struct{ *apps.Registry }

// WHMCSApp is whmcs.Apps'.
func (c clients) WHMCSApp(name string) (whmcs.App, bool) {
	a, err := c.App(name)
	if err != nil {
		return whmcs.App{}, false
	}
	return whmcs.App{Name: a.Name, Title: a.Title, Pool: a.Pool, Country: a.Country, Locale: a.Locale}, true
}

// noEvents is a queue that can't be reached.
type noEvents struct{}

// PutEvent is whmcs.Queue's.
func (noEvents) PutEvent(_ context.Context, _, _ string, _ []byte, done func(bool, error)) {
	done(false, context.Canceled)
}

// OpenEvents is whmcs.Queue's.
func (noEvents) OpenEvents(string) (whmcs.Source, error) { return nil, context.Canceled }

// Connected is whmcs.Queue's.
func (noEvents) Connected() (bool, uint64) { return false, 0 }
