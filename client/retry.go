package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// longestAsked is the longest Retry-After that is waited for unasked: whoever is told of a longer one has better to do.
const longestAsked = time.Minute

// policy says when something is tried again.
type policy struct {
	tries          int // 0 for no bound
	first, longest time.Duration
	limited        time.Duration // the longest Retry-After of a 429 that is waited for
}

// run tries something until it is done, fails for good, or has been tried often enough. A pause that would outlive the
// context isn't begun: the error that made it is returned at once.
func (p policy) run(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		pause, again := p.again(err, n)
		if !again {
			return err
		}
		if err := p.wait(ctx, pause, err); err != nil {
			return err
		}
	}
}

// again says whether the nth failed try is followed by another, and after what pause.
func (p policy) again(err error, n int) (time.Duration, bool) {
	if p.tries > 0 && n >= p.tries {
		return 0, false
	}
	pause := p.pause(n)
	var (
		refused   *Error
		malformed *malformedError
		untrusted *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &malformed), errors.As(err, &untrusted):
		return 0, false
	case !errors.As(err, &refused): // the connection was lost
		return pause, true
	case refused.Code == CodeKeyInFlight, refused.Status == http.StatusServiceUnavailable:
		return max(pause, refused.RetryAfter), refused.RetryAfter <= longestAsked
	case refused.Status == http.StatusBadGateway, refused.Status == http.StatusGatewayTimeout:
		return max(pause, refused.RetryAfter), refused.Code == "" && refused.RetryAfter <= longestAsked // a proxy that lost the connection
	case refused.Status == http.StatusTooManyRequests:
		return max(pause, refused.RetryAfter), refused.RetryAfter <= p.limited && p.limited > 0
	}
	return 0, false
}

// pause is how long to wait after the nth failed try. Half of it is left to chance, so that many clients that failed at once
// don't come back at once.
func (p policy) pause(n int) time.Duration {
	pause := p.first
	for i := 1; i < n && pause < p.longest; i++ {
		pause *= 2
	}
	half := min(pause, p.longest) / 2
	return half + time.Duration(rand.Int64N(int64(half)+1)) //nolint:gosec // no secret hangs on it
}

// wait lets a pause pass. last is the error that it follows; it is returned where the context ends first, or would.
func (p policy) wait(ctx context.Context, pause time.Duration, last error) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= pause {
		return last
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wabek: %w; before that: %w", context.Cause(ctx), last)
	}
}
