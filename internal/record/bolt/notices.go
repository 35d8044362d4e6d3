package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/whmcs"
)

// Notices of WHMCS events, in five buckets. They share the file, the writer and its commits with the OTPs, but nothing else:
// a month's billing run makes groups larger, not more of them.
const (
	bucketNotices     = "notices"     // whmcs.ID -> version and JSON of the notice
	bucketOccurrences = "occurrences" // whmcs.Occurrence -> id of the notice that it became
	bucketUnresolved  = "unresolved"  // id of a notice that waits to be resolved -> its app
	bucketReleased    = "released"    // id of a notice whose job isn't settled -> which of its messages (1)
	bucketOptOuts     = "optouts"     // pool, 0, phone hash -> version, 1 for out and 0 for in again, Unix ms; never purged
)

const (
	noticeVersion = 1
	optOutVersion = 1
	optOutSize    = 10
	// mostScanned bounds how many notices one listing looks at.
	mostScanned = 5000
)

var _ whmcs.Store = (*Store)(nil)

func encodeNotice(n *whmcs.Notice) ([]byte, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("store notice: %w", err)
	}
	return append([]byte{noticeVersion}, text...), nil
}

func decodeNotice(id whmcs.ID, value []byte, n *whmcs.Notice) error {
	switch {
	case len(value) == 0:
		return fmt.Errorf("%w: empty notice", ErrCorrupt)
	case value[0] > noticeVersion:
		return fmt.Errorf("%w: notice version %d, known up to %d", ErrNewerFormat, value[0], noticeVersion)
	}
	*n = whmcs.Notice{}
	if err := json.Unmarshal(value[1:], n); err != nil {
		return fmt.Errorf("%w: notice %s", ErrCorrupt, id)
	}
	n.ID = id
	return nil
}

// AcceptNotice is whmcs.Store's.
func (s *Store) AcceptNotice(ctx context.Context, n whmcs.Notice) (first whmcs.ID, known bool, err error) {
	value, err := encodeNotice(&n)
	if err != nil {
		return first, false, err
	}
	var answer struct {
		first whmcs.ID
		known bool
	}
	err = s.inWriter(ctx, func(g *group, _ *op) error {
		occurrences := g.tx.Bucket([]byte(bucketOccurrences))
		if id := occurrences.Get([]byte(n.Occurrence)); len(id) == len(answer.first) {
			answer.first, answer.known = whmcs.ID(id), true
			return nil
		}
		answer.first = n.ID
		g.put(occurrences, []byte(n.Occurrence), n.ID[:])
		g.put(g.tx.Bucket([]byte(bucketNotices)), n.ID[:], value)
		g.put(g.tx.Bucket([]byte(bucketUnresolved)), n.ID[:], []byte(n.App))
		g.unresolved++
		return nil
	})
	if err != nil {
		return first, false, err // the writer may still be at it
	}
	return answer.first, answer.known, nil
}

// Notice is whmcs.Store's.
func (s *Store) Notice(ctx context.Context, id whmcs.ID) (n whmcs.Notice, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte(bucketNotices)).Get(id[:])
		if value == nil {
			return whmcs.ErrNoNotice
		}
		return decodeNotice(id, value, &n)
	})
	return n, err
}

// ChangeNotice is whmcs.Store's.
func (s *Store) ChangeNotice(ctx context.Context, id whmcs.ID, rule func(*whmcs.Notice) error) error {
	return s.inWriter(ctx, func(g *group, o *op) error {
		notices := g.tx.Bucket([]byte(bucketNotices))
		old := notices.Get(id[:])
		if old == nil {
			return whmcs.ErrNoNotice
		}
		var n whmcs.Notice
		if err := decodeNotice(id, old, &n); err != nil {
			return err
		}
		sends := n.Sends
		if err := g.guard(func() error { return rule(&n) }); err != nil {
			return err
		}
		value, err := encodeNotice(&n)
		if err != nil {
			return err
		}
		if bytes.Equal(value, old) {
			return nil
		}
		g.put(notices, id[:], value)
		if n.State != whmcs.Accepted {
			g.resolved(id)
		}
		if n.Sends > sends {
			g.put(g.tx.Bucket([]byte(bucketReleased)), id[:], []byte{byte(n.Sends)}) //nolint:gosec // at most whmcs.MostSends
			o.released = n.Job()
		}
		return nil
	})
}

// Unresolved is whmcs.Store's.
func (s *Store) Unresolved(ctx context.Context, after whmcs.ID, limit int) (list []whmcs.Waiting, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketUnresolved)).Cursor()
		for k, app := seekAfter(c, after[:]); k != nil && len(list) < limit; k, app = c.Next() {
			list = append(list, whmcs.Waiting{ID: whmcs.ID(k), App: string(app)})
		}
		return nil
	})
	return list, err
}

// seekAfter goes to the first key above one.
func seekAfter(c *bbolt.Cursor, after []byte) (k, v []byte) {
	if k, v = c.Seek(after); bytes.Equal(k, after) {
		return c.Next()
	}
	return k, v
}

// Notices is whmcs.Store's.
func (s *Store) Notices(ctx context.Context, q whmcs.Query) (list []whmcs.Notice, next whmcs.ID, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketNotices)).Cursor()
		k, value := c.Last()
		if q.Before != (whmcs.ID{}) {
			c.Seek(q.Before[:])
			if k, value = c.Prev(); k == nil { // Seek went behind the last key
				if k, value = c.Last(); bytes.Compare(k, q.Before[:]) >= 0 {
					k = nil
				}
			}
		}
		var last whmcs.ID
		for scanned := 0; k != nil; k, value = c.Prev() {
			if scanned == mostScanned || len(list) == q.Limit {
				next = last
				return nil
			}
			scanned++
			last = whmcs.ID(k)
			var n whmcs.Notice
			if err := decodeNotice(last, value, &n); err != nil {
				return err
			}
			if q.Matches(&n) {
				list = append(list, n)
			}
		}
		return nil
	})
	return list, next, err
}

func optOutKey(pool string, number phone.Hash) []byte {
	return append(append([]byte(pool), 0), number[:]...)
}

// OptedOut is whmcs.Store's.
func (s *Store) OptedOut(ctx context.Context, pool string, number phone.Hash) (out bool, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte(bucketOptOuts)).Get(optOutKey(pool, number))
		out = len(value) == optOutSize && value[1] == 1
		return nil
	})
	return out, err
}

// SetOptOut is whmcs.Store's.
func (s *Store) SetOptOut(ctx context.Context, pool string, number phone.Hash, out bool, at time.Time) error {
	return s.inWriter(ctx, func(g *group, _ *op) error {
		bucket, key := g.tx.Bucket([]byte(bucketOptOuts)), optOutKey(pool, number)
		if old := bucket.Get(key); len(old) == optOutSize && at.Before(getTime(old[2:])) {
			return nil
		}
		value := make([]byte, optOutSize)
		value[0] = optOutVersion
		if out {
			value[1] = 1
		}
		putTime(value[2:], at)
		g.put(bucket, key, value)
		return nil
	})
}

// inWriter runs something in the writer's transaction. It must check everything before it changes anything.
func (s *Store) inWriter(ctx context.Context, do func(*group, *op) error) error {
	o := s.op(ctx, kindDo)
	o.do = do
	return s.do(o)
}

// resolved takes an event off those that wait.
func (g *group) resolved(id whmcs.ID) {
	if g.delete(g.tx.Bucket([]byte(bucketUnresolved)), id[:]) {
		g.unresolved--
	}
}

// delete takes a key away, and says whether it was there.
func (g *group) delete(b *bbolt.Bucket, key []byte) bool {
	if g.err != nil || b.Get(key) == nil {
		return false
	}
	g.err = b.Delete(key)
	g.dirty = true
	return true
}

// NoticeOutbox is the relay.Outbox of the notices' jobs.
func (s *Store) NoticeOutbox() *NoticeOutbox { return &NoticeOutbox{s} }

// NoticeOutbox is the durable list of notices whose outcome isn't known yet. Its methods may be called from many goroutines.
type NoticeOutbox struct{ s *Store }

// Pending is relay.Outbox's.
func (b *NoticeOutbox) Pending(ctx context.Context, after job.ID, limit int) (ids []job.ID, err error) {
	var from whmcs.ID
	if after != "" {
		id, _, ok := whmcs.ParseJobID(after)
		if !ok {
			return nil, fmt.Errorf("list outbox of notices: %q is not an id of it", after)
		}
		from = id
	}
	err = b.s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketReleased)).Cursor()
		for k, v := seekAfter(c, from[:]); k != nil && len(ids) < limit; k, v = c.Next() {
			ids = append(ids, whmcs.JobID(whmcs.ID(k), message(v)))
		}
		return nil
	})
	return ids, err
}

// message is which message of its notice a row of the outbox is.
func message(row []byte) int {
	if len(row) == 0 {
		return 1
	}
	return int(row[0])
}

// Load is relay.Outbox's.
func (b *NoticeOutbox) Load(ctx context.Context, id job.ID) (e job.Envelope, pending bool, err error) {
	key, nth, ok := whmcs.ParseJobID(id)
	if !ok {
		return e, false, nil
	}
	err = b.s.view(ctx, func(tx *bbolt.Tx) error {
		row := tx.Bucket([]byte(bucketReleased)).Get(key[:])
		value := tx.Bucket([]byte(bucketNotices)).Get(key[:])
		if row == nil || value == nil || message(row) != nth {
			return nil
		}
		var n whmcs.Notice
		if err := decodeNotice(key, value, &n); err != nil {
			return err
		}
		e, pending = n.Job(), true
		return nil
	})
	return e, pending, err
}

// Apply is relay.Outbox's. Statuses of other jobs are passed over.
func (b *NoticeOutbox) Apply(ctx context.Context, statuses []job.Status) error {
	if !slices.ContainsFunc(statuses, func(s job.Status) bool { _, _, ok := whmcs.ParseJobID(s.Job); return ok }) {
		return nil
	}
	return b.s.inWriter(ctx, func(g *group, _ *op) error {
		for _, status := range statuses {
			g.deliverNotice(status)
		}
		return nil
	})
}

func (g *group) deliverNotice(status job.Status) {
	id, nth, ok := whmcs.ParseJobID(status.Job)
	if !ok {
		return
	}
	notices := g.tx.Bucket([]byte(bucketNotices))
	if old := notices.Get(id[:]); old != nil {
		var n whmcs.Notice
		err := decodeNotice(id, old, &n)
		if err == nil && n.Deliver(status) {
			var value []byte
			if value, err = encodeNotice(&n); err == nil {
				g.put(notices, id[:], value)
			}
		}
		if err != nil { // as with an OTP's
			g.store.o.Logger.Error("a status can't be noted in its notice", "job", string(status.Job), "state", status.State, "error", err)
		}
	}
	released := g.tx.Bucket([]byte(bucketReleased))
	if row := released.Get(id[:]); row != nil && message(row) == nth && status.State.Settled() {
		g.delete(released, id[:])
	}
}

// purgeNotices forgets notices that are older than an occurrence is remembered. It reports whether the store still runs.
func (s *Store) purgeNotices() bool {
	for {
		more := false
		err := s.inWriter(context.Background(), func(g *group, _ *op) error {
			more = g.purgeNotices()
			return nil
		})
		switch {
		case errors.Is(err, otp.ErrBusy): // requests go first
			more = true
		case err != nil:
			return false
		}
		if !more {
			return true
		}
		if !s.pause(s.o.PurgePause) {
			return false
		}
	}
}

// purgeNotices runs one step. The oldest come first, and an id says when its event was accepted.
func (g *group) purgeNotices() (more bool) {
	limit := g.now.Add(-whmcs.OccurrenceLife)
	notices := g.tx.Bucket([]byte(bucketNotices))
	type due struct {
		id         whmcs.ID
		occurrence []byte
	}
	var gone []due
	c := notices.Cursor()
	for k, value := c.First(); k != nil && whmcs.ID(k).Time().Before(limit); k, value = c.Next() {
		if len(gone) == g.store.o.PurgeStep {
			more = true
			break
		}
		d := due{id: whmcs.ID(k)}
		var n whmcs.Notice
		if decodeNotice(d.id, value, &n) == nil {
			d.occurrence = []byte(n.Occurrence)
		}
		gone = append(gone, d)
	}
	occurrences := g.tx.Bucket([]byte(bucketOccurrences))
	for _, d := range gone { // not while the cursor moves: deleting shifts what it points at
		if d.occurrence != nil && bytes.Equal(occurrences.Get(d.occurrence), d.id[:]) {
			g.delete(occurrences, d.occurrence)
		}
		g.resolved(d.id)
		g.delete(notices, d.id[:])
		g.delete(g.tx.Bucket([]byte(bucketReleased)), d.id[:])
	}
	return more
}
