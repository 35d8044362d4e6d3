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
	case kindPurge:
		g.purge(o)
	case kindForget:
		g.forget(o)
	}
	return nil
}

func (g *group) issue(o *op) error {
	before := g.store.history.open(o.history, g.now.UnixMilli())
	var after otp.History
	err := g.guard(func() (err error) {
		after, err = o.admit(before)
		return err
	})
	if err != nil {
		return err
	}
	if before.Open != after.Open && before.Open != (otp.ID{}) {
		if err := g.supersede(before.Open, o); err != nil {
			return err
		}
	}
	g.put(g.records, o.id[:], o.value)
	g.put(g.outbox, o.id[:], o.row)
	g.pending++
	g.store.history.set(o.history, after)
	return nil
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
	r.Supersede(g.now)
	if r.State == otp.Superseded {
		by.replaced = id
	}
	return g.replace(&r, old)
}

func (g *group) update(o *op) error {
	old := g.records.Get(o.id[:])
	if old == nil {
		return otp.ErrNoRecord
	}
	r := new(otp.Record)
	if err := decodeRecord(o.id, old, r); err != nil {
		return err
	}
	wasOpen := r.State == otp.Open
	if err := g.guard(func() error { return o.rule(r) }); err != nil {
		return err
	}
	r.ID = o.id
	if err := g.replace(r, old); err != nil {
		return err
	}
	if wasOpen && r.State != otp.Open {
		h := g.store.history
		h.forget(historyKeyOf(h, r.App, r.Purpose, r.Phone), o.id)
	}
	return nil
}

// deliver folds one status into its record.
func (g *group) deliver(status job.Status) {
	id, ok := parseID(status.Job)
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
		g.settle(id)
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
