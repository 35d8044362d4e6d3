package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// The bounds of the writer.
const (
	ledgerQueue = 1024                 // operations that may wait
	ledgerGroup = 256                  // operations in one transaction
	sentLinger  = 5 * time.Millisecond // how long a mark alone waits for company: it comes right before the next entry
	purgeEvery  = time.Minute
	purgeStep   = 500 // rows in one transaction, a few milliseconds
)

// ledgerOp is one thing to write: an entry, a mark, or a step of the purge.
type ledgerOp struct {
	write *ledgerWrite       // an entry
	sent  string             // a WhatsApp id to be marked
	purge chan<- purgeResult // asks for one step
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

// MarkSent marks a message as sent, because WhatsApp has acknowledged it: in memory at once, in the file a few
// milliseconds later.
func (l *Ledger) MarkSent(id string) {
	l.recent.markSent(id)
	_ = l.hand(context.Background(), ledgerOp{sent: id}) // after Close the file stays as it is
}

// ledgerWriter is the one goroutine that writes. Its statements have no context with an end: a commit is never
// broken off, and the driver needs no goroutine to watch for it.
type ledgerWriter struct {
	l    *Ledger
	conn *sql.Conn

	begin, commit, rollback, insert, keep, mark, look, claim *sql.Stmt
}

func (l *Ledger) newWriter(ctx context.Context) (*ledgerWriter, error) {
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &ledgerWriter{l: l, conn: conn}
	for stmt, text := range map[**sql.Stmt]string{
		&w.begin:    `BEGIN IMMEDIATE`,
		&w.commit:   `COMMIT`,
		&w.rollback: `ROLLBACK`,
		&w.insert: `INSERT INTO sent (wa_id, job, lane, pool, session, expires, sent) VALUES (?, ?, ?, ?, ?, ?, 0)
			ON CONFLICT (wa_id) DO NOTHING`,
		&w.keep:  `INSERT INTO body (expires, id, sealed) VALUES (?, ?, ?)`,
		&w.mark:  `UPDATE sent SET sent = 1 WHERE wa_id = ?`,
		&w.look:  `SELECT job, sent FROM sent WHERE wa_id = ?`,
		&w.claim: `UPDATE sent SET session = ? WHERE wa_id = ?`,
	} {
		//nolint:sqlclosecheck // they live and end with the connection
		if *stmt, err = conn.PrepareContext(ctx, text); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return w, nil
}

func (w *ledgerWriter) run() {
	defer close(w.l.done)
	defer w.conn.Close() //nolint:errcheck // gives the connection back to the pool, which Close closes
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case op := <-w.l.ops:
			w.write(w.gather(op))
		case <-tick.C:
			w.purgeAll()
		case <-w.l.closing:
			for {
				select {
				case op := <-w.l.ops:
					w.write(w.gather(op))
				default:
					return
				}
			}
		}
	}
}

// gather takes what waits, up to a group. A group of marks alone waits a moment for an entry to go with.
func (w *ledgerWriter) gather(first ledgerOp) []ledgerOp {
	group := append(make([]ledgerOp, 0, 8), first)
	var linger <-chan time.Time
	urgent := first.sent == ""
	for len(group) < ledgerGroup {
		select {
		case op := <-w.l.ops:
			group = append(group, op)
			urgent = urgent || op.sent == ""
			continue
		default:
		}
		if urgent {
			break
		}
		if linger == nil {
			timer := time.NewTimer(sentLinger)
			defer timer.Stop()
			linger = timer.C
		}
		select {
		case op := <-w.l.ops:
			group = append(group, op)
			urgent = urgent || op.sent == ""
		case <-linger:
			urgent = true
		case <-w.l.closing:
			urgent = true
		}
	}
	return group
}

// write writes a group in one transaction and answers all that wait.
func (w *ledgerWriter) write(group []ledgerOp) {
	err := w.inTransaction(func() error {
		for _, op := range group {
			if err := w.apply(op); err != nil {
				return err
			}
		}
		return nil
	})
	for _, op := range group {
		switch {
		case op.write != nil:
			if err != nil {
				op.write.already, op.write.err = false, fmt.Errorf("write ledger: %w", err)
			}
			if op.write.err == nil {
				op.write.entry.Sent = op.write.already
				w.l.recent.put(op.write.entry)
			}
			close(op.write.done)
		case op.purge != nil:
			n, perr := w.purgeStep()
			op.purge <- purgeResult{n, perr}
		}
	}
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

func (w *ledgerWriter) apply(op ledgerOp) error {
	ctx := context.Background()
	switch {
	case op.sent != "":
		_, err := w.mark.ExecContext(ctx, op.sent)
		return err
	case op.write == nil:
		return nil
	}
	e := op.write.entry
	expires := e.Expires.UnixMilli()
	res, err := w.insert.ExecContext(ctx, e.MessageID, string(e.Job), string(e.Lane), e.Pool, e.Session, expires)
	if err != nil {
		return err
	}
	added, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if added == 0 {
		return w.known(ctx, op.write)
	}
	id, err := res.LastInsertId()
	if err != nil {
		return err
	}
	_, err = w.keep.ExecContext(ctx, expires, id, w.l.alive(e).Sealed)
	return err
}

// known handles an id that is there already: from an earlier try, or another job's.
func (w *ledgerWriter) known(ctx context.Context, write *ledgerWrite) error {
	var owner string
	if err := w.look.QueryRowContext(ctx, write.entry.MessageID).Scan(&owner, &write.already); err != nil {
		return err
	}
	switch {
	case owner != string(write.entry.Job):
		write.already, write.err = false, ErrIDTaken // this caller's fault: the group goes on
		return nil
	case write.already:
		return nil
	}
	_, err := w.claim.ExecContext(ctx, write.entry.Session, write.entry.MessageID)
	return err
}
