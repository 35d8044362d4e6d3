package keys

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
)

// Uses of the data keys, as Wrapped.Use names them.
const (
	UsePepper    = "pepper"     // keys the digest of a code; several, the highest id is current
	UsePhoneHash = "phone-hash" // keys the hash of a number; never rotated: opt-outs and caps hang on it
	UseMessageID = "message-id" // keys the WhatsApp id of a job
	UseCallback  = "callback"   // keys the secrets that callbacks are signed with
)

// Wrapped is a data key as the record store keeps it: encrypted under WABEK_SECRET.
type Wrapped struct {
	Use    string `json:"use"`
	ID     uint32 `json:"id"`
	Sealed []byte `json:"sealed"`
}

// Ring holds the data keys, unwrapped. It doesn't change once made and prints as [keys].
type Ring struct {
	peppers   map[uint32]*MAC
	pepper    uint32
	phoneHash *MAC
	messageID *MAC
	callback  *MAC
	others    []otherKey
}

// otherKey is a data key of a newer version of wabek, which must find it again.
type otherKey struct {
	use string
	id  uint32
	mac *MAC
}

// OpenRing unwraps the stored data keys and makes those that are missing. Where it made one, or one was
// wrapped under previous, which may be zero, it returns the whole set to store; else nil.
// The error is ErrWrongSecret where a key opens under neither.
func OpenRing(stored []Wrapped, current, previous Secret) (*Ring, []Wrapped, error) {
	r := &Ring{peppers: map[uint32]*MAC{}}
	kek := wrappingKey(current)
	var keks []*sealKey
	keks = append(keks, kek)
	if !previous.IsZero() {
		keks = append(keks, wrappingKey(previous))
	}
	var changed bool
	for _, w := range stored {
		raw, by, err := unwrap(w, keks)
		if err != nil {
			return nil, nil, err
		}
		changed = changed || by != kek
		r.hold(w.Use, w.ID, raw)
	}
	for _, use := range []string{UsePepper, UsePhoneHash, UseMessageID, UseCallback} {
		if r.has(use) {
			continue
		}
		raw := make([]byte, keySize)
		_, _ = rand.Read(raw) // never fails
		r.hold(use, 1, raw)
		changed = true
	}
	if !changed {
		return r, nil, nil
	}
	return r, r.wrap(kek), nil
}

// RotatePepper returns a ring whose new codes are digested under a fresh pepper, and the set to store.
// Codes already issued go on to verify: their records name the pepper of their day.
func (r *Ring) RotatePepper(current Secret) (*Ring, []Wrapped) {
	next := &Ring{peppers: map[uint32]*MAC{}, phoneHash: r.phoneHash, messageID: r.messageID, callback: r.callback, pepper: r.pepper, others: r.others}
	maps.Copy(next.peppers, r.peppers)
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	next.hold(UsePepper, r.pepper+1, raw)
	return next, next.wrap(wrappingKey(current))
}

func (r *Ring) hold(use string, id uint32, raw []byte) {
	switch use {
	case UsePepper:
		r.peppers[id] = NewMAC(raw)
		r.pepper = max(r.pepper, id)
	case UsePhoneHash:
		r.phoneHash = NewMAC(raw)
	case UseMessageID:
		r.messageID = NewMAC(raw)
	case UseCallback:
		r.callback = NewMAC(raw)
	default:
		r.others = append(r.others, otherKey{use: use, id: id, mac: NewMAC(raw)})
	}
}

func (r *Ring) has(use string) bool {
	switch use {
	case UsePepper:
		return len(r.peppers) > 0
	case UsePhoneHash:
		return r.phoneHash != nil
	case UseCallback:
		return r.callback != nil
	default:
		return r.messageID != nil
	}
}

func (r *Ring) wrap(kek *sealKey) []Wrapped {
	var out []Wrapped
	add := func(use string, id uint32, m *MAC) {
		out = append(out, Wrapped{Use: use, ID: id, Sealed: kek.seal(wrapBind(use, id), m.key)})
	}
	for id := uint32(1); id <= r.pepper; id++ {
		if m, ok := r.peppers[id]; ok {
			add(UsePepper, id, m)
		}
	}
	add(UsePhoneHash, 1, r.phoneHash)
	add(UseMessageID, 1, r.messageID)
	add(UseCallback, 1, r.callback)
	for _, o := range r.others {
		add(o.use, o.id, o.mac)
	}
	return out
}

func unwrap(w Wrapped, keks []*sealKey) ([]byte, *sealKey, error) {
	id, err := sealedBy(w.Sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("unwrap %s key: %w", w.Use, err)
	}
	for _, kek := range keks {
		if kek.id == id {
			raw, err := kek.open(wrapBind(w.Use, w.ID), w.Sealed)
			return raw, kek, err
		}
	}
	return nil, nil, ErrWrongSecret
}

func wrapBind(use string, id uint32) []byte {
	return []byte("wabek data key/" + use + "/" + strconv.FormatUint(uint64(id), 10))
}

func wrappingKey(s Secret) *sealKey {
	return newSealKey([keyIDSize]byte(s.derive("wrap-id", keyIDSize)), s.derive("wrap", keySize))
}

// Pepper is the current pepper and its id, which the record of a code names.
func (r *Ring) Pepper() (id uint32, pepper *MAC) { return r.pepper, r.peppers[r.pepper] }

// PepperByID is the pepper that an older record names; nil where it isn't held.
func (r *Ring) PepperByID(id uint32) *MAC { return r.peppers[id] }

// PhoneHashKey keys phone.Number.Hash.
func (r *Ring) PhoneHashKey() *MAC { return r.phoneHash }

// CallbackKey keys the secrets that callbacks are signed with.
func (r *Ring) CallbackKey() *MAC { return r.callback }

// MessageID is the WhatsApp id of a job: 3EB0 and 18 upper-case hex digits, the shape that WhatsApp's own
// web client uses, from HMAC-SHA-256 of the job's id. The same job always has the same one, because a
// phone shows a repeated id of one sender once.
func (r *Ring) MessageID(jobID string) string {
	sum := r.messageID.Sum([]byte(jobID))
	return "3EB0" + strings.ToUpper(hex.EncodeToString(sum[:9]))
}

// String hides the keys.
func (r *Ring) String() string { return "[keys]" }

// GoString hides the keys.
func (r *Ring) GoString() string { return "[keys]" }

// LogValue hides the keys.
func (r *Ring) LogValue() slog.Value { return slog.StringValue("[keys]") }
