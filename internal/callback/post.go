package callback

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wabek/internal/outbound"
)

// Bounds of what a receiver may ask for by Retry-After.
const (
	shortestWait = time.Second
	longestWait  = time.Hour
)

// outcome is what a try came to.
type outcome int

const (
	posted    outcome = iota // 2xx
	failed                   // anything that isn't listed
	unwanted                 // 410: the receiver wants no more of them
	abandoned                // this process ends: nothing is known
)

// answer is a try's outcome.
type answer struct {
	outcome outcome
	why     string        // of a failure, without anything secret
	wait    time.Duration // that the receiver asked for; 0 where it didn't
}

// post tries a callback once.
func (s *Service) post(ctx context.Context, e Endpoint, id string, body []byte) answer {
	now := s.cfg.Now()
	resp, err := s.cfg.Client.Do(ctx, outbound.Request{
		URL: e.URL, Header: e.sign(id, now, body), Body: body, DropAnswer: true,
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return answer{outcome: abandoned}
	case err != nil:
		return answer{outcome: failed, why: reason(err)}
	case resp.Status >= 200 && resp.Status < 300:
		return answer{outcome: posted}
	case resp.Status == http.StatusGone:
		return answer{outcome: unwanted, why: "status 410"}
	}
	a := answer{outcome: failed, why: "status " + strconv.Itoa(resp.Status)}
	if resp.Status == http.StatusTooManyRequests || resp.Status == http.StatusServiceUnavailable {
		a.wait = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return a
}

// reason is an error in words that may be shown: those of package outbound, which hold nothing secret, and no others.
func reason(err error) string {
	if e, ok := errors.AsType[*outbound.Error](err); ok {
		return e.Error()
	}
	return "error"
}

// retryAfter reads seconds or a date (RFC 9110 section 10.2.3), within bounds; 0 where it is neither.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	bounded := func(wait time.Duration) time.Duration { return min(max(wait, shortestWait), longestWait) }
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return bounded(time.Duration(min(n, uint64(longestWait/time.Second))) * time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return bounded(at.Sub(now))
	}
	return 0
}
