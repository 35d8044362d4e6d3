package sender

import (
	"sync"

	"wabek/internal/job"
)

// recent remembers the latest status that we stored of the last few jobs, so that the next status of one
// needn't be preceded by a read. A forgotten entry costs that read, nothing else.
type recent struct {
	mu   sync.Mutex
	jobs map[job.ID]mark
	ring []job.ID
	next int
}

// mark is where a job's latest status stands, and its rank.
type mark struct {
	seq  uint64
	rank int
}

func newRecent(size int) *recent {
	return &recent{jobs: make(map[job.ID]mark, size), ring: make([]job.ID, size)}
}

func (r *recent) get(id job.ID) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs[id]
}

func (r *recent) put(id job.ID, m mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have, ok := r.jobs[id]; ok {
		if m.seq > have.seq {
			r.jobs[id] = m
		}
		return
	}
	delete(r.jobs, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % len(r.ring)
	r.jobs[id] = m
}
