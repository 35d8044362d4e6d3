package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"pgregory.net/rapid"
)

// savedDevice is a device with stores of its own in the database.
func savedDevice(t *testing.T, devices *Devices, user string) *store.Device {
	t.Helper()
	dev := devices.container.NewDevice()
	id := types.NewADJID(user, 0, 1)
	dev.ID = &id
	dev.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte{1}, AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	require.NoError(t, devices.container.PutDevice(t.Context(), dev))
	return dev
}

func remembering(dev *store.Device) (rememberedIdentities, rememberedTokens) {
	return rememberedIdentities{dev.Identities, newMemory[string, [32]byte]()},
		rememberedTokens{dev.PrivacyTokens, newMemory[types.JID, *store.PrivacyToken]()}
}

// Whatever happens in whatever order, a store with a memory answers as one without, and holds the same.
func TestRemembered_AnswersAsTheStoreItself(t *testing.T) {
	t.Parallel()
	devices, err := OpenDevices(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, devices.Close()) }()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++ // each with devices of its own
		plain, ours := savedDevice(t, devices, fmt.Sprintf("90555%07d", 2*runs)), savedDevice(t, devices, fmt.Sprintf("90555%07d", 2*runs+1))
		identities, tokens := remembering(ours)

		user := func() string { return rapid.SampledFrom([]string{"1_1", "2_1"}).Draw(rt, "user") }
		address := func() string { return user() + rapid.SampledFrom([]string{":0", ":3"}).Draw(rt, "device") }
		key := func() [32]byte { return [32]byte{rapid.Byte().Draw(rt, "key") % 2} }
		jid := func() types.JID { return types.NewJID(user(), types.HiddenUserServer) }
		at := func() time.Time { return time.Unix(int64(rapid.IntRange(1, 4).Draw(rt, "at")), 0) }
		ctx := func() context.Context {
			if rapid.Bool().Draw(rt, "in a send") {
				return context.WithValue(t.Context(), attemptKey{}, &attempt{})
			}
			return t.Context()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put identity": func(*rapid.T) {
				c, a, k := ctx(), address(), key()
				require.NoError(rt, plain.Identities.PutIdentity(c, a, k))
				require.NoError(rt, identities.PutIdentity(c, a, k))
			},
			"delete identity": func(*rapid.T) {
				c, a := ctx(), address()
				require.NoError(rt, plain.Identities.DeleteIdentity(c, a))
				require.NoError(rt, identities.DeleteIdentity(c, a))
			},
			"delete identities": func(*rapid.T) {
				c, u := ctx(), user()
				require.NoError(rt, plain.Identities.DeleteAllIdentities(c, u))
				require.NoError(rt, identities.DeleteAllIdentities(c, u))
			},
			"put token": func(*rapid.T) {
				c, token := ctx(), store.PrivacyToken{User: jid(), Token: []byte{rapid.Byte().Draw(rt, "token")}, Timestamp: at()}
				require.NoError(rt, plain.PrivacyTokens.PutPrivacyTokens(c, token))
				require.NoError(rt, tokens.PutPrivacyTokens(c, token))
			},
			"delete old tokens": func(*rapid.T) {
				c, cutoff := ctx(), at()
				want, err := plain.PrivacyTokens.DeleteExpiredPrivacyTokens(c, cutoff)
				require.NoError(rt, err)
				got, err := tokens.DeleteExpiredPrivacyTokens(c, cutoff)
				require.NoError(rt, err)
				require.Equal(rt, want, got)
			},
			"restart": func(*rapid.T) { identities, tokens = remembering(ours) },
			"": func(*rapid.T) {
				a, k := address(), key()
				trusted, err := plain.Identities.IsTrustedIdentity(t.Context(), a, k)
				require.NoError(rt, err)
				got, err := identities.IsTrustedIdentity(t.Context(), a, k)
				require.NoError(rt, err)
				require.Equal(rt, trusted, got, "%s %d", a, k[0])
				of := jid()
				want, err := plain.PrivacyTokens.GetPrivacyToken(t.Context(), of)
				require.NoError(rt, err)
				token, err := tokens.GetPrivacyToken(t.Context(), of)
				require.NoError(rt, err)
				require.Equal(rt, want, token)
				if token != nil {
					token.Timestamp = time.Unix(99, 0) // it is the caller's own
				}
			},
		})
	})
}

// counting counts the writes of identities, and fails them on demand.
type counting struct {
	store.IdentityStore
	puts int
	err  error
}

func (c *counting) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	c.puts++
	if c.err != nil {
		return c.err
	}
	return c.IdentityStore.PutIdentity(ctx, address, key)
}

func TestRemembered_AnIdentityIsWrittenOnce(t *testing.T) {
	t.Parallel()
	devices, err := OpenDevices(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, devices.Close()) }()
	under := &counting{IdentityStore: savedDevice(t, devices, "905550000001").Identities, err: errors.New("disk full")}
	identities := rememberedIdentities{under, newMemory[string, [32]byte]()}
	ctx := context.WithValue(t.Context(), attemptKey{}, &attempt{})

	require.ErrorIs(t, identities.PutIdentity(ctx, "1:0", [32]byte{1}), under.err)
	under.err = nil
	for range 3 {
		require.NoError(t, identities.PutIdentity(ctx, "1:0", [32]byte{1}))
	}
	require.Equal(t, 2, under.puts, "the one that failed, and one that didn't")
	require.NoError(t, identities.PutIdentity(ctx, "1:0", [32]byte{2}))
	require.Equal(t, 3, under.puts, "another key")
	require.NoError(t, identities.PutIdentity(t.Context(), "1:0", [32]byte{2}))
	require.Equal(t, 4, under.puts, "what isn't of a send may be in a transaction: it is written")
}

func TestMemory_KeepsNothingThatWasReadBeforeAChange(t *testing.T) {
	t.Parallel()
	m := newMemory[string, int]()
	_, _, epoch := m.get("a")
	require.NoError(t, m.forgetAround(func() error { return nil }, "b"))
	m.keep("a", 1, epoch)
	_, known, _ := m.get("a")
	require.False(t, known)
}
