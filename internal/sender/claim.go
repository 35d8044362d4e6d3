package sender

import (
	"context"
	"errors"
	"fmt"

	"wabek/internal/job"
)

// verdict is what a job's latest status says to a session that has been handed the job.
type verdict int

const (
	mayClaim  verdict = iota // nobody has it, or we may take it over
	isOurs                   // our own claim, whose answer was lost
	isSettled                // nothing is left to do
	goesTo                   // another session may have sent it: only that one may try again
	isStale                  // a later holder of our own session has it: we have lost our lease
)

// judge says what the latest status of a job allows (docs/adr/0004). Only the owner of the latest claim may send.
func judge(last job.Status, seq uint64, mine job.Status) verdict {
	switch {
	case seq == 0:
		return mayClaim
	case last.State.Settled():
		return isSettled
	case last.State != job.Sending:
		return mayClaim // a state of a newer version that ranks below a claim
	case last.Nonce == mine.Nonce:
		return isOurs
	case last.Released:
		return mayClaim
	case last.Session != mine.Session:
		return goesTo
	case last.Fence > mine.Fence:
		return isStale
	default:
		return mayClaim // an earlier try of ours, or of who held the session before us: same WhatsApp id
	}
}

// claim makes the job ours, or says why it can't be. It returns the claim's sequence and the session that a
// job belongs to where the verdict is goesTo. The claim's Try is set.
//
// A first delivery is claimed blindly, at sequence 0, which is three times cheaper than reading first. Where
// the queue has handed the job out before, there probably is a status: it is read first.
func (s *Sender) claim(ctx context.Context, d Delivery, mine *job.Status) (verdict, uint64, string, error) {
	var last job.Status
	var at uint64
	known := d.Deliveries() == 1
	for {
		if !known {
			var err error
			if last, at, err = s.cfg.Log.Last(ctx, mine.Pool, mine.Job); err != nil {
				return 0, 0, "", fmt.Errorf("claim: read status: %w", err)
			}
		}
		known = false
		if v := judge(last, at, *mine); v != mayClaim {
			return v, at, last.Session, nil
		}
		mine.Try = last.Try + 1
		seq, err := s.cfg.Log.Put(ctx, *mine, at)
		switch {
		case err == nil:
			return isOurs, seq, "", nil
		case errors.Is(err, job.ErrConflict):
			s.counts.claimsLost.Add(1)
		case ctx.Err() != nil:
			return 0, 0, "", fmt.Errorf("claim: %w", err)
		default:
			// Stored or not, the answer is lost. Reading tells: our own nonce there is our claim.
			s.cfg.Logger.Debug("claim unanswered", "job", mine.Job, "err", err)
			if err := pause(ctx, backoff(1)); err != nil {
				return 0, 0, "", err
			}
		}
	}
}
