package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

// wishes is Wishes running, with all that it handed over.
type wishes struct {
	mu   sync.Mutex
	got  []string
	bad  map[string]int // by id: so many failures yet, -1 for ever
	stop func()
}

func hear(t *testing.T, b *queue.Broker, bad map[string]int) *wishes {
	t.Helper()
	w := &wishes{bad: bad}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Wishes(ctx, "records", func(_ context.Context, pool, id string, sealed []byte) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if left := w.bad[id]; left != 0 {
				w.bad[id]--
				return errors.New("disk full")
			}
			w.got = append(w.got, pool+" "+id+" "+string(sealed))
			return nil
		})
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(w.stop)
	return w
}

func (w *wishes) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.got...)
}

func (w *wishes) wait(t *testing.T, wish string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return slices.Contains(w.all(), wish)
	}, patient, 5*time.Millisecond, "never heard: %s", wish)
}

func wish(t *testing.T, b *queue.Broker, id string) {
	t.Helper()
	require.NoError(t, b.PutWish(within(t), pool, id, []byte("sealed "+id)))
}

func TestWishes_AreHeardOnceEachAndLeaveNothing(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	for n := range 100 {
		wish(t, b, fmt.Sprint("w", n))
		wish(t, b, fmt.Sprint("w", n)) // stored already
	}
	first := hear(t, b, nil)
	first.wait(t, "default w99 sealed w99")
	require.Len(t, first.all(), 100)
	require.Equal(t, "default w0 sealed w0", first.all()[0], "in their order")
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := js.Stream(within(t), "WABEK_WISH")
		return err == nil && s.CachedInfo().State.Msgs == 0
	}, patient, 5*time.Millisecond)
	first.stop()
	wish(t, b, "later")
	second := hear(t, b, nil)
	second.wait(t, "default later sealed later")
	require.Len(t, second.all(), 1)
}

func TestWishes_OneThatFailsComesAgainAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	log, book := logger(t)
	b := setup(t, queue.Options{Logger: log})
	wish(t, b, "never")
	wish(t, b, "twice")
	w := hear(t, b, map[string]int{"never": -1, "twice": 2})
	wish(t, b, "good")
	w.wait(t, "default good sealed good")
	w.wait(t, "default twice sealed twice")
	require.Len(t, w.all(), 2)
	require.Contains(t, []int{1, 2}, book.count("can't be noted"), "said once for each run of failures")
}

func TestWishes_GoOnAfterTheReaderWasDeleted(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	w := hear(t, b, nil)
	wish(t, b, "a")
	w.wait(t, "default a sealed a")
	require.NoError(t, js.DeleteConsumer(within(t), "WABEK_WISH", "records"))
	wish(t, b, "b")
	w.wait(t, "default b sealed b")
}

func TestWishes_WhatCannotBeStoredIsRefused(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	for _, bad := range [][2]string{{"default", ""}, {"default", "a.b"}, {"default", "*"}, {"Default", "a"}, {"", "a"}, {"default", strings.Repeat("a", 65)}} {
		require.ErrorIs(t, b.PutWish(within(t), bad[0], bad[1], []byte("x")), job.ErrName)
	}
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_WISH")
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.Positive(t, cfg.MaxMsgs)
	require.Equal(t, 7*24*time.Hour, cfg.MaxAge)
	cfg.MaxMsgs = 1
	_, err = js.UpdateStream(within(t), cfg)
	require.NoError(t, err)
	wish(t, b, "a")
	require.ErrorIs(t, b.PutWish(within(t), pool, "b", []byte("x")), queue.ErrFull)
	wish(t, b, "a") // is there
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.PutWish(over, pool, "b", []byte("x")), queue.ErrUnavailable)
}
