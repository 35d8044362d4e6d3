package whatsapp_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/whatsapp"
)

// clock is a time that tests turn.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.ns.Load()) }
func (c *clock) turn(by time.Duration) { c.ns.Add(int64(by)) }

func openLedger(t *testing.T, dir string, c *clock) *whatsapp.Ledger {
	t.Helper()
	l, err := whatsapp.OpenLedger(t.Context(), dir, c.now)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func entry(c *clock, n int) whatsapp.Entry {
	return whatsapp.Entry{
		MessageID: fmt.Sprintf("3EB0%018X", n), Job: job.ID(fmt.Sprintf("job-%d", n)), Lane: job.LaneOTP, Pool: "default",
		Session: "aaaaaaaa", Sealed: []byte{1, 2, 3}, Expires: c.now().Add(10 * time.Minute).Truncate(time.Millisecond),
	}
}

func begin(t *testing.T, l *whatsapp.Ledger, e whatsapp.Entry) bool {
	t.Helper()
	already, err := l.Begin(t.Context(), e)
	require.NoError(t, err)
	return already
}

func find(t *testing.T, l *whatsapp.Ledger, id string) whatsapp.Entry {
	t.Helper()
	e, found, err := l.Find(t.Context(), id)
	require.NoError(t, err)
	require.True(t, found)
	e.Expires = e.Expires.UTC()
	return e
}

func TestLedger_KnowsWhatIsSent(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	l := openLedger(t, dir, c)
	e := entry(c, 1)
	e.Expires = e.Expires.UTC()
	require.False(t, begin(t, l, e), "new")
	require.Equal(t, e, find(t, l, e.MessageID))
	require.False(t, begin(t, l, e), "begun, but not sent: it may go out again")
	l.MarkSent(e.MessageID)
	require.True(t, begin(t, l, e), "sent: not again")

	unsent := entry(c, 2)
	require.False(t, begin(t, l, unsent))
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err := l.Begin(t.Context(), entry(c, 3))
	require.ErrorIs(t, err, whatsapp.ErrLedgerClosed)

	l = openLedger(t, dir, c)
	require.True(t, begin(t, l, e), "also after a restart")
	e.Sent = true
	require.Equal(t, e, find(t, l, e.MessageID))
	unsent.Session = "bbbbbbbb"
	require.False(t, begin(t, l, unsent))
	require.Equal(t, "bbbbbbbb", find(t, l, unsent.MessageID).Session, "the latest session that sends it")
	_, found, err := l.Find(t.Context(), "3EB0")
	require.NoError(t, err)
	require.False(t, found)
}

func TestLedger_AnIDBelongsToOneJob(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := openLedger(t, t.TempDir(), c)
	e := entry(c, 1)
	require.False(t, begin(t, l, e))
	l.MarkSent(e.MessageID)
	e.Job = "another"
	_, err := l.Begin(t.Context(), e)
	require.ErrorIs(t, err, whatsapp.ErrIDTaken)
}

func TestLedger_PurgesBodiesThenIDs(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	l := openLedger(t, dir, c)
	const many = 1200 // more than two steps
	var wg sync.WaitGroup
	for n := range many {
		wg.Go(func() {
			_, err := l.Begin(t.Context(), entry(c, n))
			require.NoError(t, err)
		})
	}
	wg.Wait()
	long := entry(c, many)
	long.Expires = c.now().Add(time.Hour)
	begin(t, l, long)
	require.Zero(t, purge(t, l), "nothing is due")

	c.turn(10*time.Minute + time.Second)
	require.Empty(t, find(t, l, entry(c, 0).MessageID).Sealed, "gone for callers at the deadline")
	require.Equal(t, many, purge(t, l), "bodies")
	require.Zero(t, purge(t, l))
	require.NotEmpty(t, find(t, l, long.MessageID).Sealed, "this one lives")
	require.NoError(t, l.Close())

	l = openLedger(t, dir, c)
	require.Zero(t, purge(t, l), "the bodies are gone from the file")
	require.Empty(t, find(t, l, entry(c, 7).MessageID).Sealed)
	require.Equal(t, job.ID("job-7"), find(t, l, entry(c, 7).MessageID).Job)

	c.turn(24 * time.Hour)
	require.Equal(t, many+1, purge(t, l), "ids, and the body of the long one")
	require.NoError(t, l.Close())
	l = openLedger(t, dir, c)
	_, found, err := l.Find(t.Context(), entry(c, 7).MessageID)
	require.NoError(t, err)
	require.False(t, found)
	find(t, l, long.MessageID)
}

// purge steps until nothing is due.
func purge(t *testing.T, l *whatsapp.Ledger) (rows int) {
	t.Helper()
	for {
		n, err := l.Purge(t.Context())
		require.NoError(t, err)
		if n == 0 {
			return rows
		}
		require.LessOrEqual(t, n, 1000, "small steps")
		rows += n
	}
}

func TestLedger_CallerGivesUp(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := openLedger(t, t.TempDir(), c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Begin(ctx, entry(c, 1))
	if err != nil { // it may have been written just in time
		require.ErrorIs(t, err, context.Canceled)
	}
}
