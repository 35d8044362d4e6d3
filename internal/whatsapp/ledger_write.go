package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The bounds of the writer.
const (
	ledgerQueue = 1024                  // operations that may wait
	ledgerGroup = 256                   // operations in one transaction
	markLinger  = 50 * time.Millisecond // how long a mark waits for company; its status has been stored elsewhere by then
	markGroup   = 64                    // marks that wait for no more
	purgeEvery  = time.Minute
	purgeStep   = 500 // rows in one transaction, a few milliseconds
)

// ledgerOp is one thing for the writer: an entry, a look-up, or a step of the purge.
type ledgerOp struct {
	write *ledgerWrite // an entry
	look  *ledgerLook
	purge chan<- purgeResult // asks for one step
}

// ledgerLook is a look-up in the file.
type ledgerLook struct {
	id    string
	entry Entry
	err   error
	done  chan struct{}
}

// ledgerWrite is an entry on its way.
type ledgerWrite struct {
	entry   Entry
	done    chan struct{}
	already bool // it was sent before
	err     error
}

// begin hands an entry to the writer. The caller goes on and waits for it right before the message leaves.
func (l *Ledger) begin(ctx context.Context, e Entry) *ledgerWrite {
	w := &ledgerWrite{entry: e, done: make(chan struct{})}
	if known, ok := l.recent.get(e.MessageID); ok && known.Sent && known.Job == e.Job {
		w.already = true
		close(w.done)
		return w
	}
	if err := l.hand(ctx, ledgerOp{write: w}); err != nil {
		w.err = err
		close(w.done)
	}
	return w
}

// hand gives the writer something to do, which it will do: it ends after Close has locked hand out.
func (l *Ledger) hand(ctx context.Context, op ledgerOp) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrLedgerClosed
	}
	select {
	case l.ops <- op:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait returns once the entry is written. already says that the message was sent before: it isn't to be sent again.
func (w *ledgerWrite) wait(ctx context.Context) (already bool, err error) {
	select {
	case <-w.done:
		return w.already, w.err
	default:
	}
	select {
	case <-w.done:
		return w.already, w.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Begin writes an entry and waits for it. already says that its message was sent before.
// Errors: ErrIDTaken, ErrLedgerClosed, the context's, SQLite's.
func (l *Ledger) Begin(ctx context.Context, e Entry) (already bool, err error) {
	return l.begin(ctx, e).wait(ctx)
}

// marks are the WhatsApp ids that wait to be marked as sent. Nobody waits for them, and there are no more than there
// are messages under way: a message needs the writer before it goes out.
type marks struct {
	mu   sync.Mutex
	ids  []string
	some chan struct{} // has room for one: the first mark wakes the writer
}

// MarkSent marks a message as sent, because WhatsApp has acknowledged it: in memory at once, in the file 50 ms later
// at most. After Close the file stays as it is.
func (l *Ledger) MarkSent(id string) {
	l.recent.markSent(id)
	l.marks.mu.Lock()
	defer l.marks.mu.Unlock()
	if l.marks.ids = append(l.marks.ids, id); len(l.marks.ids) == 1 {
		select {
		case l.marks.some <- struct{}{}:
		default:
		}
	}
}

// take takes the marks that wait, if there are at least so many.
func (m *marks) take(atLeast int) (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ids) >= atLeast {
		ids, m.ids = m.ids, nil
	}
	return ids
}

// ledgerWriter is the one goroutine that writes. Its statements have no context with an end: a commit is never
// broken off, and the driver needs no goroutine to watch for it.
type ledgerWriter struct {
	l    *Ledger
	conn *sql.Conn

	begin, commit, rollback, insert, mark, find, claim *sql.Stmt
}

func (l *Ledger) newWriter(ctx context.Context) (*ledgerWriter, error) {
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, ledgerSchema); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	w := &ledgerWriter{l: l, conn: conn}
	for stmt, text := range map[**sql.Stmt]string{
		&w.begin:    `BEGIN IMMEDIATE`,
		&w.commit:   `COMMIT`,
		&w.rollback: `ROLLBACK`,
		&w.insert: `INSERT INTO sent (expires, wa_id, job, lane, pool, session, sent, sealed) VALUES (?, ?, ?, ?, ?, ?, 0, ?)
			ON CONFLICT (wa_id) DO NOTHING`,
		&w.mark:  `UPDATE sent SET sent = 1 WHERE wa_id = ?`,
		&w.find:  `SELECT job, lane, pool, session, expires, sent, sealed FROM sent WHERE wa_id = ?`,
		&w.claim: `UPDATE sent SET session = ? WHERE wa_id = ?`,
	} {
		//nolint:sqlclosecheck // they live and end with the connection
		if *stmt, err = conn.PrepareContext(ctx, text); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// close lets go of the connection. SQLite keeps the file locked as long as one statement is open.
func (w *ledgerWriter) close() {
	for _, stmt := range []*sql.Stmt{w.begin, w.commit, w.rollback, w.insert, w.mark, w.find, w.claim} {
		if stmt != nil {
			_ = stmt.Close()
		}
	}
	_ = w.conn.Close() // gives it back to the pool, which Ledger.Close closes
}

func (w *ledgerWriter) run() {
	defer close(w.l.done)
	defer w.close()
	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	linger := time.NewTimer(markLinger)
	defer linger.Stop()
	for {
		select {
		case op := <-w.l.ops:
			w.write(w.gather(op), w.l.marks.take(markGroup))
		case <-w.l.marks.some:
			linger.Reset(markLinger)
		case <-linger.C:
			w.write(nil, w.l.marks.take(1))
		case <-purge.C:
			w.purgeAll()
		case <-w.l.closing:
			w.write(w.gather(ledgerOp{}), w.l.marks.take(1))
			if len(w.l.ops) == 0 {
				return
			}
		}
	}
}

// gather takes what waits, up to a group.
func (w *ledgerWriter) gather(first ledgerOp) []ledgerOp {
	group := append(make([]ledgerOp, 0, 8), first)
	for len(group) < ledgerGroup {
		select {
		case op := <-w.l.ops:
			group = append(group, op)
		default:
			return group
		}
	}
	return group
}

// write writes a group and some marks in one transaction and answers all that wait.
func (w *ledgerWriter) write(group []ledgerOp, marks []string) {
	var err error
	if len(group)+len(marks) > 1 {
		err = w.inTransaction(func() error { return w.apply(group, marks) })
	} else {
		err = w.apply(group, marks) // one statement is a transaction of its own
	}
	for _, op := range group {
		switch {
		case op.write != nil:
			w.answer(op.write, err)
		case op.look != nil:
			op.look.entry, op.look.err = w.look(context.Background(), op.look.id)
			close(op.look.done)
		case op.purge != nil:
			n, err := w.purgeStep()
			op.purge <- purgeResult{n, err}
		}
	}
}

func (w *ledgerWriter) apply(group []ledgerOp, marks []string) error {
	for _, id := range marks {
		if _, err := w.mark.ExecContext(context.Background(), id); err != nil {
			return err
		}
	}
	for _, op := range group {
		if op.write == nil {
			continue
		}
		if err := w.add(op.write); err != nil {
			return err
		}
	}
	return nil
}

// answer tells who waits for an entry what became of its group.
func (w *ledgerWriter) answer(write *ledgerWrite, err error) {
	if err != nil {
		write.already, write.err = false, fmt.Errorf("write ledger: %w", err)
	}
	if write.err == nil {
		e := write.entry
		e.Sent = write.already
		w.l.recent.put(e)
	}
	close(write.done)
}

// look reads an entry and remembers it.
func (w *ledgerWriter) look(ctx context.Context, id string) (Entry, error) {
	e := Entry{MessageID: id}
	var expires int64
	err := w.find.QueryRowContext(ctx, id).Scan(&e.Job, &e.Lane, &e.Pool, &e.Session, &expires, &e.Sent, &e.Sealed)
	if err != nil {
		return Entry{}, err
	}
	e.Expires = time.UnixMilli(expires)
	w.l.recent.put(e)
	return e, nil
}

// inTransaction runs fn in a transaction; after an error nothing of it is left.
func (w *ledgerWriter) inTransaction(fn func() error) error {
	ctx := context.Background()
	if _, err := w.begin.ExecContext(ctx); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		_, err = w.commit.ExecContext(ctx)
	}
	if err != nil {
		_, rerr := w.rollback.ExecContext(ctx)
		return errors.Join(err, rerr)
	}
	return nil
}

func (w *ledgerWriter) add(write *ledgerWrite) error {
	ctx := context.Background()
	e := write.entry
	res, err := w.insert.ExecContext(ctx, e.Expires.UnixMilli(), e.MessageID, string(e.Job), string(e.Lane), e.Pool, e.Session,
		w.l.alive(e).Sealed)
	if err != nil {
		return err
	}
	added, err := res.RowsAffected()
	if err == nil && added == 0 {
		err = w.known(ctx, write)
	}
	return err
}

// known handles an id that is there already: from an earlier try, or another job's.
func (w *ledgerWriter) known(ctx context.Context, write *ledgerWrite) error {
	e, err := w.look(ctx, write.entry.MessageID)
	switch {
	case err != nil:
		return err
	case e.Job != write.entry.Job:
		write.err = ErrIDTaken // this caller's fault: the group goes on
		return nil
	case e.Sent:
		write.already = true
		return nil
	}
	_, err = w.claim.ExecContext(ctx, write.entry.Session, write.entry.MessageID)
	return err
}
