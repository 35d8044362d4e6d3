package bolt

import (
	"bytes"

	"wabek/internal/job"
	"wabek/internal/otp"
)

// apply runs one op inside the transaction. Its error is the op's own; an op that fails has changed nothing.
func (g *group) apply(o *op) error {
	switch o.kind {
	case kindIssue:
		return g.issue(o)
	case kindUpdate:
		return g.update(o)
	case kindApply:
		for _, status := range o.statuses {
			g.deliver(status)
		}
	case kindMeta:
		g.put(g.tx.Bucket([]byte(bucketMeta)), []byte(o.name), o.value)
	case kindUnset:
		if g.err == nil {
			g.err = g.tx.Bucket([]byte(bucketMeta)).Delete([]byte(o.name))
			g.dirty = true
		}
	case kindPurge:
		g.purge(o)
	case kindForget:
		g.forget(o)
	case kindForgetAnswers:
		g.forgetAnswers(o)
	case kindForgetGuesses:
		g.forgetGuesses(o)
	case kindTold:
		g.tell(o.told)
	case kindAnswered:
		return g.answered(o.once)
	case kindDo:
		return o.do(g, o)
	case kindForgive:
		g.setGuesses(o.guesses, otp.Guesses{})
	case kindLatest:
		return g.latest(o)
	}
	return nil
}

func (g *group) issue(o *op) error {
	if err := g.answered(o.once); err != nil {
		return err
	}
	s := g.store
	before := g.history(o.history, o.phone)
	var err error
	if before.Guesses, err = g.guesses(o.guesses); err != nil {
		return err
	}
	var after otp.History
	err = g.guard(func() (err error) {
		after, err = o.admit(before)
		return err
	})
	if err != nil {
		return err
	}
	answer, err := g.answer(o.once)
	if err != nil {
		return err
	}
	if before.Open != after.Open && before.Open != (otp.ID{}) {
		if err := g.supersede(before.Open, o); err != nil {
			return err
		}
	}
	g.put(g.records, o.id[:], o.value)
	if len(o.row) > 0 {
		g.put(g.outbox, o.id[:], o.row)
		g.pending++
		s.history.sends.add(o.phone, g.now.UnixMilli())
	}
	g.remember(o.once, answer)
	s.history.set(o.history, after)
	return nil
}

// history is what rules may know of the messages and the open OTP of a phone.
func (g *group) history(key, phoneKey historyKey) otp.History {
	h := g.store.history.fill(key, phoneKey, g.now.UnixMilli(), g.sends)
	g.sends = h.Sends
	return h
}

// supersede marks the older OTP of a history. Its outbox row stays: the relay sees there is no body left, and
// cancels the job.
func (g *group) supersede(id otp.ID, by *op) error {
	old := g.records.Get(id[:])
	if old == nil {
		return nil
	}
	var r otp.Record
	if err := decodeRecord(id, old, &r); err != nil {
		return err
	}
	if historyKeyOf(g.store.history, r.App, r.Purpose, r.Phone) != by.history {
		return nil
	}
	wasOpen := r.State == otp.Open
	r.Supersede(g.now)
	if err := g.replace(&r, old); err != nil {
		return err
	}
	if r.State == otp.Superseded && !r.Test() {
		by.withdrawn = r.JobID()
	}
	if wasOpen && r.State != otp.Open {
		g.news(by, &r)
	}
	return nil
}

func (g *group) update(o *op) error {
	if err := g.answered(o.once); err != nil {
		return err
	}
	old := g.records.Get(o.id[:])
	if old == nil {
		return otp.ErrNoRecord
	}
	r := new(otp.Record)
	if err := decodeRecord(o.id, old, r); err != nil {
		return err
	}
	h := g.store.history
	key, phoneKey := historyKeyOf(h, r.App, r.Purpose, r.Phone), historyKeyOf(h, r.App, "", r.Phone)
	seen := g.history(key, phoneKey)
	guessed := guessKey(r.App, r.Phone)
	var err error
	if seen.Guesses, err = g.guesses(guessed); err != nil {
		return err
	}
	before, wasOpen, job, wasLocked := seen.Guesses, r.State == otp.Open, r.JobID(), r.Locked()
	if err := g.guard(func() error { return o.rule(r, &seen) }); err != nil {
		return err
	}
	answer, err := g.answer(o.once)
	if err != nil {
		return err
	}
	r.ID = o.id
	if err := g.replace(r, old); err != nil {
		return err
	}
	if seen.Guesses != before {
		g.setGuesses(guessed, seen.Guesses)
	}
	if len(o.row) > 0 {
		g.replaceRow(o, job)
		h.sends.add(phoneKey, g.now.UnixMilli())
	}
	g.remember(o.once, answer)
	if wasOpen && r.State != otp.Open || !wasLocked && r.Locked() {
		g.news(o, r)
	}
	if wasOpen && r.State != otp.Open {
		h.shut(key, o.id)
		if r.State == otp.Cancelled && !r.Test() {
			o.withdrawn = job
		}
	}
	return nil
}

// anyMessage stands for whichever message of an OTP has its outbox row.
const anyMessage = 0

// replaceRow puts the row of a further message in the place of the one before, whose job is withdrawn if it still waits.
func (g *group) replaceRow(o *op, before job.ID) {
	if g.outbox.Get(o.id[:]) == nil {
		g.pending++
	} else {
		o.withdrawn = before
	}
	g.put(g.outbox, o.id[:], o.row)
}

// latest finds an OTP in the history.
func (g *group) latest(o *op) error {
	id, ok := g.store.history.find(o.history, g.now.UnixMilli())
	if !ok {
		return otp.ErrNoRecord
	}
	o.id = id
	return nil
}

// deliver folds one status into its record.
func (g *group) deliver(status job.Status) {
	id, n, ok := otp.ParseJobID(status.Job)
	if !ok {
		return
	}
	if old := g.records.Get(id[:]); old != nil {
		var r otp.Record
		err := decodeRecord(id, old, &r)
		if err == nil && r.Deliver(status) {
			err = g.replace(&r, old)
		}
		if err != nil { // the status is lost on this record, which is better than stuck before all others
			g.store.o.Logger.Error("a status can't be noted in its record", "job", id, "state", status.State, "error", err)
		}
	}
	if status.State.Settled() {
		g.settle(id, n)
	}
}

// replace writes a record back where it has changed. It fails before it has changed anything.
func (g *group) replace(r *otp.Record, old []byte) error {
	start := len(g.arena)
	arena, err := appendRecord(g.arena, r)
	if err != nil {
		return err
	}
	if value := arena[start:len(arena):len(arena)]; !bytes.Equal(value, old) {
		g.arena = arena
		g.put(g.records, r.ID[:], value)
	}
	return nil
}
