package bolt

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
)

// Answers by idempotency key. In the bucket they lie in the order of time, like records: their keys are the time in Unix
// ms (8 bytes) and the hash of the idempotency key (16), their values the hash of the request (16) and the answer. Where
// a key lies is known in memory.
type onceIndex map[uint64]int64 // beginning of the hash -> time; two that begin alike would forget one of them

func indexOf(h otp.OnceHash) uint64 { return binary.BigEndian.Uint64(h[:]) }

const onceRow = 8 + len(otp.OnceHash{})

func onceKey(at int64, h otp.OnceHash) []byte {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, onceRow), uint64(at)) //nolint:gosec // not before 1970
	return append(key, h[:]...)
}

// answers is the bucket, which many transactions don't need.
func (g *group) answers() *bbolt.Bucket {
	if g.once == nil {
		g.once = g.tx.Bucket([]byte(bucketOnce))
		g.once.FillPercent = fillPercent
	}
	return g.once
}

// answered returns what the operation answered before under its key, as an error; nil where it is new.
func (g *group) answered(once *otp.Once) error {
	if once == nil {
		return nil
	}
	at, ok := g.store.once[indexOf(once.Key)]
	if !ok || at <= g.now.Add(-otp.OnceLife).UnixMilli() {
		return nil
	}
	value := g.answers().Get(onceKey(at, once.Key))
	switch {
	case len(value) < len(once.Body): // of another key that begins alike
		return nil
	case otp.OnceHash(value[:len(once.Body)]) != once.Body:
		return otp.ErrKeyReused
	}
	return &otp.Replay{Answer: append([]byte(nil), value[len(once.Body):]...)}
}

// remember keeps the answer of an operation that has been done.
func (g *group) remember(once *otp.Once, answer []byte) {
	if once == nil {
		return
	}
	now := g.now.UnixMilli()
	start := len(g.arena)
	g.arena = append(append(g.arena, once.Body[:]...), answer...)
	g.put(g.answers(), onceKey(now, once.Key), g.arena[start:len(g.arena):len(g.arena)])
	g.store.once[indexOf(once.Key)] = now
}

// answer asks an operation for its answer. Nothing has been changed yet, so that a panic costs it alone.
func (g *group) answer(once *otp.Once) (answer []byte, err error) {
	if once == nil {
		return nil, nil
	}
	err = g.guard(func() error {
		answer = once.Answer()
		return nil
	})
	return answer, err
}

// load reads where the keys lie.
func (x onceIndex) load(answers *bbolt.Bucket, now time.Time) error {
	c := answers.Cursor()
	from := onceKey(now.Add(-otp.OnceLife).UnixMilli(), otp.OnceHash{})
	for k, _ := c.Seek(from); k != nil; k, _ = c.Next() {
		if len(k) != onceRow {
			return fmt.Errorf("%w: an idempotency key of %d bytes", ErrCorrupt, len(k))
		}
		x[binary.BigEndian.Uint64(k[8:])] = int64(binary.BigEndian.Uint64(k)) //nolint:gosec // as written
	}
	return nil
}

// forgetAnswers runs a step of the purge of answers: the oldest come first.
func (g *group) forgetAnswers(o *op) {
	limit := uint64(g.now.Add(-otp.OnceLife).UnixMilli())
	answers := g.answers()
	var gone [][]byte
	c := answers.Cursor()
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= limit; k, _ = c.Next() {
		if len(gone) == g.store.o.PurgeStep {
			o.more = true
			break
		}
		gone = append(gone, append([]byte(nil), k...))
	}
	for _, k := range gone {
		if g.err != nil {
			return
		}
		g.err = answers.Delete(k)
		g.dirty = true
		if at := binary.BigEndian.Uint64(k); g.store.once[binary.BigEndian.Uint64(k[8:])] == int64(at) { //nolint:gosec // as written
			delete(g.store.once, binary.BigEndian.Uint64(k[8:]))
		}
	}
}
