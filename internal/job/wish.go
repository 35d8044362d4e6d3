package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wabek/internal/keys"
	"wabek/internal/phone"
)

// Wish says that somebody wants no more notices from the sessions of a pool, or wants them again. It goes the way back:
// from the session that it was written to, to where the records are.
type Wish struct {
	From phone.Number
	Stop bool      // no more notices; else notices again
	At   time.Time // by WhatsApp's clock, to the second; of two wishes of a number the later one holds
}

// wishVersion is the format of a sealed wish. A reader leaves a newer one alone.
const wishVersion = 1

type wishJSON struct {
	Version int    `json:"v"`
	From    string `json:"from"`
	Stop    *bool  `json:"stop"` // there, or it is no wish
	At      int64  `json:"at"`   // Unix milliseconds
}

// SealWish seals a wish for a pool. Opened under another id or pool it is refused. Errors: ErrMalformed for one without a
// number, and the sealer's.
func SealWish(s Sealer, pool, id string, w Wish) ([]byte, error) {
	if w.From.IsZero() {
		return nil, fmt.Errorf("%w: a wish of nobody", ErrMalformed)
	}
	plain, err := json.Marshal(wishJSON{Version: wishVersion, From: w.From.E164(), Stop: &w.Stop, At: w.At.UnixMilli()})
	if err != nil {
		return nil, fmt.Errorf("encode wish: %w", err)
	}
	sealed, err := s.Seal(pool, bindWish(pool, id), plain)
	if err != nil {
		return nil, fmt.Errorf("seal wish: %w", err)
	}
	return sealed, nil
}

// OpenWish opens what SealWish sealed. Errors: keys.ErrNoKey, keys.ErrForged, ErrMalformed, and ErrNewerFormat for what a
// newer version wrote.
func OpenWish(o Opener, pool, id string, sealed []byte) (Wish, error) {
	plain, err := o.Open(pool, bindWish(pool, id), sealed)
	switch {
	case errors.Is(err, keys.ErrNewerFormat):
		return Wish{}, ErrNewerFormat
	case err != nil:
		return Wish{}, fmt.Errorf("open wish: %w", err)
	}
	var w wishJSON
	if err := json.Unmarshal(plain, &w); err != nil {
		return Wish{}, fmt.Errorf("%w: wish", ErrMalformed) // the cause would quote it
	}
	if w.Version > wishVersion {
		return Wish{}, ErrNewerFormat
	}
	from, err := phone.Restore(w.From)
	if err != nil || w.Stop == nil {
		return Wish{}, fmt.Errorf("%w: wish lacks a part", ErrMalformed)
	}
	return Wish{From: from, Stop: *w.Stop, At: time.UnixMilli(w.At)}, nil
}

// bindWish ties a sealed wish to its pool and id.
func bindWish(pool, id string) []byte { return []byte("wabek wish/" + pool + "/" + id) }
