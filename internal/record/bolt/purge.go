package bolt

import (
	"context"
	"errors"
	"slices"
	"time"

	"wabek/internal/otp"
)

// purgeLoop runs a pass of the purge now and then, until Close or the end of the store. A pass works in steps small
// enough that no request feels them: each is an op like any other, so it shares a group's commit, or has a small one of
// its own.
func (s *Store) purgeLoop() {
	for s.pause(s.o.PurgeEvery) && s.purgePass() {
	}
}

// purgePass runs one pass. It reports whether the store still runs. In turn go
//
//   - records whose retention is over, from the oldest to the first that is too young to be due;
//   - the answers under idempotency keys that are a day old;
//   - the sealed message of each OTP that has expired unverified: nobody can need it any more. This goes on where it
//     stopped, so it reads each record once, and the whole file after a start;
//   - rows of wrong codes that have lapsed. They lie in no order of time, so a pass looks at no more than a step of them
//     and the next one goes on behind: 737,000 rows a day at the defaults.
func (s *Store) purgePass() bool {
	var alive bool
	if _, alive = s.steps(kindPurge, otp.ID{}); !alive {
		return false
	}
	if _, alive = s.steps(kindForgetAnswers, otp.ID{}); !alive {
		return false
	}
	if s.forgotten, alive = s.steps(kindForget, s.forgotten); !alive {
		return false
	}
	return s.guessStep() && s.purgeNotices()
}

// guessStep looks at some rows of wrong codes. It reports whether the store still runs.
func (s *Store) guessStep() bool {
	o := s.op(context.Background(), kindForgetGuesses)
	o.name = s.unguessed
	_, err := s.submit(o) // answered: its context never ends
	if err == nil {
		s.unguessed = o.name
	}
	s.recycle(o)
	return err == nil || errors.Is(err, otp.ErrBusy)
}

// steps runs ops of a kind from an id on, until there is no more to look at. It returns where to go on the next
// time, and whether the store still runs.
func (s *Store) steps(k kind, from otp.ID) (otp.ID, bool) {
	for {
		next, more, err := s.purgeStep(k, from)
		switch {
		case errors.Is(err, otp.ErrBusy): // requests go first
		case err != nil:
			return from, false
		case !more:
			return next, true
		default:
			from = next
		}
		if !s.pause(s.o.PurgePause) {
			return from, false
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
func (s *Store) purgeStep(k kind, from otp.ID) (next otp.ID, more bool, err error) {
	o := s.op(context.Background(), k)
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
		g.settle(id, anyMessage)
		if g.err == nil {
			g.err = g.records.Delete(id[:])
			g.dirty = true
			g.purged++
		}
	}
	// In an hour without a request this is what shrinks the index.
	g.store.history.prune(g.now.UnixMilli(), g.store.o.PurgeStep)
}

// forget runs one step of forgetting sealed messages inside the transaction. It looks at what is older than any life of
// an OTP, so that it needn't come back, but where the clock has been set back.
func (g *group) forget(o *op) {
	limit := g.now.Add(-otp.MaxExpiry)
	if otp.IssuedAt(o.id).After(limit) {
		o.id = otp.ID{}
	}
	var over []otp.ID
	c := g.records.Cursor()
	k, value := c.Seek(o.id[:])
	for range g.store.o.PurgeStep {
		if k == nil || otp.IssuedAt(otp.ID(k)).After(limit) {
			break
		}
		if v, err := viewRecord(value); err == nil && len(v.sealed) > 0 && v.expires() <= g.now.UnixMilli() {
			over = append(over, otp.ID(k))
		}
		o.id = after(otp.ID(k))
		k, value = c.Next()
	}
	o.more = k != nil && !otp.IssuedAt(otp.ID(k)).After(limit)
	for _, id := range over {
		old := g.records.Get(id[:])
		var r otp.Record
		err := decodeRecord(id, old, &r)
		if err == nil {
			r.Sealed = nil
			err = g.replace(&r, old)
		}
		if err != nil {
			g.store.o.Logger.Error("a sealed message can't be forgotten", "job", id, "error", err)
		}
	}
}

// after is the least id above id.
func after(id otp.ID) otp.ID {
	for i := range slices.Backward(id[:]) {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
