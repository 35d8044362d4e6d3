package bolt

import (
	"context"
	"errors"
	"time"

	"wabek/internal/otp"
)

// purgeLoop deletes records whose retention is over, until Close or the end of the store. A pass goes from the
// oldest record to the first that is too young to be due, in steps small enough that no request feels them: each is
// an op like any other, so it shares a group's commit, or has a small one of its own.
func (s *Store) purgeLoop() {
	for s.pause(s.o.PurgeEvery) && s.purgePass() {
	}
}

// purgePass runs one pass. It reports whether the store still runs.
func (s *Store) purgePass() bool {
	var from otp.ID
	for {
		next, more, err := s.purgeStep(from)
		switch {
		case errors.Is(err, otp.ErrBusy): // requests go first
		case err != nil:
			return false
		case !more:
			return true
		default:
			from = next
		}
		if !s.pause(s.o.PurgePause) {
			return false
		}
	}
}

// pause reports false where the store is being closed.
func (s *Store) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.quit:
		return false
	}
}

// purgeStep looks at some records from an id on. It returns where to go on, if there is more to look at.
func (s *Store) purgeStep(from otp.ID) (next otp.ID, more bool, err error) {
	o := s.op(context.Background(), kindPurge)
	o.id = from
	_, err = s.submit(o) // answered: its context never ends
	next, more = o.id, o.more
	s.recycle(o)
	return next, more, err
}

// purge runs one step inside the transaction. The time in a key only says where to stop; whether a record goes is
// said by its own expiry: OTPs of different lives lie side by side, and a clock may have been wrong.
func (g *group) purge(o *op) {
	limit := g.now.Add(-g.store.o.Retention)
	var gone []otp.ID
	c := g.records.Cursor()
	k, value := c.Seek(o.id[:])
	for range g.store.o.PurgeStep {
		if k == nil || otp.IssuedAt(otp.ID(k)).After(limit) {
			k = nil
			break
		}
		// What can't be read isn't judged: it may be a newer version's.
		if v, err := viewRecord(value); err == nil && v.expires() <= limit.UnixMilli() {
			gone = append(gone, otp.ID(k))
		}
		k, value = c.Next()
	}
	if o.more = k != nil; o.more {
		o.id = otp.ID(k)
	}
	for _, id := range gone { // not while the cursor moves: deleting shifts what it points at
		g.settle(id)
		if g.err == nil {
			g.err = g.records.Delete(id[:])
			g.dirty = true
			g.purged++
		}
	}
	// In an hour without a request this is what shrinks the index.
	g.store.history.prune(g.now.UnixMilli(), g.store.o.PurgeStep)
}
