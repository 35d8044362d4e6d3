package apps_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/apps"
	"wabek/internal/otp"
)

// Whatever is sent as a key lets nobody in but whose key it is.
func FuzzAuthenticate(f *testing.F) {
	k := &kit{docs: &documents{docs: map[string][]byte{}}}
	k.now.Store(1_800_000_000)
	k.open(f)
	key, text, err := k.CreateKey(f.Context(), apps.NewKey{App: otp.DefaultApp, Scopes: apps.Scopes()})
	require.NoError(f, err)
	for _, s := range []string{"", "wbk_", "wbk__", "wbk_" + key.ID, "wbk_" + key.ID + "_", text[:len(text)-1], text + "_", "WBK_" + text[4:], fixed[1:], "\x00\xff"} {
		f.Add(s, "192.0.2.7")
	}
	f.Add(text, "::1%eth0")
	f.Add(fixed, "x")
	f.Fuzz(func(t *testing.T, sent, from string) {
		addr, _ := netip.ParseAddr(from) // the zero address where it is none
		caller, err := k.Authenticate(sent, addr)
		if sent == text || sent == fixed {
			require.NoError(t, err)
			require.Equal(t, otp.DefaultApp, caller.App.Name)
			return
		}
		require.ErrorIs(t, err, apps.ErrWrongKey)
	})
}

// Whatever is given as a network is a network, or refused with the name of the field.
func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "::ffff:192.0.2.1/96", "fe80::1%eth0", "1/33", "0.0.0.0/0", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		network, err := apps.ParseNetwork(text)
		if err != nil {
			var wrong *apps.SettingError
			if require.ErrorAs(t, err, &wrong); wrong.Field != "networks" {
				t.Fatal(wrong.Field)
			}
			return
		}
		require.True(t, network.IsValid())
		again, err := apps.ParseNetwork(network.String())
		require.NoError(t, err)
		require.Equal(t, network, again)
	})
}
