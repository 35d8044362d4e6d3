package bolt

import (
	"context"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
)

// News: OTPs of watched apps whose own state has changed, by use, cancelling, superseding or locking, and of which that
// must still be told. What becomes of a message is told by its statuses, which the queue keeps until they are; this has
// nobody but the record, so it is noted in the transaction that changes it. Keys: ids. Values: empty.

// news notes that an OTP's state has changed.
func (g *group) news(o *op, r *otp.Record) {
	if !g.store.o.Watched(r.App) {
		return
	}
	g.put(g.tx.Bucket([]byte(bucketNews)), append([]byte(nil), r.ID[:]...), []byte{})
	o.changed = append(o.changed, r.ID)
}

// Untold lists up to limit OTPs whose change must still be told, in the order of their ids, from above after on. Errors:
// otp.ErrClosed, the context's.
func (s *Store) Untold(ctx context.Context, after otp.ID, limit int) ([]otp.ID, error) {
	var ids []otp.ID
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketNews)).Cursor()
		k, _ := c.Seek(after[:])
		if k != nil && otp.ID(k) == after {
			k, _ = c.Next()
		}
		for ; k != nil && len(ids) < limit; k, _ = c.Next() {
			ids = append(ids, otp.ID(k))
		}
		return nil
	})
	return ids, err
}

// Told notes that the change of an OTP has been told. Nil means that it is on stable storage; one that is lost is told
// again. Errors: those of Update, but for otp.ErrNoRecord.
func (s *Store) Told(ctx context.Context, id otp.ID) error {
	o := s.op(ctx, kindTold)
	o.id = id
	return s.do(o)
}

func (g *group) told(id otp.ID) {
	bucket := g.tx.Bucket([]byte(bucketNews))
	if g.err != nil || bucket.Get(id[:]) == nil {
		return
	}
	g.err = bucket.Delete(id[:])
	g.dirty = true
}
