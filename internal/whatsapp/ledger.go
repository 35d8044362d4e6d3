package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"wabek/internal/job"
)

// Errors of the ledger.
var (
	// ErrLedgerClosed says that the ledger has been closed.
	ErrLedgerClosed = errors.New("ledger is closed")
	// ErrIDTaken says that another job has been sent under the same WhatsApp id. Phones would take the second
	// message for a copy of the first and not show it.
	ErrIDTaken = errors.New("the WhatsApp id belongs to another job")
)

// ledgerPragmas: no fsync. A process kill loses nothing of the ledger, a power loss its last seconds, which costs
// receipts, or a second copy under the same id. The file is locked for good, which saves the locking at each commit.
const ledgerPragmas = "?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)"

// idLife is how long an id is kept after its message's deadline, for receipts that come late.
const idLife = 24 * time.Hour

// Entry is what the ledger knows of a message.
type Entry struct {
	MessageID string // the WhatsApp id
	Job       job.ID
	Lane      job.Lane
	Pool      string
	Session   string // who sends it, or sent it
	Sealed    []byte // the job's sealed body; nil once its deadline has passed
	Expires   time.Time
	Sent      bool // WhatsApp has acknowledged it
}

func newEntry(env job.Envelope, body job.Body, session string) Entry {
	return Entry{
		MessageID: body.MessageID, Job: env.ID, Lane: env.Lane, Pool: env.Pool, Session: session,
		Sealed: env.Sealed, Expires: body.Expires,
	}
}

func (e Entry) envelope() job.Envelope {
	return job.Envelope{ID: e.Job, Lane: e.Lane, Pool: e.Pool, Target: job.AnySession, Expires: e.Expires, Sealed: e.Sealed}
}

// Ledger is what a sender remembers of its messages by their WhatsApp id: which job each is, whether it is sent, and,
// while it lives, its sealed body. An entry is written before the message goes out. One writer takes what waits in
// one transaction. Its methods may be called from many goroutines.
type Ledger struct {
	db     *sql.DB
	now    func() time.Time
	ops    chan ledgerOp
	recent recentEntries
	marks  marks
	purged purgeMark

	mu      sync.RWMutex // held for reading while something is handed to the writer
	closed  bool
	closing chan struct{}
	done    chan struct{} // closed when the writer has ended
	close   sync.Once
	err     error // of Close
}

// ledgerSchema keeps the entries in the order of their deadlines, so that a purge finds what is due without a search,
// and a message changes two pages only.
const ledgerSchema = `
CREATE TABLE IF NOT EXISTS sent (
	expires INTEGER NOT NULL, -- Unix milliseconds
	wa_id   TEXT NOT NULL,
	job     TEXT NOT NULL,
	lane    TEXT NOT NULL,
	pool    TEXT NOT NULL,
	session TEXT NOT NULL,
	sent    INTEGER NOT NULL,
	sealed  BLOB,             -- NULL after the deadline
	PRIMARY KEY (expires, wa_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS sent_wa_id ON sent (wa_id);`

// OpenLedger opens sent.db in dir, or makes it, with rights for the owner alone. dir must exist. now is the clock
// that deadlines are measured by.
func OpenLedger(ctx context.Context, dir string, now func() time.Time) (*Ledger, error) {
	db, err := openSQLite(filepath.Join(dir, "sent.db"), ledgerPragmas)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	db.SetMaxOpenConns(1) // the writer's
	l := &Ledger{
		db: db, now: now, ops: make(chan ledgerOp, ledgerQueue), recent: newRecentEntries(recentSize),
		marks:   marks{some: make(chan struct{}, 1)},
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	w, err := l.newWriter(ctx)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(err, db.Close()))
	}
	go w.run() //nolint:contextcheck // ends by Close: a commit is never broken off
	return l, nil
}

// Find looks a message up by its WhatsApp id: in memory, where every message of the last minutes is, then in the file.
// Errors: ErrLedgerClosed, the context's, SQLite's.
func (l *Ledger) Find(ctx context.Context, id string) (Entry, bool, error) {
	if e, ok := l.recent.get(id); ok {
		return l.alive(e), true, nil
	}
	look := &ledgerLook{id: id, done: make(chan struct{})}
	if err := l.hand(ctx, ledgerOp{look: look}); err != nil {
		return Entry{}, false, fmt.Errorf("look up message: %w", err)
	}
	select {
	case <-look.done:
	case <-ctx.Done():
		return Entry{}, false, fmt.Errorf("look up message: %w", ctx.Err())
	}
	switch {
	case errors.Is(look.err, sql.ErrNoRows):
		return Entry{}, false, nil
	case look.err != nil:
		return Entry{}, false, fmt.Errorf("look up message: %w", look.err)
	}
	return l.alive(look.entry), true, nil
}

// alive takes the body off an entry whose deadline has passed, whether or not the purge has come to it.
func (l *Ledger) alive(e Entry) Entry {
	if !l.now().Before(e.Expires) {
		e.Sealed = nil
	}
	return e
}

// Close writes what waits and closes the file. Calling it again does nothing.
func (l *Ledger) Close() error {
	l.close.Do(func() {
		l.mu.Lock() // whatever was handed over before is written, and nothing comes after it
		l.closed = true
		close(l.closing)
		l.mu.Unlock()
		<-l.done
		if l.err = l.db.Close(); l.err != nil {
			l.err = fmt.Errorf("close ledger: %w", l.err)
		}
	})
	return l.err
}

// recentSize is how many entries are looked up in memory: receipts come within seconds of their message.
const recentSize = 4096

// recentEntries remembers at least the last size entries: two generations, the elder one dropped when the younger
// is full.
type recentEntries struct {
	mu           sync.Mutex
	size         int
	young, older map[string]Entry
}

func newRecentEntries(size int) recentEntries {
	return recentEntries{size: size, young: make(map[string]Entry, size)}
}

func (r *recentEntries) get(id string) (Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.young[id]
	if !ok {
		e, ok = r.older[id]
	}
	return e, ok
}

func (r *recentEntries) put(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(e)
}

func (r *recentEntries) set(e Entry) {
	if len(r.young) >= r.size {
		r.older, r.young = r.young, make(map[string]Entry, r.size)
	}
	r.young[e.MessageID] = e
}

// markSent marks an entry that is still remembered.
func (r *recentEntries) markSent(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.young[id]
	if !ok {
		e, ok = r.older[id]
	}
	if ok {
		e.Sent = true
		r.set(e)
	}
}
