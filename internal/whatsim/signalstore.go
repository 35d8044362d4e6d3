package whatsim

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"maps"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// phoneSeed is all the secret a phone has: every key of it is derived. A phone costs nothing until it is written
// to, its keys need no place in the snapshot, and a simulator that was killed knows them again.
type phoneSeed [32]byte

func newPhoneSeed(server [32]byte, digits string, generation uint32) phoneSeed {
	mac := hmac.New(sha256.New, server[:])
	mac.Write([]byte(digits))
	mac.Write(binary.BigEndian.AppendUint32([]byte{0}, generation))
	return phoneSeed(mac.Sum(nil))
}

func (s phoneSeed) key(purpose string, id uint32) *keys.KeyPair {
	mac := hmac.New(sha256.New, s[:])
	mac.Write([]byte(purpose))
	mac.Write(uint32Bytes(id))
	priv := [32]byte(mac.Sum(nil))
	priv[0] &= 248
	priv[31] = priv[31]&127 | 64
	return keys.NewKeyPairFromPrivateKey(priv)
}

func (s phoneSeed) preKey(id uint32) *keys.PreKey {
	return &keys.PreKey{KeyPair: *s.key("one-time", id), KeyID: id}
}

// newSignalDevice dresses a phone's keys as the store the Signal library works on.
func newSignalDevice(seed phoneSeed, sessions map[string][]byte) *store.Device {
	identity := seed.key("identity", 0)
	signed := &keys.PreKey{KeyPair: *seed.key("signed", 1), KeyID: 1}
	signed.Signature = identity.Sign(&signed.KeyPair)
	return &store.Device{
		IdentityKey:    identity,
		SignedPreKey:   signed,
		RegistrationID: 1 + binary.BigEndian.Uint32(seed[:])%16380,
		Identities:     anyIdentity{},
		Sessions:       signalSessions(sessions),
		PreKeys:        derivedPreKeys(seed),
	}
}

// anyIdentity trusts every identity: a phone goes on talking to a contact that has changed its keys.
type anyIdentity struct{}

func (anyIdentity) PutIdentity(context.Context, string, [32]byte) error { return nil }
func (anyIdentity) DeleteAllIdentities(context.Context, string) error   { return nil }
func (anyIdentity) DeleteIdentity(context.Context, string) error        { return nil }
func (anyIdentity) IsTrustedIdentity(context.Context, string, [32]byte) (bool, error) {
	return true, nil
}

// signalSessions are one phone's Signal sessions by address; the phone's lock is held by the caller.
type signalSessions map[string][]byte

func (m signalSessions) GetSession(_ context.Context, address string) ([]byte, error) {
	return m[address], nil
}

func (m signalSessions) HasSession(_ context.Context, address string) (bool, error) {
	_, ok := m[address]
	return ok, nil
}

func (m signalSessions) GetManySessions(_ context.Context, addresses []string) (map[string][]byte, error) {
	out := make(map[string][]byte, len(addresses))
	for _, a := range addresses {
		out[a] = m[a]
	}
	return out, nil
}

func (m signalSessions) PutSession(_ context.Context, address string, session []byte) error {
	m[address] = session
	return nil
}

func (m signalSessions) PutManySessions(_ context.Context, sessions map[string][]byte) error {
	maps.Copy(m, sessions)
	return nil
}

func (m signalSessions) DeleteAllSessions(context.Context, string) error { return nil }

func (m signalSessions) DeleteSession(_ context.Context, address string) error {
	delete(m, address)
	return nil
}

func (m signalSessions) MigratePNToLID(context.Context, types.JID, types.JID) error { return nil }

// derivedPreKeys knows every one-time prekey by its number. A used one is not forgotten, so a first message
// that comes again after the simulator lost its session is read again.
type derivedPreKeys phoneSeed

func (d derivedPreKeys) GetPreKey(_ context.Context, id uint32) (*keys.PreKey, error) {
	return phoneSeed(d).preKey(id), nil
}

func (derivedPreKeys) GetOrGenPreKeys(context.Context, uint32) ([]*keys.PreKey, error) {
	return nil, nil
}
func (derivedPreKeys) GenOnePreKey(context.Context) (*keys.PreKey, error)  { return nil, nil } //nolint:nilnil // never asked for: phones hand out their own
func (derivedPreKeys) RemovePreKey(context.Context, uint32) error          { return nil }
func (derivedPreKeys) MarkPreKeysAsUploaded(context.Context, uint32) error { return nil }
func (derivedPreKeys) UploadedPreKeyCount(context.Context) (int, error)    { return 0, nil }
