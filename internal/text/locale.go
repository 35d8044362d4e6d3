package text

import (
	"regexp"
	"strings"
)

// longestTag bounds what is looked at of a requested locale (RFC 5646 section 4.4.1 calls 35 characters enough).
const longestTag = 35

// tagForm is what a locale's directory may be called: language, and optionally script, and country or area.
func tagForm() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$`)
}

// find is the locale that serves a tag best: its own, or with subtags left away from its end (RFC 4647 section 3.4).
// Case doesn't count, and tr_TR is read like tr-TR. Nil where there is none.
func (t *Texts) find(tag string) *locale {
	if tag == "" || len(tag) > longestTag {
		return nil
	}
	tag = lookupForm(tag)
	for {
		if l := t.locales[tag]; l != nil {
			return l
		}
		i := strings.LastIndexByte(tag, '-')
		if i < 0 {
			return nil
		}
		tag = tag[:i]
	}
}

func lookupForm(tag string) string {
	return strings.ToLower(strings.ReplaceAll(tag, "_", "-"))
}

// aliases are tags that mean a language which usually goes by another.
func aliases() map[string]string {
	return map[string]string{
		"in": "id", "iw": "he", // as Java has long called them
		"nb": "no", "no": "nb", "tl": "fil", "prs": "fa", "pes": "fa", "arb": "ar",
		"zh-tw": "zh-Hant", "zh-hk": "zh-Hant", "zh-mo": "zh-Hant",
	}
}

// language is what the texts of one language have in common.
type language struct {
	rightToLeft bool
	plural      plural
}

func languageOf(tag string) language {
	base, _, _ := strings.Cut(tag, "-")
	return language{rightToLeft: rightToLeft(base, script(tag)), plural: pluralOf(base)}
}

// script is the script that a tag names, or "".
func script(tag string) string {
	_, rest, _ := strings.Cut(tag, "-")
	if s, _, _ := strings.Cut(rest, "-"); len(s) == 4 {
		return s
	}
	return ""
}

// rightToLeft says which way a language is written, by its script where the tag names one.
func rightToLeft(base, script string) bool {
	switch script {
	case "":
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg":
		return true
	default:
		return false
	}
	switch base {
	case "ar", "fa", "he", "iw", "ur", "ps", "sd", "ug", "ckb", "yi", "dv":
		return true
	}
	return false
}
