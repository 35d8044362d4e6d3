package bolt_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
	"wabek/internal/record/recordtest"
	"wabek/internal/relay"
)

var _ relay.Outbox = (*bolt.Store)(nil)

func TestMain(m *testing.M) {
	if runAsVictim() {
		return
	}
	goleak.VerifyTestMain(m)
}

// restless are options with which the purge never sleeps: it must not be felt.
func restless(path string, clock func() time.Time) bolt.Options {
	return bolt.Options{
		Path: path, Now: clock, Logger: slog.New(slog.DiscardHandler),
		PurgeEvery: time.Millisecond, PurgePause: time.Microsecond, PurgeStep: 3,
	}
}

// calm are options with which nothing happens by itself.
func calm(path string, clock func() time.Time) bolt.Options {
	return bolt.Options{Path: path, Now: clock, Logger: slog.New(slog.DiscardHandler), PurgeEvery: time.Hour}
}

func open(tb testing.TB, o bolt.Options) *bolt.Store {
	tb.Helper()
	s, err := bolt.Open(o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

func TestStore_Conformance(t *testing.T) {
	t.Parallel()
	recordtest.Run(t, func(t *testing.T, clock func() time.Time) otp.Store {
		t.Helper()
		return open(t, restless(filepath.Join(t.TempDir(), "records.db"), clock))
	})
}

func TestStore_ConformanceReopened(t *testing.T) {
	t.Parallel()
	recordtest.RunReopen(t, func(t *testing.T, clock func() time.Time) func() otp.Store {
		t.Helper()
		path := filepath.Join(t.TempDir(), "records.db")
		var last *bolt.Store
		return func() otp.Store {
			if last != nil {
				require.NoError(t, last.Close())
			}
			last = open(t, restless(path, clock))
			return last
		}
	})
}

// clock stands still until it is moved.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// draft is an OTP with a life of its own, for the phone with a number.
func draft(tb testing.TB, now time.Time, life time.Duration, number byte) otp.Draft {
	tb.Helper()
	id, err := otp.NewID(now, rand.Reader)
	require.NoError(tb, err)
	d := otp.Draft{
		Record: otp.Record{
			ID: id, App: otp.DefaultApp, Pool: job.DefaultPool, Phone: phone.Hash{number}, Masked: "+90•••••4567", Purpose: "login",
			Digest: otp.Digest{Pepper: 1, Sum: [32]byte{number}}, Expires: now.Add(life), MaxAttempts: 5, Delivery: job.Queued,
			Sealed: []byte("the sealed body of " + id.String()),
		},
	}
	d.Job = job.Envelope{
		ID: job.ID(id.String()), Lane: job.LaneOTP, Pool: job.DefaultPool, Target: job.AnySession, Expires: d.Record.Expires, Sealed: d.Record.Sealed,
	}
	return d
}

// admit lets the OTP take the open one's place, as the product's rule does.
func admit(d otp.Draft) otp.Admit {
	return func(otp.History) (otp.History, error) {
		return otp.History{Open: d.Record.ID, Expires: d.Record.Expires}, nil
	}
}

func issue(tb testing.TB, s *bolt.Store, d otp.Draft) otp.Draft {
	tb.Helper()
	require.NoError(tb, s.Issue(context.Background(), d, admit(d)))
	return d
}

func pending(tb testing.TB, s *bolt.Store) []job.ID {
	tb.Helper()
	ids, err := s.Pending(context.Background(), "", 1000)
	require.NoError(tb, err)
	require.Len(tb, ids, int(s.Stats().Pending), "the count in memory")
	return ids
}
