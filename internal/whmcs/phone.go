package whmcs

import (
	"strings"

	"wabek/internal/phone"
)

// NumberOf is a client's telephone number. WHMCS stores +CC.NNN where its Phone Numbers setting is on (the default since
// 7.4), and whatever was typed in older rows: local digits, with or without a trunk zero. So the calling code is taken
// from where WHMCS says it, and a number without one is of the client's country, or else of the app's. The error is
// package phone's; a client without any digits is none, without an error.
func (c *Client) NumberOf(appCountry string) (number phone.Number, none bool, err error) {
	country := strings.ToUpper(strings.TrimSpace(string(c.Country)))
	if country == "" {
		country = appCountry
	}
	code := digits(string(c.PhoneCode))
	for _, text := range []Text{c.Formatted, c.Telephone, c.Phone} {
		s := strings.TrimSpace(string(text))
		if digits(s) == "" {
			continue
		}
		if national, ok := withoutCode(s, code); ok {
			return ignoreNone(phone.Parse("+" + code + national)) // which drops a trunk zero, where the country has one
		}
		if cc, national, ok := strings.Cut(strings.TrimPrefix(s, "+"), "."); ok && s[0] == '+' { // +44.01234567890
			return ignoreNone(phone.Parse("+" + digits(cc) + digits(national)))
		}
		return ignoreNone(phone.ParseIn(s, country))
	}
	return phone.Number{}, true, nil
}

// withoutCode is the national part of +CC.NNN or +CCNNN with a known code.
func withoutCode(s, code string) (string, bool) {
	if code == "" || s[0] != '+' {
		return "", false
	}
	return strings.CutPrefix(digits(s), code)
}

func ignoreNone(n phone.Number, err error) (phone.Number, bool, error) { return n, false, err }

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}
