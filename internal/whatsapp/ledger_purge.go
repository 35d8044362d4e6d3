package whatsapp

import (
	"context"
	"fmt"
)

// purgeMark is how far the purge of bodies has come: below it every body is gone. The writer alone uses it.
type purgeMark struct{ expires int64 }

type purgeResult struct {
	rows int
	err  error
}

// Purge does one step of what the writer does each minute by itself: it drops bodies whose deadline has passed and
// ids a day after it, purgeStep of each at most. It returns how many rows it changed; 0 means that nothing is due.
func (l *Ledger) Purge(ctx context.Context) (int, error) {
	answer := make(chan purgeResult, 1)
	if err := l.hand(ctx, ledgerOp{purge: answer}); err != nil {
		return 0, fmt.Errorf("purge ledger: %w", err)
	}
	select {
	case r := <-answer:
		return r.rows, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("purge ledger: %w", ctx.Err())
	}
}

// purgeAll steps until nothing is due; entries that wait go between the steps.
func (w *ledgerWriter) purgeAll() {
	for {
		n, err := w.purgeStep()
		if n == 0 || err != nil {
			return // an error shows at the next entry too
		}
		select {
		case op := <-w.l.ops:
			w.write(w.gather(op), nil)
		case <-w.l.closing:
			return
		default:
		}
	}
}

func (w *ledgerWriter) purgeStep() (rows int, err error) {
	now := w.l.now()
	due, old := now.UnixMilli(), now.Add(-idLife).UnixMilli()
	mark := w.l.purged.expires
	err = w.inTransaction(func() error {
		n, last, err := w.dropBodies(mark, due)
		if err != nil {
			return err
		}
		if mark = last; n < purgeStep {
			mark = due
		}
		m, err := w.dropIDs(old)
		rows = n + m
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purge ledger: %w", err)
	}
	w.l.purged.expires = mark
	return rows, nil
}

// dropBodies empties bodies whose deadline lies in [from, until), and returns the last deadline it came to.
func (w *ledgerWriter) dropBodies(from, until int64) (n int, last int64, err error) {
	ctx := context.Background()
	last = from
	rows, err := w.conn.QueryContext(ctx, `UPDATE sent SET sealed = NULL WHERE (expires, wa_id) IN (
		SELECT expires, wa_id FROM sent WHERE expires >= ? AND expires <= ? AND sealed IS NOT NULL ORDER BY expires, wa_id LIMIT ?)
		RETURNING expires`, from, until, purgeStep)
	if err != nil {
		return 0, last, err
	}
	defer rows.Close() //nolint:errcheck // Err below says what went wrong
	for rows.Next() {
		var expires int64
		if err := rows.Scan(&expires); err != nil {
			return n, last, err
		}
		n, last = n+1, max(last, expires)
	}
	return n, last, rows.Err()
}

// dropIDs deletes entries whose deadline lies before old.
func (w *ledgerWriter) dropIDs(old int64) (int, error) {
	ctx := context.Background()
	res, err := w.conn.ExecContext(ctx, `DELETE FROM sent WHERE (expires, wa_id) IN (
		SELECT expires, wa_id FROM sent WHERE expires < ? ORDER BY expires, wa_id LIMIT ?)`, old, purgeStep)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
