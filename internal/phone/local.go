package phone

import (
	"fmt"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// ParseIn reads a number as it is written in a country, by its code of ISO 3166-1 (alpha-2): with or without the prefix
// that is dialled within it. With a plus it reads an international number, as Parse does; without a country it is Parse.
func ParseIn(s, region string) (Number, error) {
	s = strings.TrimSpace(s)
	if region == "" || s == "" || s[0] == '+' {
		return Parse(s)
	}
	switch {
	case len(s) > maxInput:
		return Number{}, fmt.Errorf("%w: it is longer than %d characters", ErrInvalid, maxInput)
	case !onlyNumberCharacters(s):
		return Number{}, fmt.Errorf("%w: it may hold digits, spaces, dots, dashes and brackets only", ErrInvalid)
	}
	parsed, err := phonenumbers.Parse(s, region)
	if err != nil || !possible(parsed) {
		return Number{}, fmt.Errorf("%w: it is no number of the app's country; write it in international form, like +905551234567", ErrInvalid)
	}
	return Parse(phonenumbers.Format(parsed, phonenumbers.E164))
}
