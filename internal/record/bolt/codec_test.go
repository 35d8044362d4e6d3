package bolt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
)

func anyRecord(t *rapid.T) otp.Record {
	text := rapid.StringN(0, 40, 200)
	ms := func(name string) time.Time { return time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, name)).UTC() }
	r := otp.Record{
		App: text.Draw(t, "app"), Pool: text.Draw(t, "pool"), Masked: text.Draw(t, "masked"), Purpose: text.Draw(t, "purpose"),
		Phone:   phone.Hash(rapid.SliceOfN(rapid.Byte(), phone.HashSize, phone.HashSize).Draw(t, "phone")),
		Digest:  otp.Digest{Pepper: rapid.Uint32().Draw(t, "pepper"), Sum: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum"))},
		Expires: ms("expires"), Attempts: rapid.Byte().Draw(t, "attempts"), MaxAttempts: rapid.Byte().Draw(t, "max"),
		State:    otp.State(rapid.Byte().Draw(t, "state")),
		Delivery: job.State(text.Draw(t, "delivery")), Reason: job.Reason(text.Draw(t, "reason")),
	}
	r.Sends = rapid.Byte().Draw(t, "sends")
	for _, at := range []*time.Time{&r.LastSend, &r.SentAt, &r.DeliveredAt, &r.ReadAt, &r.EndedAt} {
		if rapid.Bool().Draw(t, "set") {
			*at = ms("at")
		}
	}
	if rapid.Bool().Draw(t, "has metadata") {
		r.Metadata = []byte(`{"order":"17"}`)
	}
	if rapid.Bool().Draw(t, "used") {
		r.UsedAt = ms("used at")
	}
	if rapid.Bool().Draw(t, "has a body") {
		r.Sealed = rapid.SliceOfN(rapid.Byte(), 1, 400).Draw(t, "sealed")
	}
	return r
}

func TestCodec_RecordComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord(t)
		value, err := bolt.EncodeRecord(&want)
		require.NoError(t, err)
		var got otp.Record
		require.NoError(t, bolt.DecodeRecord(want.ID, value, &got))
		require.Equal(t, want, got)

		cut := rapid.IntRange(0, len(value)-1).Draw(t, "cut")
		require.ErrorIs(t, bolt.DecodeRecord(want.ID, value[:cut], &got), bolt.ErrCorrupt)
		require.ErrorIs(t, bolt.DecodeRecord(want.ID, append(value, 0), &got), bolt.ErrCorrupt)
		value[0]++
		require.ErrorIs(t, bolt.DecodeRecord(want.ID, value, &got), bolt.ErrNewerFormat)
	})
}

func TestCodec_RowComesBackAsItWas(t *testing.T) {
	t.Parallel()
	want := job.Envelope{
		ID: job.ID(otp.ID{1}.String() + "-3"), Lane: job.LaneOTP, Pool: "default", Target: job.AnySession,
		Expires: time.UnixMilli(1_800_000_000_123).UTC(),
	}
	row, err := bolt.EncodeRow(want)
	require.NoError(t, err)
	want.ID = "" // it is the row's key
	got, err := bolt.DecodeRow(row)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = bolt.DecodeRow(row[:len(row)-1])
	require.ErrorIs(t, err, bolt.ErrCorrupt)
	row[0]++
	_, err = bolt.DecodeRow(row)
	require.ErrorIs(t, err, bolt.ErrNewerFormat)
}

// Version 1 had one message an OTP, no metadata and no times of delivery.
func TestCodec_ReadsVersion1(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord(t)
		want.Sends, want.Metadata = 1, nil
		want.LastSend, want.SentAt, want.DeliveredAt, want.ReadAt, want.EndedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
		value, err := bolt.EncodeRecord(&want)
		require.NoError(t, err)
		old := append(append([]byte{1}, value[1:92]...), value[133:]...)
		var got otp.Record
		require.NoError(t, bolt.DecodeRecord(want.ID, old, &got))
		require.Equal(t, want, got)
	})
	want := job.Envelope{ID: job.ID(otp.ID{1}.String()), Lane: job.LaneOTP, Pool: "default", Target: job.AnySession, Expires: time.UnixMilli(1_800_000_000_123).UTC()}
	row, err := bolt.EncodeRow(want)
	require.NoError(t, err)
	got, err := bolt.DecodeRow(append(append([]byte{1}, row[1:12]...), row[13:]...))
	require.NoError(t, err)
	want.ID = ""
	require.Equal(t, want, got)
}

func TestCodec_RefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	_, err := bolt.EncodeRecord(&otp.Record{Purpose: strings.Repeat("x", 1<<16)})
	require.Error(t, err)
	_, err = bolt.EncodeRow(job.Envelope{ID: job.ID(otp.ID{1}.String()), Pool: strings.Repeat("x", 256)})
	require.Error(t, err)
}

func FuzzDecode(f *testing.F) {
	value, err := bolt.EncodeRecord(&otp.Record{App: "default", Purpose: "login", Sealed: []byte("sealed")})
	require.NoError(f, err)
	row, err := bolt.EncodeRow(job.Envelope{ID: job.ID(otp.ID{1}.String()), Lane: job.LaneOTP, Pool: "default", Target: job.AnySession})
	require.NoError(f, err)
	f.Add(value)
	f.Add(row)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r otp.Record
		if bolt.DecodeRecord(otp.ID{}, data, &r) == nil {
			again, err := bolt.EncodeRecord(&r)
			require.NoError(t, err)
			var twice otp.Record
			require.NoError(t, bolt.DecodeRecord(otp.ID{}, again, &twice))
			require.Equal(t, r, twice)
		}
		_, _ = bolt.DecodeRow(data)
	})
}
