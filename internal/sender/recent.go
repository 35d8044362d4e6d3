package sender

import (
	"sync"

	"wabek/internal/job"
)

// recent remembers the sequence of the latest status of the last few jobs, so that the next status of one
// needn't read it first. A wrong or forgotten entry costs a read, nothing else.
type recent struct {
	mu   sync.Mutex
	seqs map[job.ID]uint64
	ring []job.ID
	next int
}

func newRecent(size int) *recent {
	return &recent{seqs: make(map[job.ID]uint64, size), ring: make([]job.ID, size)}
}

func (r *recent) get(id job.ID) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seqs[id]
}

func (r *recent) put(id job.ID, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have, ok := r.seqs[id]; ok {
		r.seqs[id] = max(have, seq)
		return
	}
	delete(r.seqs, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % len(r.ring)
	r.seqs[id] = seq
}
