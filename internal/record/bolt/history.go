package bolt

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// history knows the latest OTP of each app, phone and purpose that hasn't expired, and when messages went to each phone
// within a day. It is kept in memory, without pointers for the garbage collector to follow, and read again from the
// records at Open: as buckets their keys would be random, which costs a B+tree of a million records a factor of ten and
// more. But for its seed it belongs to the writer.
type history struct {
	seed   maphash.Seed
	latest map[historyKey]latestOTP
	due    dueQueue
	sends  sendLog
}

// historyKey stands for app, phone and purpose, or for app and phone. Before an OTP is superseded its record is
// compared, so that a collision could at most lose a supersede, never hit a stranger's OTP.
type historyKey uint64

type latestOTP struct {
	id      otp.ID
	expires int64 // Unix ms
	open    bool  // it wasn't used, cancelled or superseded
}

func newHistory() *history {
	return &history{seed: maphash.MakeSeed(), latest: map[historyKey]latestOTP{}, sends: newSendLog()}
}

// historyKeyOf may be called from any goroutine. An empty purpose gives the key of app and phone.
func historyKeyOf[T ~string | ~[]byte](h *history, app, purpose T, number phone.Hash) historyKey {
	var room [128]byte
	text := append(room[:0], number[:]...)                       // of fixed length, so it needs no mark of its end
	text = binary.BigEndian.AppendUint16(text, uint16(len(app))) //nolint:gosec // the codec refuses longer ones
	text = append(text, app...)
	text = append(text, purpose...)
	return historyKey(maphash.Bytes(h.seed, text))
}

// fill is the history as rules see it. room is memory for the times, which are the caller's until the next fill.
func (h *history) fill(key, phoneKey historyKey, now int64, room []time.Time) otp.History {
	out := otp.History{Sends: h.sends.of(phoneKey, now, room)}
	if o, ok := h.latest[key]; ok && o.open && o.expires > now {
		out.Open, out.Expires = o.id, time.UnixMilli(o.expires).UTC()
	}
	return out
}

// find is the latest OTP that hasn't expired.
func (h *history) find(key historyKey, now int64) (otp.ID, bool) {
	o, ok := h.latest[key]
	return o.id, ok && o.expires > now
}

// set keeps what the rule of issuing made of it.
func (h *history) set(key historyKey, after otp.History) {
	if after.Open == (otp.ID{}) {
		h.shut(key, h.latest[key].id)
		return
	}
	expires := after.Expires.UnixMilli()
	h.latest[key] = latestOTP{id: after.Open, expires: expires, open: true}
	h.due.push(due{key: key, expires: expires})
}

// shut notes that an OTP isn't open any more.
func (h *history) shut(key historyKey, id otp.ID) {
	if o, ok := h.latest[key]; ok && o.id == id {
		o.open = false
		h.latest[key] = o
	}
}

// prune drops what is over, up to limit entries of each kind.
func (h *history) prune(now int64, limit int) {
	h.sends.prune(now, limit)
	for range limit {
		d, ok := h.due.peek()
		if !ok || d.expires > now && d.expires <= now+otp.MaxExpiry.Milliseconds() {
			return
		}
		h.due.pop()
		if d.expires > now { // from while the clock was ahead: it must not hold back the others
			h.due.push(d)
			continue
		}
		if o, ok := h.latest[d.key]; ok && o.expires <= now {
			delete(h.latest, d.key)
		}
	}
}

// load reads the OTPs that may have had a message within a day, in the order of their issue: keys begin with its time. A
// message sent again counts from the latest time on, the ones between as well.
func (h *history) load(records *bbolt.Bucket, now time.Time) error {
	first, err := otp.NewID(now.Add(-sendWindow-otp.MaxExpiry), zeros{})
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
		number := phone.Hash(v.fixed[atPhone:atLengths])
		if n, last := v.sends(); n > 0 {
			phoneKey := historyKeyOf(h, v.text(textApp), nil, number)
			if at := otp.IssuedAt(otp.ID(k)).UnixMilli(); counts(at, nowMS) {
				h.sends.add(phoneKey, at)
			}
			for range n - 1 {
				h.sends.add(phoneKey, last)
			}
		}
		if v.expires() <= nowMS {
			continue
		}
		key := historyKeyOf(h, v.text(textApp), v.text(textPurpose), number)
		// Ids of one millisecond lie in no order: among those the open one is the latest.
		open := otp.State(v.fixed[atState]) == otp.Open
		if !open && h.latest[key].open {
			continue
		}
		h.latest[key] = latestOTP{id: otp.ID(k), expires: v.expires(), open: open}
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
