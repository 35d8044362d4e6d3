package bolt

import (
	"encoding/binary"
	"fmt"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// Wrong codes in a row. Keys: the hash of the phone (16 bytes) and the app. Values: version, count (4), time of the latest
// in Unix ms (8), from version 2 on 1 where it stopped the phone. They are random keys, but few: most phones never see a
// wrong code, and a right one takes the row away.
const (
	guessVersion = 2
	guessSize    = 14
	guessSize1   = 13 // of version 1
)

func guessKey(app string, number phone.Hash) []byte {
	return append(append(make([]byte, 0, len(number)+len(app)), number[:]...), app...)
}

// guesses reads the row of a phone; none where it has lapsed.
func (g *group) guesses(key []byte) (otp.Guesses, error) {
	value := g.guessed.Get(key)
	if value == nil {
		return otp.Guesses{}, nil
	}
	row, err := decodeGuesses(value)
	if err != nil || row.Lapsed(g.now) {
		return otp.Guesses{}, err
	}
	return row, nil
}

func decodeGuesses(value []byte) (otp.Guesses, error) {
	switch {
	case len(value) > 0 && value[0] > guessVersion:
		return otp.Guesses{}, fmt.Errorf("%w: wrong codes of version %d, known up to %d", ErrNewerFormat, value[0], guessVersion)
	case len(value) == guessSize && value[0] == guessVersion, len(value) == guessSize1 && value[0] == 1:
	default:
		return otp.Guesses{}, fmt.Errorf("%w: a count of wrong codes of %d bytes", ErrCorrupt, len(value))
	}
	// Version 1 didn't note what had stopped a phone: its rows stay until a right code, or are judged at the next wrong one.
	stopped := len(value) == guessSize1 || value[guessSize1] != 0
	return otp.Guesses{Wrong: int(binary.BigEndian.Uint32(value[1:])), Last: getTime(value[5:]), Stopped: stopped}, nil
}

func (g *group) setGuesses(key []byte, to otp.Guesses) {
	if to.Wrong == 0 {
		g.dropGuesses(key)
		return
	}
	value := make([]byte, guessSize)
	value[0] = guessVersion
	binary.BigEndian.PutUint32(value[1:], uint32(to.Wrong)) //nolint:gosec // a count of tries
	putTime(value[5:], to.Last)
	if to.Stopped {
		value[guessSize1] = 1
	}
	g.put(g.guessed, key, value)
}

func (g *group) dropGuesses(key []byte) {
	if g.err == nil {
		g.err = g.guessed.Delete(key)
		g.dirty = true
	}
}

// forgetGuesses looks at some rows from a key on, drops those that have lapsed, and says where to go on: at the first row
// after the last. As the keys are random, a row's place says nothing of its age.
func (g *group) forgetGuesses(o *op) {
	var gone [][]byte
	c := g.guessed.Cursor()
	k, value := c.Seek([]byte(o.name))
	for range g.store.o.PurgeStep {
		if k == nil {
			break
		}
		// What can't be read isn't judged: it may be a newer version's.
		if row, err := decodeGuesses(value); err == nil && row.Lapsed(g.now) {
			gone = append(gone, append([]byte(nil), k...))
		}
		k, value = c.Next()
	}
	o.name = string(k)
	for _, k := range gone { // not while the cursor moves: deleting shifts what it points at
		g.dropGuesses(k)
	}
}
