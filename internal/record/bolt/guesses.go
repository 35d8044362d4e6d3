package bolt

import (
	"encoding/binary"
	"fmt"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// Wrong codes in a row. Keys: the hash of the phone (16 bytes) and the app. Values: version, count (4), time of the latest
// in Unix ms (8). They are random keys, but few: most phones never see a wrong code, and a right one takes the row away.
const (
	guessVersion = 1
	guessSize    = 13
)

func guessKey(app string, number phone.Hash) []byte {
	return append(append(make([]byte, 0, len(number)+len(app)), number[:]...), app...)
}

func (g *group) guesses(key []byte) (otp.Guesses, error) {
	value := g.guessed.Get(key)
	switch {
	case value == nil:
		return otp.Guesses{}, nil
	case len(value) != guessSize || value[0] != guessVersion:
		return otp.Guesses{}, fmt.Errorf("%w: a count of wrong codes of %d bytes", ErrCorrupt, len(value))
	}
	return otp.Guesses{Wrong: int(binary.BigEndian.Uint32(value[1:])), Last: getTime(value[5:])}, nil
}

func (g *group) setGuesses(key []byte, to otp.Guesses) {
	if to.Wrong == 0 {
		if g.err == nil {
			g.err = g.guessed.Delete(key)
			g.dirty = true
		}
		return
	}
	value := make([]byte, guessSize)
	value[0] = guessVersion
	binary.BigEndian.PutUint32(value[1:], uint32(to.Wrong)) //nolint:gosec // a count of tries
	putTime(value[5:], to.Last)
	g.put(g.guessed, key, value)
}
