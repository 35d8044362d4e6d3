package phone_test

import (
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/phone"
)

func TestRegion(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{
		"+905551234567":  "TR",
		"+12015550123":   "US",
		"+18765551234":   "JM", // shares +1
		"+14165551234":   "CA",
		"+19995551234":   "US", // in no known range of +1
		"+79161234567":   "RU",
		"+77012345678":   "KZ", // shares +7
		"+390612345678":  "IT",
		"+390669812345":  "VA", // shares +39, and its zero counts
		"+447400123456":  "GB",
		"+447781123456":  "GG", // shares +44
		"+38344123456":   "XK",
		"+4915112345678": "DE",
		"+870773111632":  "", // a satellite phone
		"+80012345678":   "", // a free number of the world
	} {
		n, err := phone.Restore(number)
		require.NoError(t, err)
		require.Equal(t, want, n.Region(), number)
	}
	require.Empty(t, phone.Number{}.Region())
	unknown, err := phone.Restore("+9991234567")
	require.NoError(t, err)
	require.Empty(t, unknown.Region(), "no country has the code")
}

func TestIsRegion(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"TR": true, "GB": true, "XK": true, "UK": false, "XX": false, "tr": false, "001": false, "": false, "TUR": false} {
		require.Equal(t, want, phone.IsRegion(s), s)
	}
}

// What the library says of a number that it has read in its own way, Region says too.
func TestRegion_AgreesWithTheLibrary(t *testing.T) {
	t.Parallel()
	agree := func(t require.TestingT, e164 string) {
		n, err := phone.Restore(e164)
		if err != nil {
			return
		}
		parsed, err := phonenumbers.Parse(e164, "")
		if err != nil || phonenumbers.Format(parsed, phonenumbers.E164) != e164 {
			return
		}
		want := phonenumbers.GetRegionCodeForNumber(parsed)
		if want == "" {
			want = phonenumbers.GetRegionCodeForCountryCode(int(parsed.GetCountryCode()))
		}
		if want == "001" {
			want = ""
		}
		require.Equal(t, want, n.Region(), e164)
	}
	seen := 0
	for region := range phonenumbers.GetSupportedRegions() {
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			if n := phonenumbers.GetExampleNumberForType(region, kind); n != nil {
				agree(t, phonenumbers.Format(n, phonenumbers.E164))
				seen++
			}
		}
	}
	require.Greater(t, seen, 500)
	rapid.Check(t, func(t *rapid.T) {
		agree(t, rapid.StringMatching(`\+(1|7|39|44|47|61|[1-9][0-9]{1,2})[0-9]{5,11}`).Draw(t, "digits"))
	})
}

func BenchmarkRegion(b *testing.B) {
	for _, e164 := range []string{"+905551234567", "+12015550123", "+14165551234", "+447400123456", "+79161234567"} {
		n, err := phone.Restore(e164)
		require.NoError(b, err)
		b.Run(n.Region(), func(b *testing.B) {
			for b.Loop() {
				n.Region()
			}
		})
	}
}
