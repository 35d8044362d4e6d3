package keys_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/keys"
)

const (
	oneText = "the first secret, which is long enough to be one"
	twoText = "the second secret, which is long enough as well!"
)

func secret(t *testing.T, text string) keys.Secret {
	t.Helper()
	s, err := keys.NewSecret(text)
	require.NoError(t, err)
	return s
}

func TestNewSecret_RefusesShortOnesWithoutRepeatingThem(t *testing.T) {
	t.Parallel()
	_, err := keys.NewSecret("hunter2hunter2")
	require.ErrorIs(t, err, keys.ErrShortSecret)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = keys.NewSecret(strings.Repeat(" ", 40))
	require.ErrorIs(t, err, keys.ErrShortSecret)
	s, err := keys.NewSecret(oneText + "\n")
	require.NoError(t, err)
	require.Equal(t, secret(t, oneText).ID(), s.ID())
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	s := secret(t, oneText)
	seal := keys.DeriveSealKeys(s, keys.Secret{})
	exported := seal.Export("default")
	ring, stored, err := keys.OpenRing(nil, s, keys.Secret{})
	require.NoError(t, err)
	require.NotEmpty(t, stored)
	_, mac := ring.Pepper()
	pepper := keys.RawKey(mac)
	asJSON, err := json.Marshal(struct{ S keys.Secret }{s})
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "seal", seal, "ring", ring)
	key := strings.Split(exported, ":")[2]
	for _, printed := range []string{
		fmt.Sprintf("%v %+v %#v %s", s, s, s, s), fmt.Sprintf("%v %+v %#v %s", seal, seal, seal, seal),
		fmt.Sprintf("%v %+v %#v %s", ring, ring, ring, ring), string(asJSON), log.String(),
	} {
		for _, bad := range []string{oneText, key, hex.EncodeToString(pepper), base64.StdEncoding.EncodeToString(pepper), "[]byte", "0x"} {
			require.NotContains(t, printed, bad)
		}
	}
}

func TestSeal_OpensOnlyWhereItBelongs(t *testing.T) {
	t.Parallel()
	one, two := secret(t, oneText), secret(t, twoText)
	api := keys.DeriveSealKeys(one, keys.Secret{})
	sealed, err := api.Seal("default", []byte("job-1"), []byte("the body"))
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "the body")

	t.Run("under the same key and binding", func(t *testing.T) {
		t.Parallel()
		plain, err := api.Open("default", []byte("job-1"), sealed)
		require.NoError(t, err)
		require.Equal(t, "the body", string(plain))
	})
	t.Run("not under another binding", func(t *testing.T) {
		t.Parallel()
		_, err := api.Open("default", []byte("job-2"), sealed)
		require.ErrorIs(t, err, keys.ErrForged)
	})
	t.Run("not as another pool's", func(t *testing.T) {
		t.Parallel()
		_, err := api.Open("other", []byte("job-1"), sealed)
		require.ErrorIs(t, err, keys.ErrNoKey)
	})
	t.Run("not under another secret, but under it once that is the previous one", func(t *testing.T) {
		t.Parallel()
		_, err := keys.DeriveSealKeys(two, keys.Secret{}).Open("default", []byte("job-1"), sealed)
		require.ErrorIs(t, err, keys.ErrNoKey)
		plain, err := keys.DeriveSealKeys(two, one).Open("default", []byte("job-1"), sealed)
		require.NoError(t, err)
		require.Equal(t, "the body", string(plain))
	})
	t.Run("with exported pool keys, of its pool alone", func(t *testing.T) {
		t.Parallel()
		sender, err := keys.ParsePoolKeys(api.Export("default", "eu"))
		require.NoError(t, err)
		require.Equal(t, []string{"default", "eu"}, sender.Pools())
		plain, err := sender.Open("default", []byte("job-1"), sealed)
		require.NoError(t, err)
		require.Equal(t, "the body", string(plain))
		_, err = sender.Seal("us", nil, []byte("x"))
		require.ErrorIs(t, err, keys.ErrNoKey)
		stolen, err := keys.ParsePoolKeys(api.Export("eu"))
		require.NoError(t, err)
		_, err = stolen.Open("default", []byte("job-1"), sealed)
		require.ErrorIs(t, err, keys.ErrNoKey)
	})
	t.Run("with keys derived for named pools, which keep no secret", func(t *testing.T) {
		t.Parallel()
		sender := keys.DeriveSealKeysFor(one, keys.Secret{}, "default")
		_, err := sender.Open("default", []byte("job-1"), sealed)
		require.NoError(t, err)
		_, err = sender.Seal("eu", nil, []byte("x"))
		require.ErrorIs(t, err, keys.ErrNoKey)
	})
	t.Run("not when a newer version wrote it", func(t *testing.T) {
		t.Parallel()
		newer := append([]byte{sealed[0] + 1}, sealed[1:]...)
		_, err := api.Open("default", []byte("job-1"), newer)
		require.ErrorIs(t, err, keys.ErrNewerFormat)
	})
}

func TestSeal_AnyFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	k := keys.DeriveSealKeys(secret(t, oneText), keys.Secret{})
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		bind := rapid.SliceOf(rapid.Byte()).Draw(t, "bind")
		sealed, err := k.Seal("p", bind, plain)
		require.NoError(t, err)
		opened, err := k.Open("p", bind, sealed)
		require.NoError(t, err)
		require.Equal(t, string(plain), string(opened))
		at := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
		sealed[at/8] ^= 1 << (at % 8)
		_, err = k.Open("p", bind, sealed)
		require.Error(t, err)
	})
}

func TestParsePoolKeys_SaysWhichEntryIsWrongAndNotWhatItHolds(t *testing.T) {
	t.Parallel()
	good := keys.DeriveSealKeys(secret(t, oneText), keys.Secret{}).Export("default")
	for _, bad := range []string{"", "x", good + ",", good + ",a:b", good + ",p:zz:AAAA", good + ",p:0011223344556677:AAAA", ":0011223344556677:AAAA"} {
		_, err := keys.ParsePoolKeys(bad)
		require.ErrorIs(t, err, keys.ErrPoolKeys, bad)
		require.NotContains(t, err.Error(), "AAAA")
	}
}

func TestOpenRing(t *testing.T) {
	t.Parallel()
	one, two := secret(t, oneText), secret(t, twoText)
	first, stored, err := keys.OpenRing(nil, one, keys.Secret{})
	require.NoError(t, err)
	require.Len(t, stored, 4)
	id, pepper := first.Pepper()

	t.Run("gives the same keys again and has nothing to store", func(t *testing.T) {
		t.Parallel()
		again, changed, err := keys.OpenRing(stored, one, keys.Secret{})
		require.NoError(t, err)
		require.Nil(t, changed)
		require.Equal(t, keys.RawKey(pepper), keys.RawKey(again.PepperByID(id)))
		require.Equal(t, keys.RawKey(first.PhoneHashKey()), keys.RawKey(again.PhoneHashKey()))
		require.Equal(t, first.MessageID("j"), again.MessageID("j"))
	})
	t.Run("refuses another secret", func(t *testing.T) {
		t.Parallel()
		_, _, err := keys.OpenRing(stored, two, keys.Secret{})
		require.ErrorIs(t, err, keys.ErrWrongSecret)
	})
	t.Run("wraps anew under a rotated secret", func(t *testing.T) {
		t.Parallel()
		ring, rewrapped, err := keys.OpenRing(stored, two, one)
		require.NoError(t, err)
		require.Len(t, rewrapped, 4)
		require.Equal(t, keys.RawKey(pepper), keys.RawKey(ring.PepperByID(id)))
		_, changed, err := keys.OpenRing(rewrapped, two, keys.Secret{})
		require.NoError(t, err)
		require.Nil(t, changed)
		_, _, err = keys.OpenRing(rewrapped, one, keys.Secret{})
		require.ErrorIs(t, err, keys.ErrWrongSecret)
	})
	t.Run("keeps a key of a newer version", func(t *testing.T) {
		t.Parallel()
		raw := []byte("what a newer version will look for")
		_, rewrapped, err := keys.OpenRing(append(slices.Clone(stored), keys.Wrap(one, "later", 7, raw)), two, one)
		require.NoError(t, err)
		require.Len(t, rewrapped, 5)
		kept := rewrapped[4]
		require.Equal(t, "later", kept.Use)
		got, err := keys.Unwrap(kept, two)
		require.NoError(t, err)
		require.Equal(t, raw, got)
	})
	t.Run("keeps the older pepper when it is rotated", func(t *testing.T) {
		t.Parallel()
		rotated, set := first.RotatePepper(one)
		newID, newPepper := rotated.Pepper()
		require.Equal(t, id+1, newID)
		require.NotEqual(t, keys.RawKey(pepper), keys.RawKey(newPepper))
		loaded, changed, err := keys.OpenRing(set, one, keys.Secret{})
		require.NoError(t, err)
		require.Nil(t, changed)
		require.Equal(t, keys.RawKey(pepper), keys.RawKey(loaded.PepperByID(id)))
		require.Equal(t, keys.RawKey(newPepper), keys.RawKey(loaded.PepperByID(newID)))
		require.Equal(t, keys.RawKey(first.PhoneHashKey()), keys.RawKey(loaded.PhoneHashKey()))
	})
	t.Run("holds no key in the clear", func(t *testing.T) {
		t.Parallel()
		text, err := json.Marshal(stored)
		require.NoError(t, err)
		require.NotContains(t, string(text), base64.StdEncoding.EncodeToString(keys.RawKey(pepper)))
	})
}

func TestMessageID_LooksLikeWhatsAppsOwn(t *testing.T) {
	t.Parallel()
	ring, _, err := keys.OpenRing(nil, secret(t, oneText), keys.Secret{})
	require.NoError(t, err)
	require.Regexp(t, `^3EB0[0-9A-F]{18}$`, ring.MessageID("a"))
	require.NotEqual(t, ring.MessageID("a"), ring.MessageID("b"))
}
