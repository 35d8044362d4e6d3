package phone

import (
	"strconv"

	"github.com/nyaruka/phonenumbers"
)

// world is what the library calls the region of numbers that belong to no country, like those of satellite phones.
const world = "001"

// IsRegion says whether a text is what Region may return for some number: a country's two letters, which UK isn't.
func IsRegion(s string) bool { return s != world && phonenumbers.GetCountryCodeForRegion(s) != 0 }

// Region is the country or territory that the number belongs to, as two letters of ISO 3166-1 alpha-2 (TR, and XK for
// Kosovo), or "" where it belongs to none. Countries that share a calling code are told apart by the digits behind it;
// a number in none of their known ranges counts as the largest one's, since ranges are added faster than any table.
func (n Number) Region() string {
	code := 0
	for i := 1; i <= 3 && i < len(n.e164); i++ { // calling codes have one to three digits, and none begins another
		code = code*10 + int(n.e164[i]-'0')
		regions := phonenumbers.GetRegionCodesForCountryCode(code)
		switch {
		case len(regions) == 0:
			continue
		case regions[0] == world:
			return ""
		case len(regions) == 1:
			return regions[0]
		}
		if region := phonenumbers.GetRegionCodeForNumber(split(code, n.e164[1+i:])); region != "" {
			return region
		}
		return regions[0]
	}
	return ""
}

// split is a number as the library keeps it, which counts the zeros that a national number begins with, as Italian ones do.
func split(code int, national string) *phonenumbers.PhoneNumber {
	country := int32(code) //nolint:gosec // at most 999
	out := &phonenumbers.PhoneNumber{CountryCode: &country}
	zeros := int32(0)
	for int(zeros) < len(national)-1 && national[zeros] == '0' {
		zeros++
	}
	if zeros > 0 {
		leading := true
		out.ItalianLeadingZero, out.NumberOfLeadingZeros = &leading, &zeros
	}
	if digits, err := strconv.ParseUint(national, 10, 64); err == nil {
		out.NationalNumber = &digits
	}
	return out
}
