package phone_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/phone"
)

// WHMCS stores +CC.NNN, and keeps a zero that was typed before the national part. It goes where the country has it as a
// prefix for calls within it, and stays where it belongs to the number.
func TestParse_AsWHMCSWritesIt(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"+90.5551234567":  "+905551234567",
		"+90.05551234567": "+905551234567",
		"+44.01234567890": "+441234567890",
		"+44.07911123456": "+447911123456",
		"+1.4155550100":   "+14155550100",
		"+39.0612345678":  "+390612345678", // Rome
		"+225.0708123456": "+2250708123456",
		"+242.061234567":  "+242061234567",
	} {
		n, err := phone.Parse(in)
		require.NoError(t, err, in)
		require.Equal(t, want, n.E164())
	}
}
