package keys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// The envelope of a sealed text: version (1 byte), key id (8), nonce (12), AES-256-GCM ciphertext.
const (
	sealVersion = 1
	nonceSize   = 12
	sealHeader  = 1 + keyIDSize + nonceSize
	keySize     = 32
)

// sealKey is one AES-256-GCM key. Its nonces are random, which NIST SP 800-38D allows for 2^32 texts
// under one key; a pool that nears four thousand million jobs rotates WABEK_SECRET.
type sealKey struct {
	id   [keyIDSize]byte
	raw  []byte
	aead cipher.AEAD
}

func newSealKey(id [keyIDSize]byte, raw []byte) *sealKey {
	block, err := aes.NewCipher(raw)
	if err != nil {
		panic("keys: aes: " + err.Error()) // only for a wrong key size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("keys: gcm: " + err.Error()) // only for a wrong block size
	}
	return &sealKey{id: id, raw: raw, aead: aead}
}

func (k *sealKey) seal(bind, plain []byte) []byte {
	out := make([]byte, sealHeader, sealHeader+len(plain)+k.aead.Overhead())
	out[0] = sealVersion
	copy(out[1:], k.id[:])
	nonce := out[1+keyIDSize : sealHeader]
	_, _ = rand.Read(nonce) // crypto/rand.Read never fails: it crashes the program instead
	return k.aead.Seal(out, nonce, plain, bind)
}

// open expects that the caller found k by the text's key id.
func (k *sealKey) open(bind, sealed []byte) ([]byte, error) {
	plain, err := k.aead.Open(nil, sealed[1+keyIDSize:sealHeader], sealed[sealHeader:], bind)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

func sealedBy(sealed []byte) (id [keyIDSize]byte, err error) {
	switch {
	case len(sealed) == 0:
		return id, ErrForged
	case sealed[0] > sealVersion:
		return id, ErrNewerFormat
	case len(sealed) < sealHeader || sealed[0] != sealVersion:
		return id, ErrForged
	}
	return [keyIDSize]byte(sealed[1 : 1+keyIDSize]), nil
}

// SealKeys seals and opens the bodies of send jobs, a key per pool. An API derives the key of any pool
// from its secret; a sender holds those of its own pools alone, so that a stolen sender opens nothing else.
// It prints as [seal keys]. Its methods may be called from many goroutines.
type SealKeys struct {
	secrets []Secret // current first; none in a sender

	mu    sync.RWMutex
	pools map[string][]*sealKey // current first
}

// DeriveSealKeys makes seal keys for every pool: HKDF(secret, "seal/" + pool). What was sealed under
// previous, which may be zero, still opens.
func DeriveSealKeys(current, previous Secret) *SealKeys {
	k := &SealKeys{secrets: []Secret{current}, pools: map[string][]*sealKey{}}
	if !previous.IsZero() {
		k.secrets = append(k.secrets, previous)
	}
	return k
}

// DeriveSealKeysFor makes the seal keys of the named pools and keeps no secret.
func DeriveSealKeysFor(current, previous Secret, pools ...string) *SealKeys {
	all := DeriveSealKeys(current, previous)
	for _, p := range pools {
		all.of(p)
	}
	return &SealKeys{pools: all.pools}
}

// ParsePoolKeys reads WABEK_POOL_KEYS, `pool:keyid:base64url[,…]`, as Export writes it. Of two keys of
// one pool the first is the current one. The error wraps ErrPoolKeys and names the entry by its number.
func ParsePoolKeys(text string) (*SealKeys, error) {
	k := &SealKeys{pools: map[string][]*sealKey{}}
	for i, entry := range strings.Split(text, ",") {
		parts := strings.Split(strings.TrimSpace(entry), ":")
		if len(parts) != 3 || parts[0] == "" {
			return nil, fmt.Errorf("%w: entry %d is not pool:keyid:base64url; `api pool-keys POOL` prints it", ErrPoolKeys, i+1)
		}
		id, err := hex.DecodeString(parts[1])
		if err != nil || len(id) != keyIDSize {
			return nil, fmt.Errorf("%w: the key id of entry %d is not %d hex digits", ErrPoolKeys, i+1, 2*keyIDSize)
		}
		raw, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("%w: the key of entry %d is not %d bytes in base64url", ErrPoolKeys, i+1, keySize)
		}
		k.pools[parts[0]] = append(k.pools[parts[0]], newSealKey([keyIDSize]byte(id), raw))
	}
	return k, nil
}

// Export writes the keys of the named pools as ParsePoolKeys reads them. What it returns is secret.
func (k *SealKeys) Export(pools ...string) string {
	var out []string
	for _, p := range pools {
		for _, key := range k.of(p) {
			out = append(out, p+":"+hex.EncodeToString(key.id[:])+":"+base64.RawURLEncoding.EncodeToString(key.raw))
		}
	}
	return strings.Join(out, ",")
}

// Pools names the pools whose keys are held, sorted.
func (k *SealKeys) Pools() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Sorted(maps.Keys(k.pools))
}

// Seal encrypts plain for a pool. It opens again only with the same bind, which names what the text
// belongs to. It returns ErrNoKey where the pool's key isn't held.
func (k *SealKeys) Seal(pool string, bind, plain []byte) ([]byte, error) {
	keys := k.of(pool)
	if len(keys) == 0 {
		return nil, ErrNoKey
	}
	return keys[0].seal(bind, plain), nil
}

// Open decrypts what Seal made. Errors: ErrNoKey, ErrForged, ErrNewerFormat.
func (k *SealKeys) Open(pool string, bind, sealed []byte) ([]byte, error) {
	id, err := sealedBy(sealed)
	if err != nil {
		return nil, err
	}
	for _, key := range k.of(pool) {
		if bytes.Equal(key.id[:], id[:]) {
			return key.open(bind, sealed)
		}
	}
	return nil, ErrNoKey
}

func (k *SealKeys) of(pool string) []*sealKey {
	k.mu.RLock()
	held, ok := k.pools[pool]
	k.mu.RUnlock()
	if ok || len(k.secrets) == 0 {
		return held
	}
	var derived []*sealKey
	for _, s := range k.secrets {
		id := [keyIDSize]byte(s.derive("seal-id/"+pool, keyIDSize))
		derived = append(derived, newSealKey(id, s.derive("seal/"+pool, keySize)))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pools[pool] = derived
	return derived
}

// String hides the keys.
func (k *SealKeys) String() string { return "[seal keys]" }

// GoString hides the keys.
func (k *SealKeys) GoString() string { return "[seal keys]" }

// LogValue hides the keys.
func (k *SealKeys) LogValue() slog.Value { return slog.StringValue("[seal keys]") }
