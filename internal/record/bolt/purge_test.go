package bolt_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/record/bolt"
)

func TestPurge_JudgesEachRecordByItsOwnExpiry(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.PurgeStep, o.PurgePause = 3, time.Microsecond
	s := open(t, o)
	var short, long []otp.Draft
	for i := range byte(20) { // of the same age, of different lives, side by side
		short = append(short, issue(t, s, draft(t, c.now(), time.Minute, i)))
		long = append(long, issue(t, s, draft(t, c.now(), time.Hour, 100+i)))
	}
	require.NoError(t, s.Apply(context.Background(), []job.Status{{Job: short[0].Job.ID, State: job.Sent}}))
	require.Len(t, pending(t, s), 39)
	has := func(d otp.Draft) bool {
		_, err := s.Get(context.Background(), d.Record.ID)
		if err != nil {
			require.ErrorIs(t, err, otp.ErrNoRecord)
		}
		return err == nil
	}
	count := func(drafts []otp.Draft) (n int) {
		for _, d := range drafts {
			if has(d) {
				n++
			}
		}
		return n
	}

	c.advance(time.Minute + bolt.DefaultRetention - time.Millisecond)
	require.True(t, s.PurgeNow())
	require.Equal(t, 20, count(short), "not a moment too early")
	c.advance(time.Millisecond)
	require.True(t, s.PurgeNow())
	require.Equal(t, 0, count(short))
	require.Equal(t, 20, count(long), "a longer life is not cut short by its neighbours'")
	require.Len(t, pending(t, s), 20)
	require.EqualValues(t, 20, s.Stats().Purged)
	c.advance(time.Hour)
	young := issue(t, s, draft(t, c.now(), time.Minute, 1))
	require.True(t, s.PurgeNow())
	require.Equal(t, 0, count(long))
	require.True(t, has(young))
	require.Equal(t, []job.ID{young.Job.ID}, pending(t, s))
	require.EqualValues(t, 40, s.Stats().Purged)
	groups := s.Stats().Groups
	require.True(t, s.PurgeNow())
	require.Equal(t, groups, s.Stats().Groups, "a pass that finds nothing costs no commit")
}

func TestPurge_ForgetsTheMessageOfAnOTPThatExpiredUnverified(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.PurgeStep, o.PurgePause = 3, time.Microsecond
	s := open(t, o)
	var old []otp.Draft
	for i := range byte(10) {
		old = append(old, issue(t, s, draft(t, c.now(), time.Minute, i)))
	}
	sealed := func(d otp.Draft) int {
		r, err := s.Get(context.Background(), d.Record.ID)
		require.NoError(t, err)
		return len(r.Sealed)
	}
	c.advance(otp.MaxExpiry - time.Millisecond)
	young := issue(t, s, draft(t, c.now(), otp.MaxExpiry, 20))
	require.True(t, s.PurgeNow())
	require.Positive(t, sealed(old[0]), "one with the longest life could still be open")
	c.advance(time.Millisecond)
	require.True(t, s.PurgeNow())
	for _, d := range old {
		require.Zero(t, sealed(d))
	}
	require.Positive(t, sealed(young))
	groups := s.Stats().Groups
	require.True(t, s.PurgeNow())
	require.Equal(t, groups, s.Stats().Groups, "what it has seen it doesn't write again")
	c.advance(otp.MaxExpiry)
	require.True(t, s.PurgeNow())
	require.Zero(t, sealed(young))
	require.Len(t, pending(t, s), 11, "the rows are the relay's to conclude")
}

func TestPurge_RunsByItself(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, restless(filepath.Join(t.TempDir(), "records.db"), c.now))
	for i := range byte(50) {
		issue(t, s, draft(t, c.now(), time.Minute, i))
	}
	c.advance(time.Minute + bolt.DefaultRetention)
	require.Eventually(t, func() bool { return s.Stats().Purged == 50 }, 10*time.Second, time.Millisecond)
	require.Empty(t, pending(t, s))
}

func TestHistory_IsPrunedAndReadAgain(t *testing.T) {
	t.Parallel()
	c := newClock()
	path := filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, c.now))
	for i := range byte(100) {
		issue(t, s, draft(t, c.now(), time.Minute, i))
		issue(t, s, draft(t, c.now(), time.Hour, 100+i%100))
	}
	require.NoError(t, s.Close())
	require.Equal(t, 200, s.IndexSize())
	s = open(t, calm(path, c.now))
	require.NoError(t, s.Close())
	require.Equal(t, 200, s.IndexSize())
	c.advance(time.Minute)
	s = open(t, calm(path, c.now))
	require.NoError(t, s.Close())
	require.Equal(t, 100, s.IndexSize(), "what has expired is not read again")
	s = open(t, calm(path, c.now))
	require.True(t, s.PurgeNow(), "prunes what is due, which is nothing yet")
	c.advance(time.Hour)
	require.True(t, s.PurgeNow())
	require.NoError(t, s.Close())
	require.Equal(t, 0, s.IndexSize())
}

func TestPurge_ForgetsMessagesFromBeforeTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	c.advance(240 * time.Hour)
	issue(t, s, draft(t, c.now(), time.Minute, 1))
	c.advance(otp.MaxExpiry)
	require.True(t, s.PurgeNow()) // has seen what was issued up to here
	c.advance(-240 * time.Hour)
	d := issue(t, s, draft(t, c.now(), time.Minute, 2))
	c.advance(otp.MaxExpiry)
	require.True(t, s.PurgeNow())
	r, err := s.Get(context.Background(), d.Record.ID)
	require.NoError(t, err)
	require.Empty(t, r.Sealed)
}

// What was noted while the clock was a year ahead lies before all that follows in each queue of the history.
func TestHistory_IsPrunedAlthoughTheClockWasAhead(t *testing.T) {
	t.Parallel()
	c := newClock()
	path := filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, c.now))
	const year = 365 * 24 * time.Hour
	sends := func(number byte) (n int) {
		d := draft(t, c.now(), time.Minute, number)
		err := s.Issue(context.Background(), d, func(h otp.History) (otp.History, error) {
			n = len(h.Sends)
			return h, context.Canceled
		})
		require.ErrorIs(t, err, context.Canceled)
		return n
	}
	c.advance(year)
	for i := range byte(20) {
		issue(t, s, draft(t, c.now(), time.Minute, i))
	}
	require.Equal(t, 1, sends(1))
	c.advance(-year)
	require.Zero(t, sends(1), "else the phone would be stopped for a year")
	for range 2 {
		for i := range byte(20) {
			issue(t, s, draft(t, c.now(), time.Minute, i+100))
		}
		c.advance(25 * time.Hour)
		require.True(t, s.PurgeNow())
		require.NoError(t, s.Close())
		require.Equal(t, 20, s.IndexSize(), "the OTPs that expire in a year, and no more")
		require.Zero(t, s.SendsSize())
		s = open(t, calm(path, c.now))
	}
}
