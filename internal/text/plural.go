package text

import (
	"slices"
	"strconv"
	"strings"
)

// plural is how a language counts, by the plural rules of Unicode CLDR for whole numbers.
type plural struct {
	categories string // those that CLDR knows of the language, parted by space; each has other
	of         func(n int) string
}

// Plural categories of CLDR.
const (
	zero, one, two, few, many, other = "zero", "one", "two", "few", "many", "other"
)

// has says whether the language has a category at all.
func (p plural) has(category string) bool {
	return slices.Contains(strings.Fields(p.categories), category)
}

// lacking is the first category of a count from 1 on for which there is no form; other stands in for any.
func (p plural) lacking(forms map[string]string) string {
	if _, ok := forms[other]; ok {
		return ""
	}
	for n := 1; n <= 200; n++ { // every rule repeats after a hundred
		if _, ok := forms[p.of(n)]; !ok {
			return p.of(n)
		}
	}
	return ""
}

// count is the template function plural: of the forms, which follow their categories, the one for n, with n for #.
func (p plural) count(n int, forms ...string) string {
	category, form := p.of(n), ""
	for i := 0; i+1 < len(forms); i += 2 {
		if forms[i] == category {
			form = forms[i+1]
			break
		}
		if forms[i] == other {
			form = forms[i+1]
		}
	}
	return strings.ReplaceAll(form, "#", strconv.Itoa(n))
}

// pluralOf is how a language counts. One that isn't named counts as most do: one, and all others.
func pluralOf(base string) plural {
	switch base {
	case "id", "ja", "ko", "lo", "ms", "my", "th", "vi", "zh", "yue", "jv", "su", "bo", "dz", "km", "wo", "yo", "sah", "to", "tpi":
		return plural{"other", func(int) string { return other }}
	case "ru", "uk", "be":
		return plural{"one few many other", func(n int) string { return slavic(n, many) }}
	case "sr", "hr", "bs", "sh":
		return plural{"one few other", func(n int) string { return slavic(n, other) }}
	case "pl":
		return plural{"one few many other", polish}
	case "cs", "sk":
		return plural{"one few many other", czech}
	case "sl":
		return plural{"one two few other", slovenian}
	case "lt":
		return plural{"one few many other", lithuanian}
	case "lv":
		return plural{"zero one other", latvian}
	case "ro", "mo":
		return plural{"one few other", romanian}
	case "he", "iw":
		return plural{"one two other", hebrew}
	case "ar":
		return plural{"zero one two few many other", arabic}
	case "is", "mk":
		return plural{"one other", icelandic}
	case "fil", "tl":
		return plural{"one other", filipino}
	case "ga":
		return plural{"one two few many other", irish}
	case "cy":
		return plural{"zero one two few many other", welsh}
	case "mt":
		return plural{"one two few many other", maltese}
	case "es", "it", "fr", "pt", "ca": // many is for millions
		return plural{"one many other", oneOther}
	default:
		return plural{"one other", oneOther}
	}
}

func oneOther(n int) string {
	if n == 1 {
		return one
	}
	return other
}

// slavic is few for 2 to 4 but not 12 to 14, of whatever hundred, and one for 1 but not 11.
func slavic(n int, rest string) string {
	teen := n%100 >= 11 && n%100 <= 14
	switch d := n % 10; {
	case d == 1 && !teen:
		return one
	case d >= 2 && d <= 4 && !teen:
		return few
	}
	return rest
}

func polish(n int) string {
	if c := slavic(n, many); c != one || n == 1 {
		return c
	}
	return many
}

func czech(n int) string {
	switch {
	case n == 1:
		return one
	case n >= 2 && n <= 4:
		return few
	}
	return other
}

func slovenian(n int) string {
	switch n % 100 {
	case 1:
		return one
	case 2:
		return two
	case 3, 4:
		return few
	}
	return other
}

func lithuanian(n int) string {
	teen := n%100 >= 11 && n%100 <= 19
	switch d := n % 10; {
	case teen || d == 0:
		return other
	case d == 1:
		return one
	}
	return few
}

func latvian(n int) string {
	teen := n%100 >= 11 && n%100 <= 19
	switch d := n % 10; {
	case teen || d == 0:
		return zero
	case d == 1:
		return one
	}
	return other
}

func romanian(n int) string {
	switch d := n % 100; {
	case n == 1:
		return one
	case n == 0 || d >= 1 && d <= 19:
		return few
	}
	return other
}

func hebrew(n int) string {
	switch n {
	case 1:
		return one
	case 2:
		return two
	}
	return other
}

func arabic(n int) string {
	switch d := n % 100; {
	case n == 0:
		return zero
	case n == 1:
		return one
	case n == 2:
		return two
	case d >= 3 && d <= 10:
		return few
	case d >= 11:
		return many
	}
	return other
}

func icelandic(n int) string {
	if n%10 == 1 && n%100 != 11 {
		return one
	}
	return other
}

func filipino(n int) string {
	if d := n % 10; n > 3 && (d == 4 || d == 6 || d == 9) {
		return other
	}
	return one
}

func irish(n int) string {
	switch {
	case n == 1:
		return one
	case n == 2:
		return two
	case n >= 3 && n <= 6:
		return few
	case n >= 7 && n <= 10:
		return many
	}
	return other
}

func welsh(n int) string {
	switch n {
	case 0:
		return zero
	case 1:
		return one
	case 2:
		return two
	case 3:
		return few
	case 6:
		return many
	}
	return other
}

func maltese(n int) string {
	switch d := n % 100; {
	case n == 1:
		return one
	case n == 2:
		return two
	case n == 0 || d >= 3 && d <= 10:
		return few
	case d >= 11 && d <= 19:
		return many
	}
	return other
}
