package whmcs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/whmcs"
)

// How WHMCS writes numbers: with its Phone Numbers setting on, off, and of before there was one.
func TestNumberOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		client  whmcs.Client
		country string // the app's
		want    string
	}{
		"documented":                     {whmcs.Client{Phone: "7400123456", PhoneCode: "44", Formatted: "+44.7400123456", Country: "GB"}, "", "+447400123456"},
		"a trunk zero":                   {whmcs.Client{PhoneCode: "44", Formatted: "+44.07400123456"}, "", "+447400123456"},
		"a trunk zero, no code":          {whmcs.Client{Phone: "+44.07400 123456"}, "", "+447400123456"},
		"as the snippet reads it":        {whmcs.Client{Phone: "+90.5551234567"}, "", "+905551234567"},
		"under its other name":           {whmcs.Client{Telephone: "+90.5551234567"}, "", "+905551234567"},
		"local digits, client's country": {whmcs.Client{Phone: "0555 123 45 67", Country: "tr"}, "DE", "+905551234567"},
		"local digits, app's country":    {whmcs.Client{Phone: "0555 123 45 67"}, "TR", "+905551234567"},
		"local digits, no country":       {whmcs.Client{Phone: "0555 123 45 67"}, "", ""},
		"international, no dot":          {whmcs.Client{Phone: "+90 555 123 45 67", Country: "DE"}, "", "+905551234567"},
		"another code than the number's": {whmcs.Client{Phone: "+90.5551234567", PhoneCode: "44"}, "", "+905551234567"},
		"nonsense":                       {whmcs.Client{Phone: "call me 5"}, "TR", ""},
		"an Italian zero stays":          {whmcs.Client{Phone: "+39.0612345678"}, "", "+390612345678"},
	} {
		got, none, err := c.client.NumberOf(c.country)
		require.False(t, none, name)
		if c.want == "" {
			require.Error(t, err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, got.E164(), name)
	}
	for _, empty := range []whmcs.Client{{}, {Phone: "  "}, {Phone: "+", Country: "TR"}} {
		_, none, err := empty.NumberOf("TR")
		require.NoError(t, err)
		require.True(t, none)
	}
}

func FuzzNumberOf(f *testing.F) {
	f.Add("+90.5551234567", "90", "TR")
	f.Add("0555 123 45 67", "", "TR")
	f.Add("+.", "0", "")
	f.Fuzz(func(t *testing.T, number, code, country string) {
		c := whmcs.Client{Phone: whmcs.Text(number), PhoneCode: whmcs.Text(code), Country: whmcs.Text(country)}
		n, none, err := c.NumberOf("")
		require.Equal(t, err == nil && !none, !n.IsZero())
	})
}
