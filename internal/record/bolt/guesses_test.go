package bolt_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"wabek/internal/otp"
	"wabek/internal/record/bolt"
)

// guess notes a row of wrong codes for the phone with a number.
func guess(t *testing.T, s *bolt.Store, now time.Time, number byte, to otp.Guesses) {
	t.Helper()
	d := issue(t, s, draft(t, now, time.Minute, number))
	require.NoError(t, s.Update(context.Background(), d.Record.ID, otp.Change{Rule: func(_ *otp.Record, h *otp.History) error {
		h.Guesses = to
		return nil
	}}))
}

func guessRows(t *testing.T, s *bolt.Store) int {
	t.Helper()
	n, err := s.GuessRows(context.Background())
	require.NoError(t, err)
	return n
}

func TestPurge_DropsRowsOfWrongCodesThatHaveLapsed(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.PurgeStep, o.PurgePause = 3, time.Microsecond
	s := open(t, o)
	for i := range byte(30) {
		guess(t, s, c.now(), i, otp.Guesses{Wrong: 5, Last: c.now(), Stopped: i%10 == 0})
	}
	c.advance(time.Hour)
	guess(t, s, c.now(), 100, otp.Guesses{Wrong: 5, Last: c.now()})
	passes := func(n int) {
		t.Helper()
		for range n {
			before := guessRows(t, s)
			require.True(t, s.PurgeNow())
			require.LessOrEqual(t, before-guessRows(t, s), o.PurgeStep, "a pass is one step")
		}
	}
	c.advance(otp.GuessLife - time.Hour - time.Millisecond)
	passes(20)
	require.Equal(t, 31, guessRows(t, s), "not a moment too early")
	c.advance(time.Millisecond)
	passes(20)
	require.Equal(t, 4, guessRows(t, s), "the young one and the hard stops are there")
	c.advance(time.Hour)
	passes(10)
	require.Equal(t, 3, guessRows(t, s))
	c.advance(100 * otp.GuessLife)
	passes(10)
	require.Equal(t, 3, guessRows(t, s))
	groups := s.Stats().Groups
	passes(10)
	require.Equal(t, groups, s.Stats().Groups, "what finds nothing costs no commit")
}

// A row of before hard stops were noted may be one.
func TestGuesses_OfAnOlderVersionStay(t *testing.T) {
	t.Parallel()
	c := newClock()
	path := filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, c.now))
	guess(t, s, c.now(), 1, otp.Guesses{Wrong: 5, Last: c.now()})
	require.NoError(t, s.Close())
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		rows := tx.Bucket([]byte("guesses"))
		k, v := rows.Cursor().First()
		old := append([]byte{1}, v[1:13]...)
		return rows.Put(append([]byte(nil), k...), old)
	}))
	require.NoError(t, db.Close())

	c.advance(2 * otp.GuessLife)
	s = open(t, calm(path, c.now))
	require.True(t, s.PurgeNow())
	require.True(t, s.PurgeNow())
	require.Equal(t, 1, guessRows(t, s))
	d := issue(t, s, draft(t, c.now(), time.Minute, 1))
	require.NoError(t, s.Update(context.Background(), d.Record.ID, otp.Change{Rule: func(_ *otp.Record, h *otp.History) error {
		require.Equal(t, 5, h.Guesses.Wrong)
		require.True(t, h.Guesses.Stopped)
		return nil
	}}))
}
