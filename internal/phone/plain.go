package phone

import (
	"regexp"
	"strconv"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// nationalPrefixes maps each calling code to what may stand as a national prefix behind it (the 0 of a number
// written +49 (0)151…), as the library's metadata has it; nil where there is none.
//
//nolint:gochecknoglobals // a table of the library's metadata, made once and never changed
var nationalPrefixes = sync.OnceValue(func() map[int]*regexp.Regexp {
	out := map[int]*regexp.Regexp{}
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return out // every number goes the long way
	}
	for _, m := range all.GetMetadata() {
		code := int(m.GetCountryCode())
		if region := phonenumbers.GetRegionCodeForCountryCode(code); region != m.GetId() && region != "001" {
			continue // a country that shares the code of a larger one, whose rules hold for parsing
		}
		var prefix *regexp.Regexp
		if p := m.GetNationalPrefixForParsing(); p != "" {
			if prefix, err = regexp.Compile("^(?:" + p + ")"); err != nil {
				continue
			}
		}
		out[code] = prefix
	}
	return out
})

// parsePlain is what Parse comes to for a plus and digits with no national prefix among them, which is what programs
// send: the library's own judgement of the length, without its search for other ways to write a number. It takes a
// thirtieth of the time. False means nothing but that the long way must tell.
func parsePlain(s string) (Number, bool) {
	n, err := Restore(s)
	if err != nil {
		return Number{}, false
	}
	code := 0
	for i := 1; i <= 3; i++ { // calling codes have one to three digits, and none begins another
		code = code*10 + int(s[i]-'0')
		prefix, known := nationalPrefixes()[code]
		if !known {
			continue
		}
		national := s[1+i:]
		if national[0] == '0' || prefix != nil && prefix.MatchString(national) {
			return Number{}, false
		}
		digits, err := strconv.ParseUint(national, 10, 64)
		if err != nil {
			return Number{}, false
		}
		country := int32(code) //nolint:gosec // at most 999
		return n, possible(&phonenumbers.PhoneNumber{CountryCode: &country, NationalNumber: &digits})
	}
	return Number{}, false
}
