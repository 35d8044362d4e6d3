package callback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNoLetter says that there is no such dead letter.
var ErrNoLetter = errors.New("no such dead letter")

// ErrWaits says that the callback of a letter is in the queue.
var ErrWaits = errors.New("the callback waits to be posted")

// ErrBacklog says that so many callbacks of the app wait that none is replayed now.
var ErrBacklog = errBacklog

// Why a callback was given up. The strings are stable.
const (
	ReasonTooOld    = "too_old"   // its time is over, a day by default, and no try succeeded
	ReasonOverflow  = "overflow"  // too many callbacks of the app were waiting
	ReasonMalformed = "malformed" // what the queue had couldn't be read
)

// Letter is a callback that was given up.
type Letter struct {
	Place  uint64 // among the letters, rising
	App    string
	ID     string // the webhook-id
	Reason string
	Last   string          // how the latest try ended; "" where there was none
	Tries  int             // that failed
	First  time.Time       // when it was enqueued
	At     time.Time       // when it was given up
	Body   json.RawMessage // what was to be posted
}

// letterFormat is the format of a letter. Its first fields are those of every dead letter.
const letterFormat = 1

type letterJSON struct {
	Version int             `json:"v"`
	Lane    string          `json:"lane"`
	App     string          `json:"pool"`
	ID      string          `json:"job"`
	Reason  string          `json:"reason"`
	At      int64           `json:"at"`    // Unix ms
	First   int64           `json:"first"` // Unix ms
	Tries   int             `json:"tries"`
	Last    string          `json:"last,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

// bury stores the letter of a callback.
func (s *Service) bury(ctx context.Context, app, id string, c stored, why string) error {
	data, err := json.Marshal(letterJSON{
		Version: letterFormat, Lane: "callback", App: app, ID: id, Reason: why, At: s.cfg.Now().UnixMilli(),
		First: c.First, Tries: c.Tries, Last: c.Last, Body: c.Body,
	})
	if err != nil {
		return fmt.Errorf("encode dead letter: %w", err)
	}
	if err := s.cfg.Queue.PutDeadCallback(ctx, app, id, data); err != nil {
		return fmt.Errorf("give up callback: %w", err)
	}
	if w := s.worker(app); w != nil {
		w.buried.Add(1)
	}
	s.cfg.Logger.Warn("callback given up", "app", app, "callback", id, "reason", why, "tries", c.Tries, "last", c.Last)
	return nil
}

func decodeLetter(place uint64, data []byte) (Letter, error) {
	var l letterJSON
	if err := json.Unmarshal(data, &l); err != nil || l.Version != letterFormat {
		return Letter{}, fmt.Errorf("dead letter %d: %w", place, errMalformed)
	}
	return Letter{
		Place: place, App: l.App, ID: l.ID, Reason: l.Reason, Last: l.Last, Tries: l.Tries,
		First: time.UnixMilli(l.First), At: time.UnixMilli(l.At), Body: l.Body,
	}, nil
}

// Dead lists an app's dead letters, the oldest first: up to limit of them, at most 100, above the place after, which is
// that of the last letter seen, or 0. What can't be read is passed over. Letters are kept for a week. Errors are the
// queue's.
func (s *Service) Dead(ctx context.Context, app string, after uint64, limit int) ([]Letter, error) {
	var letters []Letter
	limit = min(max(limit, 1), mostLetters)
	for len(letters) < limit {
		seen := 0
		err := s.cfg.Queue.DeadCallbacks(ctx, app, after, limit-len(letters), func(place uint64, data []byte) {
			seen++
			after = place
			if l, err := decodeLetter(place, data); err == nil {
				letters = append(letters, l)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list dead callbacks: %w", err)
		}
		if seen == 0 {
			break
		}
	}
	return letters, nil
}

const mostLetters = 100

// Replay puts a dead letter's callback in the queue again, as if it were new but for its id, and removes the letter.
// Errors: ErrNoLetter; ErrWaits, with which the letter stays; ErrBacklog; and the queue's, after which the letter may be
// both there and enqueued.
func (s *Service) Replay(ctx context.Context, app, id string) error {
	data, place, err := s.cfg.Queue.DeadCallback(ctx, app, id)
	if err != nil {
		return fmt.Errorf("replay callback: %w", err)
	}
	if data == nil {
		return ErrNoLetter
	}
	l, err := decodeLetter(place, data)
	if err != nil || len(l.Body) == 0 {
		return fmt.Errorf("replay callback: %w", errMalformed)
	}
	return s.replay(ctx, l)
}

// ReplayAll replays an app's dead letters, the oldest first, those that are there when it begins, and says how many
// it has. Letters whose callback waits are passed over. Errors as Replay; it stops at the first.
func (s *Service) ReplayAll(ctx context.Context, app string) (int, error) {
	began := s.cfg.Now()
	replayed := map[string]bool{}
	for after := uint64(0); ; {
		letters, err := s.Dead(ctx, app, after, mostLetters)
		if err != nil || len(letters) == 0 {
			return len(replayed), err
		}
		for _, l := range letters {
			after = l.Place
			if l.At.After(began) {
				return len(replayed), nil
			}
			if replayed[l.ID] || len(l.Body) == 0 { // given up again since; or nothing is left of it to be posted
				continue
			}
			err := s.replay(ctx, l)
			switch {
			case err == nil:
				replayed[l.ID] = true
			case !errors.Is(err, ErrWaits):
				return len(replayed), err
			}
		}
	}
}

func (s *Service) replay(ctx context.Context, l Letter) error {
	w := s.worker(l.App)
	if w != nil && w.waiting.Load() >= int64(s.cfg.Backlog) {
		return ErrBacklog
	}
	data, err := stored{First: s.cfg.Now().UnixMilli(), Body: l.Body}.encode()
	if err != nil {
		return err
	}
	type answer struct {
		taken bool
		err   error
	}
	answers := make(chan answer, 1)
	s.cfg.Queue.PutCallback(ctx, l.App, l.ID, data, func(taken bool, err error) { answers <- answer{taken, err} })
	switch a := <-answers; {
	case a.err != nil && s.cfg.Queue.Full(a.err):
		return ErrBacklog
	case a.err != nil:
		return fmt.Errorf("replay callback: %w", a.err)
	case !a.taken: // it may be one that is being given up right now: then this letter is all that stays of it
		return ErrWaits
	}
	if w != nil {
		w.waiting.Add(1)
	}
	if err := s.cfg.Queue.DropDeadCallback(ctx, l.Place); err != nil { // this one alone: it may have been given up again already
		return fmt.Errorf("replay callback: %w", err)
	}
	return nil
}

// Purge removes the letters of a callback, or all of an app's where id is "", and says how many there were. Errors are the queue's.
func (s *Service) Purge(ctx context.Context, app, id string) (int, error) {
	n, err := s.cfg.Queue.PurgeDeadCallbacks(ctx, app, id)
	if err != nil {
		return 0, fmt.Errorf("purge dead callbacks: %w", err)
	}
	return n, nil
}

// Forget removes everything that is kept for an app: what waits and what was given up. It is for an app that is
// deleted, after its endpoint is gone, so that a later app of its name gets nothing of it. Errors are the queue's.
func (s *Service) Forget(ctx context.Context, app string) error {
	if err := s.cfg.Queue.ForgetCallbacks(ctx, app); err != nil {
		return fmt.Errorf("forget callbacks: %w", err)
	}
	return nil
}
