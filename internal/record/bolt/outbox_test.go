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

func TestOutbox_SurvivesReopenInOrder(t *testing.T) {
	t.Parallel()
	c, path := newClock(), filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, c.now))
	var want []job.ID
	for i := range byte(20) {
		want = append(want, issue(t, s, draft(t, c.now(), 10*time.Minute, i)).Job.ID)
		c.advance(time.Millisecond)
	}
	require.NoError(t, s.Close())

	s = open(t, calm(path, c.now))
	require.Equal(t, want, pending(t, s))
	var paged []job.ID
	for after := job.ID(""); ; after = paged[len(paged)-1] {
		page, err := s.Pending(context.Background(), after, 7)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		require.LessOrEqual(t, len(page), 7)
		paged = append(paged, page...)
	}
	require.Equal(t, want, paged)
	_, err := s.Pending(context.Background(), "not-an-id", 7)
	require.Error(t, err)
}

func TestOutbox_LoadGivesTheJobAsIssued(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	d := issue(t, s, draft(t, c.now(), 10*time.Minute, 1))
	e, ok, err := s.Load(context.Background(), d.Job.ID)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, d.Job, e)

	for _, unknown := range []job.ID{"0190aaaa-aaaa-7aaa-8aaa-aaaaaaaaaaaa", "not-an-id"} {
		_, ok, err = s.Load(context.Background(), unknown)
		require.NoError(t, err)
		require.False(t, ok)
	}
}

func TestOutbox_LoadHasNoBodyOnceNobodyNeedsIt(t *testing.T) {
	t.Parallel()
	use := func(r *otp.Record, _ *otp.History) error {
		r.State, r.Sealed = otp.Used, nil
		return nil
	}
	for name, end := range map[string]func(*testing.T, *bolt.Store, otp.Draft, *clock){
		"superseded": func(t *testing.T, s *bolt.Store, d otp.Draft, c *clock) {
			t.Helper()
			c.advance(time.Second)
			issue(t, s, draft(t, c.now(), 10*time.Minute, d.Record.Phone[0]))
		},
		"used": func(t *testing.T, s *bolt.Store, d otp.Draft, _ *clock) {
			t.Helper()
			require.NoError(t, s.Update(context.Background(), d.Record.ID, otp.Change{Rule: use}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
			d := issue(t, s, draft(t, c.now(), 10*time.Minute, 1))
			end(t, s, d, c)
			require.Contains(t, pending(t, s), d.Job.ID, "the relay must see it, to cancel it")
			e, ok, err := s.Load(context.Background(), d.Job.ID)
			require.NoError(t, err)
			require.True(t, ok)
			require.Empty(t, e.Sealed)
			require.Equal(t, d.Job.Pool, e.Pool)
		})
	}
}

func TestApply_FoldsAndSettlesInAnyOrder(t *testing.T) {
	t.Parallel()
	c, path := newClock(), filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, c.now))
	sent := issue(t, s, draft(t, c.now(), 10*time.Minute, 1))
	claimed := issue(t, s, draft(t, c.now(), 10*time.Minute, 2))
	failed := issue(t, s, draft(t, c.now(), 10*time.Minute, 3))
	status := func(d otp.Draft, state job.State, reason job.Reason) job.Status {
		return job.Status{Job: d.Job.ID, Pool: d.Job.Pool, State: state, Reason: reason}
	}
	statuses := []job.Status{
		{Job: "notice-of-an-invoice", State: job.Sent},
		{Job: "0190aaaa-aaaa-7aaa-8aaa-aaaaaaaaaaaa", State: job.Sent},
		status(sent, job.Delivered, ""), status(sent, job.Sent, ""), status(sent, job.Sending, ""),
		status(claimed, job.Sending, ""), status(claimed, "from a newer version", ""),
		status(failed, job.Failed, job.ReasonNotOnWhatsApp),
	}
	check := func(s *bolt.Store) {
		require.Equal(t, []job.ID{claimed.Job.ID}, pending(t, s))
		for _, want := range []struct {
			d      otp.Draft
			state  job.State
			reason job.Reason
		}{{sent, job.Delivered, ""}, {claimed, job.Sending, ""}, {failed, job.Failed, job.ReasonNotOnWhatsApp}} {
			r, err := s.Get(context.Background(), want.d.Record.ID)
			require.NoError(t, err)
			require.Equal(t, want.state, r.Delivery)
			require.Equal(t, want.reason, r.Reason)
			require.Equal(t, want.d.Record.Sealed, r.Sealed, "a retry receipt may still ask for it")
		}
	}
	require.NoError(t, s.Apply(context.Background(), statuses))
	check(s)
	groups := s.Stats().Groups
	require.NoError(t, s.Apply(context.Background(), statuses))
	check(s)
	require.Equal(t, groups, s.Stats().Groups, "what changes nothing costs no commit")
	require.NoError(t, s.Apply(context.Background(), nil))
	require.NoError(t, s.Close())
	check(open(t, calm(path, c.now)))
}

func TestCommitted_SeesStoredJobsAlone(t *testing.T) {
	t.Parallel()
	c := newClock()
	var committed []job.Envelope // written by the writer before Issue returns
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.Committed = func(e job.Envelope) { committed = append(committed, e) }
	s := open(t, o)
	d := issue(t, s, draft(t, c.now(), time.Minute, 1))
	require.Equal(t, []job.Envelope{d.Job}, committed)
	err := s.Issue(context.Background(), draft(t, c.now(), time.Minute, 2), func(h otp.History) (otp.History, error) { return h, context.DeadlineExceeded })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, s.Update(context.Background(), d.Record.ID, otp.Change{Rule: func(*otp.Record, *otp.History) error { return nil }}))
	require.Len(t, committed, 1)
}
