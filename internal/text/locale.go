package text

import (
	"regexp"
	"slices"
	"strings"
)

// longestTag bounds what is looked at of a requested locale (RFC 5646 section 4.4.1 calls 35 characters enough).
const longestTag = 35

// tagForm is what a locale's directory may be called: language, and optionally script, and country or area.
func tagForm() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$`)
}

// Locales finds out of a set of locales the one that serves a reader. It never changes.
type Locales struct {
	tags    []string
	byTag   map[string]string // by tag in lower case, and by older names of the same language
	regions map[string]string // by ISO 3166-1 alpha-2 code
}

// NewLocales makes a set of tags, which are those of Files.
func NewLocales(tags []string) *Locales {
	l := &Locales{tags: slices.Sorted(slices.Values(tags)), byTag: map[string]string{}, regions: map[string]string{}}
	for _, tag := range l.tags {
		l.byTag[strings.ToLower(tag)] = tag
	}
	for older, other := range aliases() {
		if tag := l.Find(other); tag != "" && l.byTag[older] == "" {
			l.byTag[older] = tag
		}
	}
	for _, row := range spoken() {
		for region := range strings.FieldsSeq(row.regions) {
			if tag := l.Find(row.language + "-" + region); tag != "" && l.regions[region] == "" {
				l.regions[region] = tag
			}
		}
	}
	return l
}

// Tags lists the set, sorted: a language comes before its variants.
func (l *Locales) Tags() []string { return slices.Clone(l.tags) }

// Find is the tag of the set that serves a wanted one best: itself, or with subtags left away from its end (RFC 4647
// section 3.4). Case doesn't count, and tr_TR is read like tr-TR. Empty where there is none.
func (l *Locales) Find(tag string) string {
	if tag == "" || len(tag) > longestTag {
		return ""
	}
	tag = lookupForm(tag)
	for {
		if found := l.byTag[tag]; found != "" {
			return found
		}
		i := strings.LastIndexByte(tag, '-')
		if i < 0 {
			return ""
		}
		tag = tag[:i]
	}
}

// Spoken is the tag of the set for a phone's country (ISO 3166-1 alpha-2), empty where none is spoken there.
func (l *Locales) Spoken(region string) string { return l.regions[region] }

// Parent is the tag of the set that one of its tags has texts from where it has none itself: its language without the
// country, unless that is written in another script. Empty where there is none.
func (l *Locales) Parent(tag string) string {
	i := strings.LastIndexByte(tag, '-')
	if i < 0 {
		return ""
	}
	if p := l.Find(tag[:i]); p != "" && script(p) == script(tag) {
		return p
	}
	return ""
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

// Language is what the texts of one language have in common.
type Language struct {
	rightToLeft bool
	plural      plural
}

// LanguageOf is the language of a locale. One that isn't known is written from left to right and counts as most do.
func LanguageOf(tag string) Language {
	base, _, _ := strings.Cut(tag, "-")
	return Language{rightToLeft: rightToLeft(base, script(tag)), plural: pluralOf(base)}
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
