package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"log/slog"
	"sync"
)

// MAC is HMAC-SHA-256 (RFC 2104) under one key. Making the state of a key takes longer than the short messages here, so
// states are kept and used again. It may be used by many goroutines and prints as [key].
type MAC struct {
	key    []byte
	states sync.Pool // of *macState
}

type macState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

// NewMAC makes a MAC.
func NewMAC(key []byte) *MAC {
	return &MAC{key: key, states: sync.Pool{New: func() any { return &macState{hash: hmac.New(sha256.New, key)} }}}
}

// Sum is the code of a message that comes in parts.
func (m *MAC) Sum(parts ...[]byte) [sha256.Size]byte {
	s := m.states.Get().(*macState) //nolint:forcetypeassert // its New makes nothing else
	defer m.states.Put(s)
	s.hash.Reset()
	for _, p := range parts {
		_, _ = s.hash.Write(p) // a hash never fails
	}
	s.hash.Sum(s.sum[:0])
	return s.sum
}

// String hides the key.
func (m *MAC) String() string { return "[key]" }

// GoString hides the key.
func (m *MAC) GoString() string { return "[key]" }

// LogValue hides the key.
func (m *MAC) LogValue() slog.Value { return slog.StringValue("[key]") }
