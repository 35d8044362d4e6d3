package bolt

import (
	"slices"
	"time"
)

// sendWindow is how far back messages are counted.
const sendWindow = 24 * time.Hour

// sendLog knows the messages of the last day by app and phone: a log in chunks, in which each entry leads to the one
// before of its phone. An entry takes 24 bytes, a phone some 20 more, and growing moves nothing but the map.
type sendLog struct {
	latest map[historyKey]uint64 // number of its latest entry
	chunks [][]sendEntry
	first  uint64 // number of the first entry in chunks
	next   uint64 // number of the next one; numbers begin with 1
}

type sendEntry struct {
	key    historyKey
	at     int64  // Unix ms
	before uint64 // number of the phone's entry before, 0 for none
}

const sendChunk = 4096

func newSendLog() sendLog { return sendLog{latest: map[historyKey]uint64{}, first: 1, next: 1} }

func (l *sendLog) add(key historyKey, at int64) {
	if n := len(l.chunks); n == 0 || len(l.chunks[n-1]) == sendChunk {
		l.chunks = append(l.chunks, make([]sendEntry, 0, sendChunk))
	}
	last := &l.chunks[len(l.chunks)-1]
	*last = append(*last, sendEntry{key: key, at: at, before: l.latest[key]})
	l.latest[key] = l.next
	l.next++
}

// counts says whether a message is within the window. One that lies a window ahead was noted by a wrong clock: it must
// neither stop its phone until then nor hold back the entries behind it.
func counts(at, now int64) bool {
	window := sendWindow.Milliseconds()
	return at > now-window && at <= now+window
}

// of appends to room the times of a phone's messages within the window, oldest first.
func (l *sendLog) of(key historyKey, now int64, room []time.Time) []time.Time {
	out := room[:0]
	for n := l.latest[key]; n >= l.first; {
		e := l.entry(n)
		if counts(e.at, now) {
			out = append(out, time.UnixMilli(e.at).UTC())
		}
		n = e.before
	}
	slices.SortFunc(out, time.Time.Compare) // a clock may have been set back
	return out
}

func (l *sendLog) entry(n uint64) *sendEntry {
	// The first chunk is a full one, but for entries that were dropped at its beginning.
	at := n - l.first + l.offset()
	return &l.chunks[at/sendChunk][at%sendChunk]
}

// offset is how many entries of the first chunk were dropped.
func (l *sendLog) offset() uint64 { return (l.first - 1) % sendChunk }

// prune drops entries that are not within the window, up to limit.
func (l *sendLog) prune(now int64, limit int) {
	for range limit {
		if l.first == l.next {
			return
		}
		e := l.entry(l.first)
		if counts(e.at, now) {
			return
		}
		if l.latest[e.key] == l.first {
			delete(l.latest, e.key)
		}
		if l.first++; l.offset() == 0 {
			l.chunks[0] = nil
			l.chunks = l.chunks[1:]
		}
	}
}
