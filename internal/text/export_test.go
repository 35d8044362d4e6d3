package text

import "io/fs"

// Overlay is Load with a directory in memory, called dir in errors; without the shipped texts where alone.
func Overlay(dir fs.FS, alone bool) (*Texts, error) {
	texts, all := reader()
	if own, err := fs.Sub(shipped, "shipped"); err != nil {
		return nil, err
	} else if !alone {
		all.Load(own, "shipped")
	}
	all.Load(dir, "dir")
	if err := all.Err(); err != nil {
		return nil, err
	}
	return index(texts), nil
}

// ParamsOf is which params a text of a locale uses.
func (t *Texts) ParamsOf(tag, name string) []string { return t.texts[t.locales.Find(tag)][name].params }

// Plural is the form that a language takes for n.
func Plural(base string, n int) string { return pluralOf(base).of(n) }

// LanguagesOf is the languages that may serve a country, the best first.
func LanguagesOf(region string) (out []string) {
	for _, row := range spoken() {
		for i := 0; i+2 <= len(row.regions); i += 3 {
			if row.regions[i:i+2] == region {
				out = append(out, row.language)
			}
		}
	}
	return out
}

// TemplateOf is the text that a request chooses, as locale/name.
func (t *Texts) TemplateOf(r Request) string {
	w := t.lookup(&r)
	for _, tag := range t.locales.tags {
		if w != nil && t.texts[tag][w.name] == w {
			return tag + "/" + w.name // the shortest tag, which is the one that the text was written for
		}
	}
	return ""
}
