package bolt

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"wabek/internal/job"
	"wabek/internal/otp"
)

// One goroutine writes. It waits for the first operation, takes along what has queued up meanwhile, applies all in
// one transaction, syncs once and answers all. It needs no timer: a group is what arrived during the last sync.
//
// What a crash (SIGKILL, power loss) leaves, by its moment:
//
//	operation in the queue, or the transaction under way   nothing of it; nobody was answered
//	after the data pages are synced, before the meta page  nothing: the old meta page still points at the old tree
//	after the meta page is synced, before the answer       all of it, record and outbox row, unanswered: the caller
//	                                                       doesn't know, the relay sends the message all the same
//	after the answer                                       all of it
//
// Record and row are written by one transaction, so there is no record without its job and no job without its
// record. A group is whole or absent too, but nothing relies on that.

type kind uint8

const (
	kindIssue kind = iota
	kindUpdate
	kindApply
	kindMeta
	kindUnset
	kindPurge
	kindForget
	kindForgetAnswers
	kindForgetGuesses
	kindLatest
	kindForgive
	kindAnswered
	kindTold
	kindDo
)

// op is a write on its way through the queue. It belongs to its caller until it is queued, then to the writer
// until it is answered.
type op struct {
	kind kind
	ctx  context.Context //nolint:containedctx // it waits in the queue with its operation
	done chan error      // capacity 1: the writer never waits for a caller who has gone
	err  error           // the outcome, if the group commits

	id        otp.ID                                // issue, update; latest: the answer; purge, forget: where to go on
	value     []byte                                // issue: the record; meta: the value
	row       []byte                                // issue, update: the outbox row; empty for none
	job       job.Envelope                          // issue, update: that of the row
	admit     otp.Admit                             // issue
	history   historyKey                            // issue, latest: of app, phone and purpose
	phone     historyKey                            // issue: of app and phone
	guesses   []byte                                // issue, forgive: key of the phone's wrong codes
	rule      func(*otp.Record, *otp.History) error // update
	once      *otp.Once                             // issue, update, answered; nil for none
	do        func(*group, *op) error               // do
	released  job.Envelope                          // do: the job of a notice that was released
	withdrawn job.ID                                // issue, update: a job that nobody needs any more, for whom it was
	changed   []otp.ID                              // issue, update: OTPs of watched apps whose state has changed
	told      News                                  // told
	statuses  []job.Status                          // apply
	name      string                                // meta, unset; forget guesses: where to go on
	more      bool                                  // purge, forget: there is more to look at
}

func (s *Store) op(ctx context.Context, k kind) *op {
	o := s.ops.Get().(*op) //nolint:forcetypeassert // the pool holds nothing else
	o.kind, o.ctx = k, ctx
	return o
}

// recycle gives an answered op back. Its buffers and its channel are kept.
func (s *Store) recycle(o *op) {
	*o = op{done: o.done, value: o.value, row: o.row[:0]}
	s.ops.Put(o)
}

// do queues an op, waits for its answer and recycles it.
func (s *Store) do(o *op) error {
	answered, err := s.submit(o)
	if answered {
		s.recycle(o)
	}
	return err
}

// submit queues an op and waits. An op that isn't answered when its caller leaves is left to the writer.
func (s *Store) submit(o *op) (answered bool, err error) {
	ctx := o.ctx
	if err := s.enqueue(o); err != nil {
		return true, err
	}
	select {
	case err := <-o.done:
		return true, err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (s *Store) enqueue(o *op) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.failed != nil:
		return s.failed
	case s.closed:
		return otp.ErrClosed
	}
	select {
	case s.queue <- o:
		return nil
	default:
		return otp.ErrBusy
	}
}

// write is the writer goroutine. It ends when the queue is closed and empty.
func (s *Store) write() {
	ops := make([]*op, 0, s.o.Group)
	g := &group{store: s}
	for first := range s.queue {
		// On full cores those who are about to write wait for a CPU, not for the disk. Let them run first: the group gets
		// larger without a timer, and a lone operation loses nothing (docs/benchmarks.md).
		runtime.Gosched()
		ops = append(ops[:0], first)
		for size := first.size(); size < s.o.Group; {
			o := s.poll()
			if o == nil {
				break
			}
			ops = append(ops, o)
			size += o.size()
		}
		s.commit(g, ops)
		clear(ops)
	}
}

// poll is the next op that waits, nil where none does.
func (s *Store) poll() *op {
	select {
	case o := <-s.queue:
		return o
	default:
		return nil
	}
}

// size is what an op counts for in a group.
func (o *op) size() int { return max(1, len(o.statuses)) }

// commit applies ops in one transaction and answers them.
func (s *Store) commit(g *group, ops []*op) {
	err := s.failure()
	if err == nil {
		err = g.run(ops)
		if err != nil {
			// What the file holds now isn't known, and trying again could make it worse (a failed fsync drops dirty
			// pages and reports success the next time): nothing is accepted until a restart has read it anew.
			err = fmt.Errorf("%w: a commit failed: %w", otp.ErrClosed, err)
			s.o.Logger.Error("record store has stopped: a commit failed; free or mend the disk, then restart", "error", err)
			s.stop(err)
		}
	}
	for _, o := range ops {
		switch {
		case err != nil:
			o.done <- err
			continue
		case o.err == nil && len(o.row) > 0:
			s.o.Committed(o.job)
		}
		if o.err == nil && o.released.ID != "" {
			s.o.Released(o.released)
		}
		if o.err == nil && o.withdrawn != "" {
			s.o.Withdrawn(o.withdrawn)
		}
		if o.err == nil {
			for _, id := range o.changed {
				s.o.Changed(id)
			}
		}
		o.done <- o.err
	}
}

func (s *Store) failure() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed
}

// group is one transaction.
type group struct {
	store *Store
	now   time.Time
	arena []byte      // values of this transaction; bbolt reads them at the commit
	sends []time.Time // memory for the history of one rule

	tx      *bbolt.Tx
	records *bbolt.Bucket
	outbox  *bbolt.Bucket
	guessed *bbolt.Bucket
	once    *bbolt.Bucket // nil until it is needed
	dirty   bool          // something has changed
	err     error         // the first failure of bbolt: the transaction can't be committed any more
	pending int64         // change in the count of outbox rows
	purged  int64

	unresolved int64 // change in the count of events that wait
}

// run applies ops and commits what they changed. Its error means that nothing may be relied on any more; those of
// single ops are left in them.
func (g *group) run(ops []*op) error {
	s := g.store
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	*g = group{store: s, now: s.o.Now(), arena: g.arena[:0], sends: g.sends[:0], tx: tx, records: tx.Bucket([]byte(bucketRecords)), outbox: tx.Bucket([]byte(bucketOutbox)), guessed: tx.Bucket([]byte(bucketGuesses))}
	g.records.FillPercent, g.outbox.FillPercent = fillPercent, fillPercent
	for _, o := range ops {
		if o.err = o.ctx.Err(); o.err == nil {
			o.err = g.apply(o)
		}
	}
	// The index needs no undoing where a commit fails: that is the end of this store.
	s.history.prune(g.now.UnixMilli(), 2*len(ops)+16)
	if g.err != nil || !g.dirty {
		_ = tx.Rollback() // fails only on a closed transaction
		return g.err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.groups.Add(1)
	s.pending.Add(g.pending)
	s.unresolved.Add(g.unresolved)
	s.purged.Add(g.purged)
	return nil
}

// guard runs a rule. A panic fails the rule's own operation: it runs before that operation has changed anything.
func (g *group) guard(rule func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = otp.ErrRule
			g.store.o.Logger.Error("a rule of the record store panicked", "panic", panicText(p), "stack", stack())
		}
	}()
	return rule()
}

// panicText is what may be logged of a panic. Only the runtime's own texts hold no data of a record.
func panicText(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", p)
}

// stack names the functions of the panicking goroutine. Unlike debug.Stack it holds no arguments: those of small
// arrays, such as a digest, are printed there.
func stack() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		b.WriteString(f.Function + " " + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		if !more {
			return b.String()
		}
	}
}

// put writes a value. bbolt copies the key, and keeps the value until the commit.
func (g *group) put(b *bbolt.Bucket, key, value []byte) {
	if g.err == nil {
		g.err = b.Put(key, value)
		g.dirty = true
	}
}

// settle takes a job, the nth of its OTP, off the outbox if it is there.
func (g *group) settle(id otp.ID, n uint8) {
	if g.err != nil {
		return
	}
	c := g.outbox.Cursor()
	if k, row := c.Seek(id[:]); k == nil || otp.ID(k) != id || n != anyMessage && rowMessage(row) != n {
		return
	}
	g.err = c.Delete()
	g.dirty = true
	g.pending--
}
