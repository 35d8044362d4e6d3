package whatsapp

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// whatsmeow asks the device store for the same things at each message to the same phone: whether its identity is the
// one known, to keep that identity (a transaction with an fsync of its own), and for its privacy token. A session is
// the only one that changes them, so it can remember them. An identity is remembered once a send of ours has stored
// it, a token once it has been read, each until something else is written: what is remembered is never newer than
// the file, and losing it costs a look.

// rememberedSize is how many contacts are remembered, some 200 bytes each.
const rememberedSize = 8192

// memory is a bounded cache before a store. A value is kept only if nothing was forgotten while the store was busy
// with it.
type memory[K comparable, V any] struct {
	mu    sync.Mutex
	kept  *lru.Cache[K, V]
	epoch uint64 // counts forgetting
}

func newMemory[K comparable, V any]() *memory[K, V] {
	kept, err := lru.New[K, V](rememberedSize)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &memory[K, V]{kept: kept}
}

func (m *memory[K, V]) get(k K) (v V, known bool, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, known = m.kept.Get(k)
	return v, known, m.epoch
}

func (m *memory[K, V]) keep(k K, v V, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if epoch == m.epoch {
		m.kept.Add(k, v)
	}
}

// forgetAround forgets these, or everything where none is given, before a change of the store and after it.
func (m *memory[K, V]) forgetAround(change func() error, these ...K) error {
	m.forget(these)
	defer m.forget(these)
	return change()
}

func (m *memory[K, V]) forget(these []K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	if len(these) == 0 {
		m.kept.Purge()
	}
	for _, k := range these {
		m.kept.Remove(k)
	}
}

// sending says whether a store is asked on behalf of a message of ours. Such a write is in no transaction that could
// still be taken back.
func sending(ctx context.Context) bool {
	_, ok := ctx.Value(attemptKey{}).(*attempt)
	return ok
}

// rememberedIdentities is the store of the identity keys of other devices.
type rememberedIdentities struct {
	store.IdentityStore
	memory *memory[string, [32]byte]
}

func (r rememberedIdentities) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	if known, ok, _ := r.memory.get(address); ok && known == key {
		return true, nil
	}
	return r.IdentityStore.IsTrustedIdentity(ctx, address, key)
}

func (r rememberedIdentities) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	put := func() error { return r.IdentityStore.PutIdentity(ctx, address, key) }
	if !sending(ctx) {
		return r.memory.forgetAround(put, address)
	}
	known, ok, epoch := r.memory.get(address)
	if ok && known == key {
		return nil
	}
	if err := put(); err != nil {
		return err
	}
	r.memory.keep(address, key, epoch)
	return nil
}

func (r rememberedIdentities) DeleteAllIdentities(ctx context.Context, user string) error {
	return r.memory.forgetAround(func() error { return r.IdentityStore.DeleteAllIdentities(ctx, user) })
}

func (r rememberedIdentities) DeleteIdentity(ctx context.Context, address string) error {
	return r.memory.forgetAround(func() error { return r.IdentityStore.DeleteIdentity(ctx, address) }, address)
}

// rememberedTokens is the store of privacy tokens. That a contact has none is remembered too.
type rememberedTokens struct {
	store.PrivacyTokenStore
	memory *memory[types.JID, *store.PrivacyToken]
}

func (r rememberedTokens) GetPrivacyToken(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	known, ok, epoch := r.memory.get(user)
	if !ok {
		var err error
		if known, err = r.PrivacyTokenStore.GetPrivacyToken(ctx, user); err != nil {
			return nil, err
		}
		r.memory.keep(user, known, epoch)
	}
	if known == nil {
		return nil, nil //nolint:nilnil // as the store itself says that there is none
	}
	own := *known // the caller may change it
	return &own, nil
}

func (r rememberedTokens) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	return r.memory.forgetAround(func() error { return r.PrivacyTokenStore.PutPrivacyTokens(ctx, tokens...) })
}

func (r rememberedTokens) DeleteExpiredPrivacyTokens(ctx context.Context, cutoff time.Time) (n int64, err error) {
	err = r.memory.forgetAround(func() error {
		n, err = r.PrivacyTokenStore.DeleteExpiredPrivacyTokens(ctx, cutoff)
		return err
	})
	return n, err
}
