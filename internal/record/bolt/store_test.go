package bolt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/record/bolt"
)

func TestOpen_FileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	open(t, calm(path, time.Now))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOpen_RefusesAFileInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, time.Now))
	_, err := bolt.Open(calm(path, time.Now))
	require.ErrorIs(t, err, bolt.ErrLocked)
	require.ErrorContains(t, err, path)
	require.NoError(t, s.Close())
	open(t, calm(path, time.Now))
}

func TestOpen_RefusesANewerFormat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	require.NoError(t, open(t, calm(path, time.Now)).Close())
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint32(nil, bolt.FormatVersion+1))
	}))
	require.NoError(t, db.Close())
	_, err = bolt.Open(calm(path, time.Now))
	require.ErrorIs(t, err, bolt.ErrNewerFormat)
}

func TestOpen_RefusesWhatIsNoRecordFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("no database "), 4096), 0o600))
	_, err := bolt.Open(calm(path, time.Now))
	require.ErrorContains(t, err, path)
}

func TestStore_SecondSupersedeInOneGroupSeesTheFirst(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	first := issue(t, s, draft(t, c.now(), time.Minute, 1))
	release := s.HoldWriter(first.Record.ID)
	groups := s.Stats().Groups
	var wait sync.WaitGroup
	for range 20 {
		d := draft(t, c.now(), time.Minute, 1)
		wait.Go(func() { issue(t, s, d) })
	}
	require.Eventually(t, func() bool { return s.Queued() == 20 }, 5*time.Second, time.Millisecond)
	release()
	wait.Wait()
	require.Equal(t, groups+1, s.Stats().Groups, "all in one commit")
	open := 0
	for _, id := range pending(t, s) {
		e, _, err := s.Load(context.Background(), id)
		require.NoError(t, err)
		if len(e.Sealed) > 0 {
			open++
		}
	}
	require.Equal(t, 1, open)
}

func TestStore_BusyWhenTheQueueIsFull(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.Queue = 4
	s := open(t, o)
	d := issue(t, s, draft(t, c.now(), time.Minute, 1))
	release := s.HoldWriter(d.Record.ID)
	noop := otp.Change{Rule: func(*otp.Record, *otp.History) error { return nil }}
	var wait sync.WaitGroup
	for range o.Queue {
		wait.Go(func() { require.NoError(t, s.Update(context.Background(), d.Record.ID, noop)) })
	}
	require.Eventually(t, func() bool { return s.Queued() == o.Queue }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, s.Update(context.Background(), d.Record.ID, noop), otp.ErrBusy)
	require.ErrorIs(t, s.Issue(context.Background(), d, admit(d)), otp.ErrBusy)
	release()
	wait.Wait()
}

func TestStore_CallerWhoLeavesWhileWaitingIsNotServed(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	d := issue(t, s, draft(t, c.now(), time.Minute, 1))
	release := s.HoldWriter(d.Record.ID)
	ctx, cancel := context.WithCancel(context.Background())
	late := draft(t, c.now(), time.Minute, 2)
	answer := make(chan error)
	go func() { answer <- s.Issue(ctx, late, admit(late)) }()
	require.Eventually(t, func() bool { return s.Queued() == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-answer, context.Canceled)
	release()
	require.NoError(t, s.Close())
	s = open(t, calm(s.Path(), c.now))
	_, err := s.Get(context.Background(), late.Record.ID)
	require.ErrorIs(t, err, otp.ErrNoRecord)
}

func TestClose_AnswersWhatWaitsAndThenRefuses(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, calm(filepath.Join(t.TempDir(), "records.db"), c.now))
	d := issue(t, s, draft(t, c.now(), time.Minute, 0))
	require.NoError(t, s.Err())
	release := s.HoldWriter(d.Record.ID)
	var wait sync.WaitGroup
	for i := range byte(10) {
		d := draft(t, c.now(), time.Minute, i+1)
		wait.Go(func() { issue(t, s, d) })
	}
	require.Eventually(t, func() bool { return s.Queued() == 10 }, 5*time.Second, time.Millisecond)
	wait.Go(func() { require.NoError(t, s.Close()) })
	require.Eventually(t, func() bool { return s.Err() != nil }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, s.Issue(context.Background(), d, admit(d)), otp.ErrClosed)
	release()
	wait.Wait()
	require.NoError(t, s.Close())
	_, err := s.Get(context.Background(), d.Record.ID)
	require.ErrorIs(t, err, otp.ErrClosed)
	require.Len(t, pending(t, open(t, calm(s.Path(), c.now))), 11)
}

func TestStore_StopsForGoodWhenACommitFails(t *testing.T) {
	t.Parallel()
	c := newClock()
	var file *os.File
	var log bytes.Buffer
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, err := bolt.Open(o.WithFile(func(name string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}))
	require.NoError(t, err)
	kept := issue(t, s, draft(t, c.now(), time.Minute, 1))
	release := s.HoldWriter(kept.Record.ID)
	const count = 8
	errs := make(chan error, count)
	for i := range byte(count) {
		d := draft(t, c.now(), time.Minute, i+2)
		go func() { errs <- s.Issue(context.Background(), d, admit(d)) }()
	}
	require.Eventually(t, func() bool { return s.Queued() == count }, 5*time.Second, time.Millisecond)
	require.NoError(t, file.Close()) // the disk goes away
	release()
	for range count {
		require.ErrorIs(t, <-errs, otp.ErrClosed)
	}
	require.ErrorIs(t, s.Err(), os.ErrClosed)
	require.ErrorIs(t, s.Issue(context.Background(), kept, admit(kept)), otp.ErrClosed)
	_, err = s.Get(context.Background(), kept.Record.ID)
	require.ErrorIs(t, err, otp.ErrClosed)
	_ = s.Close() // the file is closed already
	require.Contains(t, log.String(), "level=ERROR")

	again := open(t, calm(o.Path, c.now))
	require.Equal(t, []job.ID{kept.Job.ID}, pending(t, again), "what was answered before is there, what was refused isn't")
}

func TestStore_PanicIsLoggedWithoutTheRecord(t *testing.T) {
	t.Parallel()
	c := newClock()
	var log bytes.Buffer
	o := calm(filepath.Join(t.TempDir(), "records.db"), c.now)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, o)
	d := issue(t, s, draft(t, c.now(), time.Minute, 1))
	err := s.Update(context.Background(), d.Record.ID, otp.Change{Rule: func(r *otp.Record, _ *otp.History) error { panic(string(r.Sealed)) }})
	require.ErrorIs(t, err, otp.ErrRule)
	require.NoError(t, s.Close())
	require.Contains(t, log.String(), "TestStore_PanicIsLoggedWithoutTheRecord", "the log names the rule's place")
	require.NotContains(t, log.String(), string(d.Record.Sealed))
}

func TestMeta_SurvivesReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, time.Now))
	got, err := s.Meta("api-key")
	require.NoError(t, err)
	require.Nil(t, got)
	none, err := s.Keys()
	require.NoError(t, err)
	require.Empty(t, none)

	wrapped := []keys.Wrapped{{Use: keys.UsePepper, ID: 1, Sealed: []byte{1, 2}}, {Use: keys.UsePhoneHash, ID: 1, Sealed: []byte{3}}}
	require.NoError(t, s.SetMeta(context.Background(), "api-key", []byte("first")))
	require.NoError(t, s.SetMeta(context.Background(), "api-key", []byte("second")))
	require.NoError(t, s.SetMeta(context.Background(), "format", []byte("not the file's own")))
	require.NoError(t, s.SaveKeys(context.Background(), wrapped))
	require.Error(t, s.SetMeta(context.Background(), "", []byte("x")))
	require.NoError(t, s.Close())

	s = open(t, calm(path, time.Now))
	got, err = s.Meta("api-key")
	require.NoError(t, err)
	require.Equal(t, []byte("second"), got)
	back, err := s.Keys()
	require.NoError(t, err)
	require.Equal(t, wrapped, back)
}
