package main

import (
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
)

// bareLoop is the ceiling of the record store: the same bytes in the same group commits of bbolt, under the same
// settings, and nothing else.
type bareLoop struct {
	db         *bbolt.DB
	value, row []byte
	queue      chan bareOp
	answers    sync.Pool // of chan error
	writer     sync.WaitGroup
}

type bareOp struct {
	id   otp.ID
	done chan error
}

func openBare(path string, value, row []byte) (*bareLoop, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30, NoFreelistSync: true, NoStatistics: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open bare store: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte("records"))
		if err == nil {
			_, err = tx.CreateBucketIfNotExists([]byte("outbox"))
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open bare store: %w", err), db.Close())
	}
	s := &bareLoop{
		db: db, value: value, row: row, queue: make(chan bareOp, 8192),
		answers: sync.Pool{New: func() any { return make(chan error, 1) }},
	}
	s.writer.Go(s.write)
	return s, nil
}

func (s *bareLoop) put() error {
	done := s.answers.Get().(chan error) //nolint:forcetypeassert // its New makes nothing else
	s.queue <- bareOp{id: newID(), done: done}
	err := <-done
	s.answers.Put(done)
	return err
}

// write takes what waits, commits it in one transaction and answers.
func (s *bareLoop) write() {
	ops := make([]bareOp, 0, 1024)
	for first := range s.queue {
		ops = s.take(append(ops[:0], first))
		err := s.db.Update(func(tx *bbolt.Tx) error {
			records, outbox := tx.Bucket([]byte("records")), tx.Bucket([]byte("outbox"))
			records.FillPercent, outbox.FillPercent = 0.9, 0.9
			for i := range ops {
				if err := records.Put(ops[i].id[:], s.value); err != nil {
					return err
				}
				if err := outbox.Put(ops[i].id[:], s.row); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range ops {
			ops[i].done <- err
		}
	}
}

func (s *bareLoop) take(ops []bareOp) []bareOp {
	for len(ops) < cap(ops) {
		select {
		case o := <-s.queue:
			ops = append(ops, o)
		default:
			return ops
		}
	}
	return ops
}

func (s *bareLoop) close() error {
	close(s.queue)
	s.writer.Wait()
	return s.db.Close()
}
