package bolt

import (
	"context"
	"os"

	"go.etcd.io/bbolt"

	"wabek/internal/job"
	"wabek/internal/otp"
)

// PurgeNow runs one whole pass of the purge.
func (s *Store) PurgeNow() bool { return s.purgePass() }

// IndexSize is the number of OTPs in the history. Only while nothing is written.
func (s *Store) IndexSize() int { return len(s.history.latest) }

// HoldWriter makes the writer wait until release is called: what is written meanwhile queues up.
func (s *Store) HoldWriter(id otp.ID) (release func()) {
	held, released := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.Update(context.Background(), id, otp.Change{Rule: func(*otp.Record, *otp.History) error {
			close(held)
			<-released
			return nil
		}})
	}()
	<-held
	return func() { close(released) }
}

// WithFile makes the store open its file by open.
func (o Options) WithFile(open func(string, int, os.FileMode) (*os.File, error)) Options {
	o.openFile = open
	return o
}

// The codec.
func EncodeRecord(r *otp.Record) ([]byte, error) { return appendRecord(nil, r) }

func DecodeRecord(id otp.ID, value []byte, r *otp.Record) error { return decodeRecord(id, value, r) }

func EncodeRow(e job.Envelope) ([]byte, error) { return appendRow(nil, e) }

func DecodeRow(row []byte) (job.Envelope, error) { return decodeRow(row) }

const FormatVersion = formatVersion

// Queued is the number of operations that wait for the writer.
func (s *Store) Queued() int { return len(s.queue) }

// Path is the file's.
func (s *Store) Path() string { return s.o.Path }

// GuessRows is the number of rows of wrong codes, lapsed ones too.
func (s *Store) GuessRows(ctx context.Context) (n int, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketGuesses)).ForEach(func(_, _ []byte) error {
			n++
			return nil
		})
	})
	return n, err
}

// SendsSize is the number of messages in the history. Only while nothing is written.
func (s *Store) SendsSize() int { return int(s.history.sends.next - s.history.sends.first) }
