package phone_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/phone"
)

func TestParseIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, region, want string }{
		{"0555 123 45 67", "TR", "+905551234567"},
		{"5551234567", "TR", "+905551234567"},
		{"+90.5551234567", "TR", "+905551234567"},
		{"+4915112345678", "TR", "+4915112345678"},
		{"0151 12345678", "DE", "+4915112345678"},
		{"(201) 555-0123", "US", "+12015550123"},
		{"+905551234567", "", "+905551234567"},
	} {
		n, err := phone.ParseIn(c.in, c.region)
		require.NoError(t, err, c.in)
		require.Equal(t, c.want, n.E164())
	}
	for _, c := range []struct{ in, region string }{
		{"05551234567", ""},
		{"", "TR"},
		{"12", "TR"},
		{"0555abc4567", "TR"},
		{"05551234567", "XX"},
		{"5551234", "US"}, // without the area
		{"0000000000000000000000000000000000000000000", "TR"},
		{"555123456789012345", "TR"},
	} {
		_, err := phone.ParseIn(c.in, c.region)
		require.ErrorIs(t, err, phone.ErrInvalid, c.in)
	}
}
