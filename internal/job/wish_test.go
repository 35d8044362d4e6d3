package job_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
)

func wishKeys(tb testing.TB) (*keys.SealKeys, phone.Number) {
	tb.Helper()
	secret, err := keys.NewSecret(strings.Repeat("w", 32))
	require.NoError(tb, err)
	from, err := phone.Restore("+905551234567")
	require.NoError(tb, err)
	return keys.DeriveSealKeys(secret, keys.Secret{}), from
}

func TestWish_OpensAsItWasSealed(t *testing.T) {
	t.Parallel()
	seal, from := wishKeys(t)
	for _, stop := range []bool{true, false} {
		want := job.Wish{From: from, Stop: stop, At: time.UnixMilli(1_700_000_000_123)}
		sealed, err := job.SealWish(seal, "default", "w1", want)
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "555")
		// A sender has the keys of its pool alone; they seal too.
		pool, err := keys.ParsePoolKeys(seal.Export("default"))
		require.NoError(t, err)
		got, err := job.OpenWish(pool, "default", "w1", sealed)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestWish_OpensNowhereElse(t *testing.T) {
	t.Parallel()
	seal, from := wishKeys(t)
	sealed, err := job.SealWish(seal, "default", "w1", job.Wish{From: from, Stop: true, At: time.UnixMilli(1)})
	require.NoError(t, err)
	_, err = job.OpenWish(seal, "default", "w2", sealed)
	require.ErrorIs(t, err, keys.ErrForged)
	_, err = job.OpenWish(seal, "other", "w1", sealed)
	require.Error(t, err)
	_, err = job.Open(seal, job.Envelope{ID: "w1", Lane: job.LaneNotice, Pool: "default", Sealed: sealed})
	require.ErrorIs(t, err, keys.ErrForged, "a wish is no job")
	_, err = job.SealWish(seal, "default", "w1", job.Wish{Stop: true})
	require.ErrorIs(t, err, job.ErrMalformed)
}

func TestWish_OfOtherFormats(t *testing.T) {
	t.Parallel()
	seal, _ := wishKeys(t)
	for plain, want := range map[string]error{
		`{"v":2,"who":"x"}`:                          job.ErrNewerFormat,
		`{"v":1,"from":"+905551234567","at":1}`:      job.ErrMalformed,
		`{"v":1,"from":"905551234567","stop":true}`:  job.ErrMalformed,
		`{"v":1,"stop":true}`:                        job.ErrMalformed,
		`{"v":1,"from":"+905551234567","stop":"no"}`: job.ErrMalformed,
		`STOP`: job.ErrMalformed,
	} {
		sealed, err := seal.Seal("default", []byte("wabek wish/default/w1"), []byte(plain))
		require.NoError(t, err)
		_, err = job.OpenWish(seal, "default", "w1", sealed)
		require.ErrorIs(t, err, want, plain)
		require.NotContains(t, err.Error(), "905551234567")
	}
	_, err := job.OpenWish(seal, "default", "w1", []byte{9})
	require.ErrorIs(t, err, job.ErrNewerFormat)
}

// Whatever comes as a sealed wish opens only if it is the one that was sealed, for that pool and id.
func FuzzOpenWish(f *testing.F) {
	seal, from := wishKeys(f)
	good, err := job.SealWish(seal, "default", "w1", job.Wish{From: from, Stop: true, At: time.UnixMilli(1)})
	require.NoError(f, err)
	f.Add(good, "default", "w1")
	f.Add(good, "default", "w2")
	f.Add(good, "other", "w1")
	f.Add(good[:len(good)-1], "default", "w1")
	f.Add([]byte{}, "", "")
	f.Add([]byte{2}, "default", "w1")
	f.Fuzz(func(t *testing.T, sealed []byte, pool, id string) {
		w, err := job.OpenWish(seal, pool, id, sealed)
		mine := pool == "default" && id == "w1" // seeds come from another process, sealed with a nonce of its own
		if err == nil {
			require.True(t, mine)
			require.Equal(t, from, w.From)
		}
		if mine && bytes.Equal(sealed, good) {
			require.NoError(t, err)
		}
	})
}
