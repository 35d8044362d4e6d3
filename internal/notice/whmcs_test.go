package notice_test

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/notice"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	for name, tag := range map[string]string{
		"english": "en", "turkish": "tr", "arabic": "ar", "german": "de", "portuguese-br": "pt-BR", "portuguese-pt": "pt-PT", "farsi": "fa", "hebrew": "he",
		"chinese": "zh-TW", "norwegian": "nb", "ukrainian": "uk", "azerbaijani": "az", "macedonian": "mk", "estonian": "et", "catalan": "ca",
		"croatian": "hr", "czech": "cs", "danish": "da", "dutch": "nl", "french": "fr", "hungarian": "hu", "italian": "it", "romanian": "ro", "russian": "ru",
		"spanish": "es", "swedish": "sv",
		"ukranian":   "uk", //nolint:misspell // WHMCS calls it so
		" Turkish\n": "tr", "ENGLISH": "en",
		"": "", "klingon": "", "tr": "", "english=en": "", "english turkish": "",
	} {
		require.Equal(t, tag, notice.Language(name), name)
	}
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ amount, currency, want string }{
		{"120.00", "USD", "120.00 USD"},
		{" 120.00 ", " usd ", "120.00 USD"},
		{"0.00", "TRY", "0.00 TRY"},
		{"5", "JPY", "5 JPY"},
		{"-12.50", "EUR", "-12.50 EUR"},
		{"1,234.50", "USD", "1,234.50 USD"},
		{"1.234,50", "EUR", "1.234,50 EUR"},
		{"1 234,50", "PLN", "1 234,50 PLN"},
		{"1'234.50", "CHF", "1'234.50 CHF"},
		{"$120.00 USD", "", "120.00 USD"},
		{"$120.00 USD", "EUR", "120.00 USD"}, // what the amount says itself
		{"$120.00", "USD", "120.00 USD"},
		{"-$120.00", "USD", "-120.00 USD"},
		{"$-120.00", "USD", "-120.00 USD"},
		{"$120.00", "", "$ 120.00"},
		{"120,00 €", "", "120,00 €"},
		{"120.00 د.إ", "AED", "120.00 AED"},
		{"Rs. 120.00", "INR", "120.00 INR"},
		{"120.00", "", ""},
		{"120.00", "$$", ""},
		{"120.00", "U.S", ""},
		{"", "USD", ""},
		{"free", "USD", ""},
		{"12..00", "USD", ""},
		{"12 of 15", "USD", ""},
		{"1e9", "USD", ""},
		{"12\n00", "USD", ""},
		{"12.00\nUSD https://evil.example", "USD", ""},
		{"9999999999999999999999999", "USD", ""},
		{"١٢٠", "AED", ""},
		{"12\xff", "USD", ""},
	} {
		require.Equal(t, tc.want, notice.Money(tc.amount, tc.currency), "%q %q", tc.amount, tc.currency)
	}
	rapid.Check(t, func(t *rapid.T) {
		got := notice.Money(rapid.StringMatching(`.{0,3}[0-9.,]{0,8}.{0,4}`).Draw(t, "amount"), rapid.String().Draw(t, "currency"))
		require.LessOrEqual(t, utf8.RuneCountInString(got), 40, "it fits a text whole")
		require.NotContains(t, got, "\n")
	})
}

func TestDate(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]notice.Day{
		"2026-12-01": {Year: 2026, Month: time.December, Day: 1}, " 2028-02-29 ": {Year: 2028, Month: time.February, Day: 29},
		"2026-12-01 23:59:59": {Year: 2026, Month: time.December, Day: 1},
		"0000-00-00":          {}, "0000-00-00 00:00:00": {}, "": {}, "2026-02-29": {}, "2026-13-01": {}, "01/12/2026": {}, "2026-12-1": {}, "2026-12-01T00:00": {}, "tomorrow": {},
	} {
		day, ok := notice.Date(s)
		require.Equal(t, want, day, s)
		require.Equal(t, !want.IsZero(), ok, s)
		if ok {
			again, _ := notice.Date(day.String())
			require.Equal(t, day, again)
		}
	}
	require.Empty(t, notice.Day{}.String())
}
