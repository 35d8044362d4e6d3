package bolt_test

import (
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/job"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
	"wabek/internal/relay"
	"wabek/internal/whmcs"
)

var _ relay.Outbox = (*bolt.NoticeOutbox)(nil)

// noticeAt is a notice whose id says that it is of a time.
func noticeAt(tb testing.TB, at time.Time, occurrence byte) whmcs.Notice {
	tb.Helper()
	id, err := whmcs.NewID()
	require.NoError(tb, err)
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return whmcs.Notice{ID: id, App: "shop", Action: "InvoiceCreated", Invoice: 1, State: whmcs.Accepted, Occurrence: whmcs.Occurrence(strconv.Itoa(int(occurrence))), Sealed: []byte("data")}
}

func accept(tb testing.TB, s *bolt.Store, n whmcs.Notice) (whmcs.ID, bool) {
	tb.Helper()
	id, known, err := s.AcceptNotice(tb.Context(), n)
	require.NoError(tb, err)
	return id, known
}

func release(n *whmcs.Notice) error {
	n.Sends++
	n.Pool, n.State, n.Sealed = "default", whmcs.Queued, []byte("a job")
	return nil
}

// The way of a notice, with the file closed and opened after each step.
func TestNotices_SurviveARestartAtEachStep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	c := newClock()
	var last *bolt.Store
	again := func() *bolt.Store {
		if last != nil {
			require.NoError(t, last.Close())
		}
		last = open(t, calm(path, c.now))
		return last
	}
	n := noticeAt(t, c.now(), 1)
	id, known := accept(t, again(), n)
	require.False(t, known)
	require.Equal(t, n.ID, id)

	s := again()
	twin := noticeAt(t, c.now(), 1)
	id, known = accept(t, s, twin)
	require.True(t, known)
	require.Equal(t, n.ID, id)
	waiting, err := s.Unresolved(t.Context(), whmcs.ID{}, 10)
	require.NoError(t, err)
	require.Equal(t, []whmcs.Waiting{{ID: n.ID, App: "shop"}}, waiting)
	_, err = s.Notice(t.Context(), twin.ID)
	require.ErrorIs(t, err, whmcs.ErrNoNotice)
	require.NoError(t, s.ChangeNotice(t.Context(), n.ID, release))

	s = again()
	waiting, err = s.Unresolved(t.Context(), whmcs.ID{}, 10)
	require.NoError(t, err)
	require.Empty(t, waiting)
	outbox := s.NoticeOutbox()
	ids, err := outbox.Pending(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, []job.ID{whmcs.JobID(n.ID, 1)}, ids)
	e, pending, err := outbox.Load(t.Context(), ids[0])
	require.NoError(t, err)
	require.True(t, pending)
	require.Equal(t, job.LaneNotice, e.Lane)
	require.Equal(t, "a job", string(e.Sealed))
	require.NoError(t, outbox.Apply(t.Context(), []job.Status{{Job: ids[0], State: job.Sent, At: c.now()}}))

	s = again()
	ids, err = s.NoticeOutbox().Pending(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, ids)
	got, err := s.Notice(t.Context(), n.ID)
	require.NoError(t, err)
	require.Equal(t, whmcs.State(job.Sent), got.State)
	require.Equal(t, c.now().UnixMilli(), got.SentAt.UnixMilli())
	require.NoError(t, s.ChangeNotice(t.Context(), n.ID, release))
	ids, err = s.NoticeOutbox().Pending(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, []job.ID{whmcs.JobID(n.ID, 2)}, ids)
	_, pending, err = s.NoticeOutbox().Load(t.Context(), whmcs.JobID(n.ID, 1))
	require.NoError(t, err)
	require.False(t, pending, "the first message is done with")
	require.NoError(t, s.NoticeOutbox().Apply(t.Context(), []job.Status{{Job: whmcs.JobID(n.ID, 1), State: job.Read, At: c.now()}}))
	got, err = s.Notice(t.Context(), n.ID)
	require.NoError(t, err)
	require.Equal(t, whmcs.Queued, got.State, "a receipt of the first message says nothing of the second")
}

func TestNotices_OneOfManyAtOnceIsTheFirst(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	var wait sync.WaitGroup
	firsts := make(chan whmcs.ID, 64)
	for range cap(firsts) {
		n := noticeAt(t, c.now(), 1)
		wait.Go(func() {
			id, _, err := s.AcceptNotice(t.Context(), n)
			if err == nil {
				firsts <- id
			}
		})
	}
	wait.Wait()
	close(firsts)
	seen := map[whmcs.ID]bool{}
	for id := range firsts {
		seen[id] = true
	}
	require.Len(t, seen, 1)
}

func TestNotices_ARuleThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	n := noticeAt(t, c.now(), 1)
	accept(t, s, n)
	for _, rule := range []func(*whmcs.Notice) error{
		func(n *whmcs.Notice) error { n.State = whmcs.Skipped; return whmcs.ErrNotResendable },
		func(n *whmcs.Notice) error { n.State = whmcs.Skipped; panic("no") },
	} {
		require.Error(t, s.ChangeNotice(t.Context(), n.ID, rule))
		got, err := s.Notice(t.Context(), n.ID)
		require.NoError(t, err)
		require.Equal(t, whmcs.Accepted, got.State)
	}
}

// Notices go when their occurrence isn't remembered any more, whatever they were; opt-outs never do.
func TestNotices_ArePurgedAfter35Days(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, restless(filepath.Join(t.TempDir(), "records.db"), c.now))
	number := phone.Hash{1}
	require.NoError(t, s.SetOptOut(t.Context(), "default", number, true, c.now()))
	var old []whmcs.Notice
	for i := range byte(10) {
		old = append(old, noticeAt(t, c.now(), i))
		accept(t, s, old[i])
	}
	require.NoError(t, s.ChangeNotice(t.Context(), old[0].ID, release))
	c.advance(whmcs.OccurrenceLife)
	young := noticeAt(t, c.now(), 100)
	accept(t, s, young)
	c.advance(time.Millisecond)
	gone := func(n whmcs.Notice) func() bool {
		return func() bool { _, err := s.Notice(t.Context(), n.ID); return errors.Is(err, whmcs.ErrNoNotice) }
	}
	for _, n := range old {
		require.Eventually(t, gone(n), 10*time.Second, time.Millisecond)
	}
	_, err := s.Notice(t.Context(), young.ID)
	require.NoError(t, err)
	ids, err := s.NoticeOutbox().Pending(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, ids)
	waiting, err := s.Unresolved(t.Context(), whmcs.ID{}, 20)
	require.NoError(t, err)
	require.Equal(t, []whmcs.Waiting{{ID: young.ID, App: "shop"}}, waiting)
	_, known := accept(t, s, noticeAt(t, c.now(), 3))
	require.False(t, known, "the occurrence is forgotten with its notice")
	out, err := s.OptedOut(t.Context(), "default", number)
	require.NoError(t, err)
	require.True(t, out)
}

func TestOptOuts_TheLatestWordCounts(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	number, now := phone.Hash{7}, c.now()
	for _, step := range []struct {
		out  bool
		at   time.Duration
		want bool
	}{{true, 0, true}, {false, -time.Hour, true}, {false, time.Hour, false}, {true, time.Minute, false}, {true, 2 * time.Hour, true}} {
		require.NoError(t, s.SetOptOut(t.Context(), "default", number, step.out, now.Add(step.at)))
		out, err := s.OptedOut(t.Context(), "default", number)
		require.NoError(t, err)
		require.Equal(t, step.want, out, step)
	}
	out, err := s.OptedOut(t.Context(), "other", number)
	require.NoError(t, err)
	require.False(t, out, "another pool's sessions weren't meant")
}

// Listing finds exactly what a query is for, in order, whatever the page.
func TestNotices_Listing(t *testing.T) {
	t.Parallel()
	c := newClock()
	rapid.Check(t, func(r *rapid.T) {
		s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
		var want []whmcs.ID
		q := whmcs.Query{App: "shop", Limit: rapid.IntRange(1, 4).Draw(r, "limit"), User: 1}
		for i := range rapid.IntRange(0, 12).Draw(r, "notices") {
			n := noticeAt(t, c.now().Add(time.Duration(i)*time.Millisecond), byte(i))
			n.User = rapid.Int64Range(1, 2).Draw(r, "user")
			n.App = rapid.SampledFrom([]string{"shop", "other"}).Draw(r, "app")
			accept(t, s, n)
			if q.Matches(&n) {
				want = append([]whmcs.ID{n.ID}, want...)
			}
		}
		var got []whmcs.ID
		for {
			list, next, err := s.Notices(t.Context(), q)
			require.NoError(r, err)
			require.LessOrEqual(r, len(list), q.Limit)
			for _, n := range list {
				got = append(got, n.ID)
			}
			if next == (whmcs.ID{}) {
				break
			}
			q.Before = next
		}
		require.Equal(r, want, got)
	})
}
