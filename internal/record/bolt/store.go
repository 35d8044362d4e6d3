// Package bolt keeps OTP records in one bbolt file, for a wabek with one API.
//
// In: drafts and rules from package otp, statuses of jobs. Out: nil once it is on stable storage, the outbox of
// jobs whose outcome isn't known yet, records to look at.
// On failure: a rule's error or panic fails its own operation; a failed commit ends the store for good.
package bolt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// Errors of this package, besides those of otp.Store.
var (
	// ErrLocked says that another process has the file open.
	ErrLocked = errors.New("record file is in use by another process")
	// ErrNewerFormat says that a newer version of wabek wrote the file, or a record of it.
	ErrNewerFormat = errors.New("written by a newer version of wabek")
	// ErrCorrupt says that a record's bytes make no sense.
	ErrCorrupt = errors.New("corrupt record")
)

// Defaults of Options.
const (
	DefaultRetention  = 24 * time.Hour
	DefaultQueue      = 8192
	DefaultGroup      = 1024
	DefaultPurgeEvery = 30 * time.Second
	DefaultPurgePause = 10 * time.Millisecond
	DefaultPurgeStep  = 256
)

const (
	lockTimeout = time.Second
	// initialMmap is address space, not memory: as long as the file fits, growing it needs no new mapping, which
	// would have to wait for every reader and hold every writer up (measured: 12-25 ms).
	initialMmap = 1 << 30
	// fillPercent packs leaves that only ever grow at their end. bbolt doesn't store it: it is set in each
	// transaction. Measured against the default of 0.5: the file a good third smaller, appending a third faster.
	fillPercent = 0.9
	// formatVersion is the layout of the file: its buckets and keys. Values have versions of their own.
	formatVersion = 1
)

// The buckets.
const (
	bucketRecords = "records" // otp.ID -> record, see codec.go
	bucketOutbox  = "outbox"  // otp.ID -> row, see codec.go
	bucketMeta    = "meta"    // see meta.go
	bucketOnce    = "once"    // see once.go
	bucketGuesses = "guesses" // see guesses.go
	bucketNews    = "news"    // see news.go
)

// Options say how to open a Store. Path, Now and Logger are needed, all else has a default.
type Options struct {
	Path      string                // of the file; made with mode 0600 where it doesn't exist
	Now       func() time.Time      // the clock
	Logger    *slog.Logger          // gets failures; never a record's content
	Retention time.Duration         // how long a record outlives its expiry
	Committed func(e job.Envelope)  // called right after the commit that stored a job, before its Issue returns; must not block
	Watched   func(app string) bool // says whether changes of the app's OTPs are told; it is asked for each, in the writer
	Changed   func(id otp.ID)       // called right after the commit that changed the state of a watched app's OTP; must not block
	Released  func(e job.Envelope)  // called right after the commit that released a notice, before its ChangeNotice returns; must not block
	Withdrawn func(id job.ID)       // called right after the commit since which nobody needs a job's message; must not block

	Queue      int           // writes that may wait; one more is refused with otp.ErrBusy
	Group      int           // writes that share a commit
	PurgeEvery time.Duration // pause between two passes of the purge
	PurgePause time.Duration // pause between two steps of a pass
	PurgeStep  int           // records that a step looks at

	openFile func(string, int, os.FileMode) (*os.File, error) // os.OpenFile, but for a test of failing disks
}

func (o Options) withDefaults() Options {
	o.Retention = positiveOr(o.Retention, DefaultRetention)
	o.Queue = positiveOr(o.Queue, DefaultQueue)
	o.Group = positiveOr(o.Group, DefaultGroup)
	o.PurgeEvery = positiveOr(o.PurgeEvery, DefaultPurgeEvery)
	o.PurgePause = positiveOr(o.PurgePause, DefaultPurgePause)
	o.PurgeStep = positiveOr(o.PurgeStep, DefaultPurgeStep)
	if o.Committed == nil {
		o.Committed = func(job.Envelope) {}
	}
	if o.Released == nil {
		o.Released = func(job.Envelope) {}
	}
	if o.Withdrawn == nil {
		o.Withdrawn = func(job.ID) {}
	}
	if o.Watched == nil {
		o.Watched = func(string) bool { return false }
	}
	if o.Changed == nil {
		o.Changed = func(otp.ID) {}
	}
	return o
}

func positiveOr[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Store is an otp.Store and a relay.Outbox over one file. Its methods may be called from many goroutines.
type Store struct {
	o       Options
	db      *bbolt.DB
	history *history
	once    onceIndex // the writer's own
	ops     sync.Pool // of *op

	mu     sync.RWMutex // guards closed, failure and the sending end of queue
	closed bool
	failed error
	queue  chan *op

	quit      chan struct{} // ends the purge loop
	wait      sync.WaitGroup
	closeOnce sync.Once
	closeErr  error

	forgotten otp.ID // where the purge goes on to forget sealed messages; its loop's own
	unguessed string // where it goes on among the rows of wrong codes; likewise

	purged  atomic.Int64
	groups  atomic.Int64
	pending atomic.Int64

	unresolved atomic.Int64
}

// Stats are counts since Open, Pending excepted.
type Stats struct {
	Purged  int64 // records deleted after their retention
	Groups  int64 // commits
	Pending int64 // outbox rows now
	// Unresolved is how many events of WHMCS wait to be resolved now.
	Unresolved int64
}

var _ otp.Store = (*Store)(nil)

// Open opens the file, or makes it, and starts the writer and the purge; Close ends them.
// Errors wrap ErrLocked, ErrNewerFormat, or what the file system or bbolt says.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	db, err := bbolt.Open(o.Path, 0o600, &bbolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: initialMmap,
		// The list of free pages isn't written with each commit, but found again at Open by a walk over the pages
		// (measured: about 0.2 s for a million records). It costs most just when much was purged: 100,000 free
		// pages are 800 KB more to write and sync in every commit. A lone write gains 10-60 %.
		NoFreelistSync: true,
		NoStatistics:   true,
		OpenFile:       o.openFile,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", o.Path, ErrLocked)
	case err != nil:
		return nil, fmt.Errorf("open record file %s: %w", o.Path, err)
	}
	s := &Store{
		o: o, db: db, history: newHistory(), once: onceIndex{}, quit: make(chan struct{}), queue: make(chan *op, o.Queue),
		ops: sync.Pool{New: func() any { return &op{done: make(chan error, 1)} }},
	}
	// Else of many rows only the first would ever be seen where restarts are frequent.
	var anywhere [phone.HashSize]byte
	_, _ = rand.Read(anywhere[:]) // never fails
	s.unguessed = string(anywhere[:])
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open record file %s: %w", o.Path, err), db.Close())
	}
	s.wait.Go(s.write)
	s.wait.Go(s.purgeLoop)
	return s, nil
}

// prepare makes or checks the layout and reads what is kept in memory.
func (s *Store) prepare() error {
	if err := s.layout(); err != nil {
		return err
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		rows := tx.Bucket([]byte(bucketOutbox)).Cursor()
		for k, _ := rows.First(); k != nil; k, _ = rows.Next() {
			s.pending.Add(1)
		}
		events := tx.Bucket([]byte(bucketUnresolved)).Cursor()
		for k, _ := events.First(); k != nil; k, _ = events.Next() {
			s.unresolved.Add(1)
		}
		if err := s.once.load(tx.Bucket([]byte(bucketOnce)), s.o.Now()); err != nil {
			return err
		}
		return s.history.load(tx.Bucket([]byte(bucketRecords)), s.o.Now())
	})
}

func buckets() []string {
	return []string{
		bucketNotices, bucketOccurrences, bucketUnresolved, bucketReleased, bucketOptOuts,
		bucketRecords, bucketOutbox, bucketMeta, bucketOnce, bucketGuesses, bucketNews,
	}
}

func (s *Store) layout() error {
	var made bool
	err := s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		if meta == nil {
			return nil
		}
		made = !slices.ContainsFunc(buckets(), func(name string) bool { return tx.Bucket([]byte(name)) == nil })
		version := meta.Get([]byte(metaFormat))
		switch {
		case len(version) != 4:
			return fmt.Errorf("%w: no format version", ErrCorrupt)
		case binary.BigEndian.Uint32(version) > formatVersion:
			return fmt.Errorf("%w: format %d, known up to %d", ErrNewerFormat, binary.BigEndian.Uint32(version), formatVersion)
		}
		return nil
	})
	if made || err != nil {
		return err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaFormat), binary.BigEndian.AppendUint32(nil, formatVersion))
	})
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.o.Path))
}

// syncDir makes a new file's name as durable as its content.
func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // the operator's own data directory
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Issue is otp.Store's. It returns ErrBusy at once where the queue is full. A draft may be
// issued once: its id must be new.
func (s *Store) Issue(ctx context.Context, d otp.Draft, admit otp.Admit) error {
	o := s.op(ctx, kindIssue)
	var err error
	// All that needs no transaction is done here, by the caller: there is only one writer.
	if o.value, err = appendRecord(o.value[:0], &d.Record); err != nil {
		return err
	}
	if d.Job.ID != "" {
		if o.row, err = appendRow(o.row[:0], d.Job); err != nil {
			return err
		}
	}
	o.id, o.job, o.admit, o.once = d.Record.ID, d.Job, admit, d.Once
	o.history = historyKeyOf(s.history, d.Record.App, d.Record.Purpose, d.Record.Phone)
	o.phone = historyKeyOf(s.history, d.Record.App, "", d.Record.Phone)
	o.guesses = guessKey(d.Record.App, d.Record.Phone)
	return s.do(o)
}

// Update is otp.Store's. It returns ErrBusy at once where the queue is full. A rule that leaves the record as it
// was costs no commit.
func (s *Store) Update(ctx context.Context, id otp.ID, c otp.Change) error {
	o := s.op(ctx, kindUpdate)
	o.id, o.rule, o.once = id, c.Rule, c.Once
	if c.Job != nil {
		var err error
		if o.row, err = appendRow(o.row[:0], *c.Job); err != nil {
			return err
		}
		o.job = *c.Job
	}
	return s.do(o)
}

// Answered is otp.Store's.
func (s *Store) Answered(ctx context.Context, once *otp.Once) error {
	o := s.op(ctx, kindAnswered)
	o.once = once
	return s.do(o)
}

// Forgive is otp.Store's.
func (s *Store) Forgive(ctx context.Context, app string, number phone.Hash) error {
	o := s.op(ctx, kindForgive)
	o.guesses = guessKey(app, number)
	return s.do(o)
}

// Latest is otp.Store's.
func (s *Store) Latest(ctx context.Context, app string, number phone.Hash, purpose string) (otp.ID, error) {
	o := s.op(ctx, kindLatest)
	o.history = historyKeyOf(s.history, app, purpose, number)
	answered, err := s.submit(o)
	if !answered {
		return otp.ID{}, err
	}
	id := o.id
	s.recycle(o)
	return id, err
}

// Apply folds statuses into their records and takes settled jobs off the outbox. Nil means that it is on stable
// storage. It may be called again with the same statuses, in any order; those of unknown jobs are passed over.
// Errors: those of Update, but for ErrNoRecord.
func (s *Store) Apply(ctx context.Context, statuses []job.Status) error {
	if len(statuses) == 0 {
		return nil
	}
	o := s.op(ctx, kindApply)
	o.statuses = statuses
	return s.do(o)
}

// Stats are the store's counts.
func (s *Store) Stats() Stats {
	return Stats{Purged: s.purged.Load(), Groups: s.groups.Load(), Pending: s.pending.Load(), Unresolved: s.unresolved.Load()}
}

// Err is nil while the store accepts writes, else it wraps otp.ErrClosed and says why.
func (s *Store) Err() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed && s.failed == nil {
		return otp.ErrClosed
	}
	return s.failed
}

// Close refuses new writes, commits and answers those that wait, ends the goroutines and closes the file.
// It may be called again, and returns the same.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.stop(nil)
		close(s.quit)
		s.wait.Wait()
		if err := s.db.Close(); err != nil {
			s.closeErr = fmt.Errorf("close record file: %w", err)
		}
	})
	return s.closeErr
}

// stop ends the accepting of writes; the writer goes on until the queue is empty.
func (s *Store) stop(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	if s.failed == nil {
		s.failed = cause
	}
}
