package bolt_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/otp"
	"wabek/internal/record/bolt"
)

func TestNews_OfWatchedAppsAloneUntilTold(t *testing.T) {
	t.Parallel()
	c := newClock()
	var mu sync.Mutex
	var heard []otp.ID
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.Watched = func(app string) bool { return app == otp.DefaultApp }
	o.Changed = func(id otp.ID) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, id)
	}
	s := open(t, o)
	change := func(d otp.Draft, rule func(r *otp.Record)) {
		require.NoError(t, s.Update(context.Background(), d.Record.ID, otp.Change{Rule: func(r *otp.Record, _ *otp.History) error {
			rule(r)
			return nil
		}}))
		c.advance(time.Millisecond)
	}
	var drafts []otp.Draft
	for i := range 6 {
		d := draft(t, c.now(), time.Minute, byte(i))
		if d.Record.App = otp.DefaultApp; i == 5 {
			d.Record.App = "another"
		}
		drafts = append(drafts, issue(t, s, d))
		c.advance(time.Millisecond)
	}
	change(drafts[0], func(r *otp.Record) { r.State = otp.Used })
	change(drafts[1], func(r *otp.Record) { r.State = otp.Cancelled })
	change(drafts[2], func(r *otp.Record) { r.Attempts = r.MaxAttempts })
	change(drafts[3], func(r *otp.Record) { r.Attempts++ }) // one wrong code is no news
	newer := draft(t, c.now(), time.Minute, 4)
	newer.Record.App = otp.DefaultApp
	issue(t, s, newer) // supersedes drafts[4]
	change(drafts[5], func(r *otp.Record) { r.State = otp.Used })

	want := []otp.ID{drafts[0].Record.ID, drafts[1].Record.ID, drafts[2].Record.ID, drafts[4].Record.ID}
	require.Equal(t, want, heard)
	untold := func(s *bolt.Store, after otp.ID, limit int) []otp.ID {
		list, err := s.Untold(t.Context(), after, limit)
		require.NoError(t, err)
		ids := make([]otp.ID, 0, len(list))
		for _, n := range list {
			ids = append(ids, n.ID)
		}
		return ids
	}
	require.Equal(t, want, untold(s, otp.ID{}, 10))
	require.Equal(t, want[2:3], untold(s, want[1], 1))
	list, err := s.Untold(t.Context(), otp.ID{}, 1)
	require.NoError(t, err)
	require.NoError(t, s.Told(t.Context(), list[0]))
	require.NoError(t, s.Told(t.Context(), list[0]), "twice is once")
	require.NoError(t, s.Close())
	s = open(t, o)
	require.Equal(t, want[1:], untold(s, otp.ID{}, 10), "a restart forgets none")
}

// An OTP that is locked may be superseded while the first is being told.
func TestNews_OfALaterChangeOutlivesWhatIsToldOfAnEarlierOne(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.Watched = func(string) bool { return true }
	s := open(t, o)
	older := issue(t, s, draft(t, c.now(), time.Minute, 1))
	require.NoError(t, s.Update(t.Context(), older.Record.ID, otp.Change{Rule: func(r *otp.Record, _ *otp.History) error {
		r.Attempts = r.MaxAttempts
		return nil
	}}))
	locked, err := s.Untold(t.Context(), otp.ID{}, 10)
	require.NoError(t, err)
	require.Len(t, locked, 1)
	c.advance(time.Millisecond)
	issue(t, s, draft(t, c.now(), time.Minute, 1)) // supersedes it
	require.NoError(t, s.Told(t.Context(), locked[0]))
	later, err := s.Untold(t.Context(), otp.ID{}, 10)
	require.NoError(t, err)
	require.Len(t, later, 1)
	require.NoError(t, s.Told(t.Context(), later[0]))
	later, err = s.Untold(t.Context(), otp.ID{}, 10)
	require.NoError(t, err)
	require.Empty(t, later)
}
