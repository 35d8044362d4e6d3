package phone_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/keys"
	"wabek/internal/phone"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want, says string }{
		{in: "+905551234567", want: "+905551234567"},
		{in: " +90 555 123 45 67 ", want: "+905551234567"},
		{in: "+90.5551234567", want: "+905551234567"},
		{in: "+1 (415) 555-0100", want: "+14155550100"},
		{in: "+4915112345678", want: "+4915112345678"},
		{in: "", says: "empty"},
		{in: "   ", says: "empty"},
		{in: "905551234567", says: "must begin with +"},
		{in: "+", says: "unknown"},
		{in: "+90555", says: "too few or too many"},
		{in: "+905551234567890123", says: "too few or too many"},
		{in: "+15551234", says: "too few or too many"}, // reaches somebody within one city alone
		{in: "+1 (1) 5551234", says: "too few or too many"},
		{in: "+999123456789", says: "unknown"},
		{in: "+90555CALLME1", says: "digits, spaces"},
		{in: "+90555\x001234567", says: "digits, spaces"},
		{in: "+٩٠٥٥٥١٢٣٤٥٦٧", says: "digits, spaces"},
		{in: "+" + strings.Repeat("9", 100), says: "longer than"},
	} {
		t.Run(tc.in, func(t *testing.T) {
			t.Parallel()
			got, err := phone.Parse(tc.in)
			if tc.says != "" {
				require.ErrorIs(t, err, phone.ErrInvalid)
				require.ErrorContains(t, err, tc.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got.E164())
			require.Equal(t, strings.TrimPrefix(tc.want, "+"), got.Digits())
		})
	}
}

func TestRestore_TakesOnlyWhatParseGivesOut(t *testing.T) {
	t.Parallel()
	n, err := phone.Restore("+905551234567")
	require.NoError(t, err)
	require.Equal(t, "+905551234567", n.E164())
	for _, bad := range []string{"", "+", "905551234567", "+0905551234", "+90555", "+90555123456789012", "+9055512345 7"} {
		_, err := phone.Restore(bad)
		require.ErrorIs(t, err, phone.ErrInvalid, bad)
	}
}

func TestNumber_NothingPrintsItWhole(t *testing.T) {
	t.Parallel()
	n, err := phone.Parse("+905551234567")
	require.NoError(t, err)
	asJSON, err := json.Marshal(struct{ N phone.Number }{n})
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "phone", n, "in", struct{ N phone.Number }{n})
	for _, printed := range []string{
		n.String(), fmt.Sprint(n), fmt.Sprintf("%v %+v %s %q", n, n, n, n), fmt.Sprintf("%#v", n),
		fmt.Sprint(struct{ N phone.Number }{n}), string(asJSON), log.String(),
	} {
		require.NotContains(t, printed, "555123", printed)
	}
	require.Equal(t, "+90•••••4567", n.Masked())
	require.Equal(t, "(no number)", phone.Number{}.String())
}

func TestMasked_HidesFourDigitsAtLeast(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"+2902345": "+29•••••5", "+29023456": "+29•••••56", "+683712345": "+68•••••345", "+3545812345": "+35•••••2345", "+905551234567": "+90•••••4567",
	} {
		n, err := phone.Restore(in)
		require.NoError(t, err)
		require.Equal(t, want, n.Masked())
	}
}

func TestHash_IsKeyedAndStable(t *testing.T) {
	t.Parallel()
	a, _ := phone.Parse("+905551234567")
	same, _ := phone.Parse("+90 555 123 4567")
	other, _ := phone.Parse("+905551234568")
	require.Equal(t, a.Hash(keys.NewMAC([]byte("k"))), same.Hash(keys.NewMAC([]byte("k"))))
	require.NotEqual(t, a.Hash(keys.NewMAC([]byte("k"))), other.Hash(keys.NewMAC([]byte("k"))))
	require.NotEqual(t, a.Hash(keys.NewMAC([]byte("k"))), a.Hash(keys.NewMAC([]byte("l"))))
}

func TestParse_WhatItGivesOutItTakesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, err := phone.Parse(rapid.StringMatching(`\+[1-9][0-9 .()-]{6,16}`).Draw(t, "text"))
		if err != nil {
			return
		}
		again, err := phone.Parse(n.E164())
		require.NoError(t, err)
		require.Equal(t, n, again)
		restored, err := phone.Restore(n.E164())
		require.NoError(t, err)
		require.Equal(t, n, restored)
	})
}

// The short way may say nothing; what it says, the library says too.
func TestParse_TheShortWayAgreesWithTheLibrary(t *testing.T) {
	t.Parallel()
	agree := func(t require.TestingT, s string) bool {
		short, ok := phone.ParsePlain(s)
		if !ok {
			return false
		}
		long, err := phone.ParseAny(s)
		require.NoError(t, err, s)
		require.Equal(t, long.E164(), short.E164(), s)
		return true
	}
	short := 0
	for region := range phonenumbers.GetSupportedRegions() {
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			if n := phonenumbers.GetExampleNumberForType(region, kind); n != nil {
				if agree(t, phonenumbers.Format(n, phonenumbers.E164)) && kind == phonenumbers.MOBILE {
					short++
				}
			}
		}
	}
	require.Greater(t, short, 200, "the mobiles of most countries take it")
	rapid.Check(t, func(t *rapid.T) {
		agree(t, rapid.StringMatching(`\+[1-9][0-9]{5,15}`).Draw(t, "digits"))
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"+905551234567", "+1 (415) 555-0100", "", "+", "00905551234567", "+٩٠"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := phone.Parse(s)
		if err == nil {
			_, err = phone.Restore(n.E164())
			require.NoError(t, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := phone.Parse("+905551234567"); err != nil {
			b.Fatal(err)
		}
	}
}
