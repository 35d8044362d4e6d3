package job

import (
	"context"
	"errors"
	"fmt"
)

// ErrConflict says that a job's status has moved on since the sequence that a write expected.
var ErrConflict = errors.New("status has changed meanwhile")

// Log is the status stream, as far as one job is concerned: what was said of it last, and a compare-and-set.
// Package queue has it.
type Log interface {
	// Last reads the latest status of a job and its sequence, from the stream's leader. Sequence 0: none.
	Last(ctx context.Context, pool string, id ID) (Status, uint64, error)
	// Put stores a status where the job's latest one still has the sequence expected, 0 for none at all, and
	// returns its own sequence. It returns ErrConflict where it hasn't; after any other error the status may
	// or may not have been stored.
	Put(ctx context.Context, s Status, expected uint64) (uint64, error)
}

// Raise stores a status unless the job has already come as far or further. It tries at the sequence guess
// first, which saves a read where the guess is right: it must be 0, or the sequence of a status of lower rank.
// It returns the sequence of the job's latest status, and whether that is now the one given.
func Raise(ctx context.Context, log Log, s Status, guess uint64) (uint64, bool, error) {
	seq, err := log.Put(ctx, s, guess)
	for errors.Is(err, ErrConflict) {
		last, at, lerr := log.Last(ctx, s.Pool, s.Job)
		if lerr != nil {
			return 0, false, fmt.Errorf("read status: %w", lerr)
		}
		if last.State.Rank() >= s.State.Rank() {
			return at, false, nil
		}
		seq, err = log.Put(ctx, s, at)
	}
	if err != nil {
		return 0, false, fmt.Errorf("store status: %w", err)
	}
	return seq, true, nil
}
