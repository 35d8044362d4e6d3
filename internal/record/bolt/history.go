package bolt

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// history knows the latest OTP of each app, phone and purpose that may still be open. It is kept in memory, without
// pointers for the garbage collector to follow, and read again from the unexpired tail of the records at Open: as a
// bucket its keys would be random, which costs a B+tree of a million records a factor of ten and more.
// But for its seed it belongs to the writer.
type history struct {
	seed   maphash.Seed
	latest map[historyKey]openOTP
	due    dueQueue
}

// historyKey stands for app, phone and purpose. Before an OTP is superseded its record is compared, so that a
// collision could at most lose a supersede, never hit a stranger's OTP.
type historyKey uint64

type openOTP struct {
	id      otp.ID
	expires int64 // Unix ms
}

func newHistory() *history {
	return &history{
		seed:   maphash.MakeSeed(),
		latest: map[historyKey]openOTP{},
	}
}

// historyKeyOf may be called from any goroutine.
func historyKeyOf[T ~string | ~[]byte](h *history, app, purpose T, number phone.Hash) historyKey {
	var room [128]byte
	text := append(room[:0], number[:]...)                       // of fixed length, so it needs no mark of its end
	text = binary.BigEndian.AppendUint16(text, uint16(len(app))) //nolint:gosec // the codec refuses longer ones
	text = append(text, app...)
	text = append(text, purpose...)
	return historyKey(maphash.Bytes(h.seed, text))
}

// open is the history as the rule of issuing sees it.
func (h *history) open(key historyKey, now int64) otp.History {
	o, ok := h.latest[key]
	if !ok || o.expires <= now {
		return otp.History{}
	}
	return otp.History{Open: o.id, Expires: time.UnixMilli(o.expires).UTC()}
}

// set keeps what the rule made of it.
func (h *history) set(key historyKey, after otp.History) {
	if after.Open == (otp.ID{}) {
		delete(h.latest, key)
		return
	}
	expires := after.Expires.UnixMilli()
	h.latest[key] = openOTP{id: after.Open, expires: expires}
	h.due.push(due{key: key, expires: expires})
}

// forget drops an OTP that isn't open any more.
func (h *history) forget(key historyKey, id otp.ID) {
	if h.latest[key].id == id {
		delete(h.latest, key)
	}
}

// prune drops what has expired, up to limit entries.
func (h *history) prune(now int64, limit int) {
	for range limit {
		d, ok := h.due.peek()
		if !ok || d.expires > now {
			return
		}
		h.due.pop()
		if o, ok := h.latest[d.key]; ok && o.expires <= now {
			delete(h.latest, d.key)
		}
	}
}

// load reads the open OTPs. Keys begin with the time of issue, and nothing lives longer than otp.MaxExpiry.
func (h *history) load(records *bbolt.Bucket, now time.Time) error {
	first, err := otp.NewID(now.Add(-otp.MaxExpiry), zeros{})
	if err != nil {
		return err
	}
	nowMS := now.UnixMilli()
	c := records.Cursor()
	for k, value := c.Seek(first[:]); k != nil; k, value = c.Next() {
		v, err := viewRecord(value)
		if err != nil {
			return err
		}
		if v.expires() <= nowMS || otp.State(v.fixed[atState]) != otp.Open {
			continue
		}
		key := historyKeyOf(h, v.text(textApp), v.text(textPurpose), phone.Hash(v.fixed[atPhone:atLengths]))
		h.latest[key] = openOTP{id: otp.ID(k), expires: v.expires()}
		h.due.push(due{key: key, expires: v.expires()})
	}
	return nil
}

// zeros is the random source of the lowest id of a millisecond.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// due says when an entry may be dropped.
type due struct {
	key     historyKey
	expires int64 // Unix ms
}

// dueQueue is first in, first out, in chunks: growing it moves nothing. OTPs of a long life hold back shorter ones
// behind them, for at most otp.MaxExpiry.
type dueQueue struct {
	chunks [][]due
	head   int // in the first chunk
}

const dueChunk = 4096

func (q *dueQueue) push(d due) {
	if n := len(q.chunks); n == 0 || len(q.chunks[n-1]) == dueChunk {
		q.chunks = append(q.chunks, make([]due, 0, dueChunk))
	}
	last := &q.chunks[len(q.chunks)-1]
	*last = append(*last, d)
}

func (q *dueQueue) peek() (due, bool) {
	if len(q.chunks) == 0 || q.head == len(q.chunks[0]) {
		return due{}, false
	}
	return q.chunks[0][q.head], true
}

// pop drops what peek returned.
func (q *dueQueue) pop() {
	q.head++
	if q.head == dueChunk {
		q.chunks[0] = nil
		q.chunks, q.head = q.chunks[1:], 0
	}
}
