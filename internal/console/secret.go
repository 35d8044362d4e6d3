package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

// A secret is 256 random bits, as text; of what it opens only its SHA-256 is kept. Looking a hash up in a map tells
// nothing of use by its timing.

type digest [sha256.Size]byte

func newSecret() (text string, kept digest) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	text = base64.RawURLEncoding.EncodeToString(raw[:])
	return text, digestOf(text)
}

func digestOf(text string) digest { return sha256.Sum256([]byte(text)) }

// links are the sign-in links that were made and not used.
type links struct {
	now func() time.Time

	mu   sync.Mutex
	open []link // the oldest first
}

type link struct {
	digest digest
	ends   time.Time
}

const (
	linkLife  = 15 * time.Minute
	mostLinks = 16 // open at once: one more ends the oldest
)

func newLinks(now func() time.Time) *links { return &links{now: now} }

// create makes a link's secret.
func (l *links) create() string {
	text, kept := newSecret()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, link{digest: kept, ends: l.now().Add(linkLife)})
	if extra := len(l.open) - mostLinks; extra > 0 {
		l.open = l.open[extra:]
	}
	return text
}

// use says whether a secret is that of an open link, and ends it: of any number of uses one gets true.
func (l *links) use(text string) bool {
	kept := digestOf(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	now, good, open := l.now(), false, l.open[:0]
	for _, k := range l.open {
		switch {
		case !now.Before(k.ends):
		case k.digest == kept:
			good = true
		default:
			open = append(open, k)
		}
	}
	l.open = open
	return good
}
