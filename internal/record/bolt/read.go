package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"wabek/internal/job"
	"wabek/internal/otp"
)

// Get reads a record, without waiting for writes under way. Errors: otp.ErrNoRecord, otp.ErrClosed, and those that
// wrap ErrNewerFormat or ErrCorrupt.
func (s *Store) Get(ctx context.Context, id otp.ID) (otp.Record, error) {
	var r otp.Record
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte(bucketRecords)).Get(id[:])
		if value == nil {
			return otp.ErrNoRecord
		}
		return decodeRecord(id, value, &r)
	})
	return r, err
}

// Pending is relay.Outbox's: the ids of jobs whose outcome isn't known yet, oldest first. After is empty or an id
// that it returned before.
func (s *Store) Pending(ctx context.Context, after job.ID, limit int) ([]job.ID, error) {
	var from otp.ID
	if after != "" {
		id, _, ok := otp.ParseJobID(after)
		if !ok {
			return nil, fmt.Errorf("list outbox: %q is not an id of the outbox", after)
		}
		from = id
	}
	ids := make([]job.ID, 0, max(0, min(limit, int(s.pending.Load()))))
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketOutbox)).Cursor()
		k, row := c.Seek(from[:])
		if k != nil && after != "" && otp.ID(k) == from {
			k, row = c.Next()
		}
		for ; k != nil && len(ids) < limit; k, row = c.Next() {
			ids = append(ids, (&otp.Record{ID: otp.ID(k), Sends: rowMessage(row)}).JobID())
		}
		return nil
	})
	return ids, err
}

// Load is relay.Outbox's: a pending job as it must be published; false where it is settled. Sealed is empty where
// the OTP was superseded, cancelled or used, or another message of it has been asked for since: nobody needs this one any
// more.
func (s *Store) Load(ctx context.Context, id job.ID) (job.Envelope, bool, error) {
	key, n, ok := otp.ParseJobID(id)
	if !ok {
		return job.Envelope{}, false, nil
	}
	var e job.Envelope
	var found bool
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		row := tx.Bucket([]byte(bucketOutbox)).Get(key[:])
		if row == nil || rowMessage(row) < n {
			return nil
		}
		var err error
		if e, err = decodeRow(row); err != nil {
			return err
		}
		found, e.ID = true, id
		if rowMessage(row) > n {
			return nil
		}
		value := tx.Bucket([]byte(bucketRecords)).Get(key[:])
		if value == nil {
			return nil
		}
		v, err := viewRecord(value)
		if err == nil && len(v.sealed) > 0 {
			e.Sealed = append(make([]byte, 0, len(v.sealed)), v.sealed...)
		}
		return err
	})
	if err != nil {
		return job.Envelope{}, false, err
	}
	return e, found, nil
}

// view runs a read. A store whose commit failed answers none: its file may show what is not durable.
//
// For the 0.1 ms between the writing of a commit's meta page and the end of its sync, a read can see what only a
// loss of power could still take back. Verdicts never come from here, so that costs nothing: at worst the relay
// publishes a job whose Issue has not been answered yet.
func (s *Store) view(ctx context.Context, read func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Err(); err != nil {
		return err
	}
	err := s.db.View(read)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return otp.ErrClosed
	}
	return err
}
