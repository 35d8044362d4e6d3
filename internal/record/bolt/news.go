package bolt

import (
	"cmp"
	"context"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
)

// News: OTPs of watched apps whose own state has changed, by use, cancelling, superseding or locking, and of which that
// must still be told. What becomes of a message is told by its statuses, which the queue keeps until they are; this has
// nobody but the record, so it is noted in the transaction that changes it. Keys: ids. Values: which change it is the latest
// of, a number of 8 bytes that only rises; empty in rows of older versions.

// News is an OTP whose change must still be told.
type News struct {
	ID     otp.ID
	change uint64 // the latest when it was read
}

// news notes that an OTP's state has changed.
func (g *group) news(o *op, r *otp.Record) {
	if !g.store.o.Watched(r.App) {
		return
	}
	bucket := g.tx.Bucket([]byte(bucketNews))
	change, err := bucket.NextSequence()
	if err != nil { // the transaction can't be written
		g.err = cmp.Or(g.err, err)
		return
	}
	g.put(bucket, append([]byte(nil), r.ID[:]...), binary.BigEndian.AppendUint64(nil, change))
	o.changed = append(o.changed, r.ID)
}

// Untold lists up to limit OTPs whose change must still be told, in the order of their ids, from above after on. Errors:
// otp.ErrClosed, the context's.
func (s *Store) Untold(ctx context.Context, after otp.ID, limit int) ([]News, error) {
	var list []News
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketNews)).Cursor()
		k, v := c.Seek(after[:])
		if k != nil && otp.ID(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(list) < limit; k, v = c.Next() {
			list = append(list, News{ID: otp.ID(k), change: changeOf(v)})
		}
		return nil
	})
	return list, err
}

func changeOf(value []byte) uint64 {
	if len(value) == 0 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// Told notes that the change of an OTP has been told; a later one must still be. Nil means that it is on stable storage; one
// that is lost is told again. Errors: those of Update, but for otp.ErrNoRecord.
func (s *Store) Told(ctx context.Context, n News) error {
	o := s.op(ctx, kindTold)
	o.told = n
	return s.do(o)
}

func (g *group) tell(n News) {
	bucket := g.tx.Bucket([]byte(bucketNews))
	value := bucket.Get(n.ID[:])
	if g.err != nil || value == nil || changeOf(value) != n.change {
		return
	}
	g.err = bucket.Delete(n.ID[:])
	g.dirty = true
}
