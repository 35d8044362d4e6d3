package senderapp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"wabek/internal/job"
)

const (
	// maxSpool bounds the wishes that wait for the queue: more than come while it is away for days.
	maxSpool = 10_000
	// spoolRetry is the pause before the queue is tried again, doubled up to lookAgain.
	spoolRetry = lookAgain / 16
)

// errSpoolFull says that too many wishes wait.
var errSpoolFull = errors.New("too many wishes wait for the queue")

// spool keeps wishes on disk, sealed, until the queue has them: WhatsApp says each of them once. A file holds one, and its
// name says the order, the pool and the id. It survives a loss of power.
type spool struct {
	dir  string
	some chan struct{} // has room for one: a wish wakes who passes them on

	mu      sync.Mutex // one file is written at a time
	last    int64      // of the order
	waiting int
}

// openSpool opens the spool in a data directory, or makes it.
func openSpool(dataDir string) (*spool, error) {
	s := &spool{dir: filepath.Join(dataDir, "wishes"), some: make(chan struct{}, 1)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open wishes: %w", err)
	}
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	s.waiting = len(names)
	return s, nil
}

// spoolNew is the file that is being written. One that a crash left is written over.
const spoolNew = ".new"

// keep returns once a wish is on stable storage.
func (s *spool) keep(pool, id string, sealed []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= maxSpool {
		return errSpoolFull
	}
	fresh := filepath.Join(s.dir, spoolNew)
	if err := writeSynced(fresh, sealed); err != nil {
		return fmt.Errorf("keep wish: %w", err)
	}
	s.last = max(s.last+1, time.Now().UnixNano())
	if err := os.Rename(fresh, filepath.Join(s.dir, fmt.Sprintf("%020d.%s.%s", s.last, pool, id))); err != nil {
		return fmt.Errorf("keep wish: %w", err)
	}
	s.waiting++
	select {
	case s.some <- struct{}{}:
	default: // one nudge is enough
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("keep wish: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("keep wish: %w", err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // within the data directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// names are the files of the wishes that wait, in their order.
func (s *spool) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list wishes: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if strings.Count(e.Name(), ".") == 2 && !strings.HasPrefix(e.Name(), ".") { // else it isn't ours
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// putWish stores a sealed wish in the queue: queue.Broker.PutWish.
type putWish func(ctx context.Context, pool, id string, sealed []byte) error

// passOn puts every wish into the queue, those that wait and each new one, until ctx ends.
func (s *spool) passOn(ctx context.Context, put putWish, log *slog.Logger) {
	wait := time.Duration(0) // until the queue is tried again; 0 while it takes what it gets
	for {
		err := s.passAll(ctx, put, log)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			wait = 0
			select {
			case <-s.some:
			case <-ctx.Done():
				return
			}
			continue
		case wait == 0:
			log.WarnContext(ctx, "wishes wait for the queue, trying on", "err", err)
		}
		wait = min(max(2*wait, spoolRetry), lookAgain)
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// passAll puts the wishes that wait into the queue, up to the first that it doesn't take.
func (s *spool) passAll(ctx context.Context, put putWish, log *slog.Logger) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		sealed, err := os.ReadFile(path) //nolint:gosec // within the data directory
		if err != nil {
			return fmt.Errorf("read wish: %w", err)
		}
		_, rest, _ := strings.Cut(name, ".")
		pool, id, _ := strings.Cut(rest, ".")
		err = put(ctx, pool, id, sealed)
		if errors.Is(err, job.ErrName) {
			log.ErrorContext(ctx, "a file among the wishes is none, and is removed", "file", name)
		} else if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove wish: %w", err)
		}
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}
	return nil
}
