package status

import (
	"context"
	"errors"
	"sync"

	"wabek/internal/job"
)

// ErrFull says that as many follow as may.
var ErrFull = errors.New("too many follow already")

// News is what a follower is told: a status, or with Status zero that something else about what it follows has changed.
type News struct{ Status job.Status }

// Hub is a Sink that tells whoever follows a job of its statuses, within this process. It never waits: a follower that
// is too slow loses the older news, which the newer ones say better, since states only rise.
type Hub struct {
	keyOf func(job.ID) string
	most  int

	mu        sync.Mutex
	followers map[string]map[chan News]struct{}
	count     int
}

// pendingNews is how much news waits for one follower.
const pendingNews = 16

// NewHub makes a Hub for at most so many followers. keyOf tells what of a job is followed, so that all jobs of one OTP
// may be.
func NewHub(most int, keyOf func(job.ID) string) *Hub {
	return &Hub{keyOf: keyOf, most: most, followers: map[string]map[chan News]struct{}{}}
}

// Apply tells of statuses.
func (h *Hub) Apply(_ context.Context, statuses []job.Status) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == 0 {
		return nil
	}
	for _, s := range statuses {
		h.tell(h.keyOf(s.Job), News{Status: s})
	}
	return nil
}

// Nudge tells that something about what is followed under a key has changed.
func (h *Hub) Nudge(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(key, News{})
}

// tell is called with mu held, so nobody else sends on these channels.
func (h *Hub) tell(key string, n News) {
	for to := range h.followers[key] {
		for {
			select {
			case to <- n:
			default:
				select {
				case <-to: // the oldest makes room
				default:
				}
				continue
			}
			break
		}
	}
}

// Follow gives the news of a key until stop is called, which must be. The error is ErrFull.
func (h *Hub) Follow(key string) (news <-chan News, stop func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= h.most {
		return nil, nil, ErrFull
	}
	h.count++
	to := make(chan News, pendingNews)
	if h.followers[key] == nil {
		h.followers[key] = map[chan News]struct{}{}
	}
	h.followers[key][to] = struct{}{}
	return to, sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.count--
		if delete(h.followers[key], to); len(h.followers[key]) == 0 {
			delete(h.followers, key)
		}
	}), nil
}
