// Package text writes the messages that carry a code, in the language of who gets them.
//
// In: templates, shipped and of a directory of the operator's; then a code, what it is for, and what is known of the
// reader. Out: the text of a message, with the code alone on its line. On failure: loading names every problem with its
// file and line; writing refuses what a caller got wrong by a typed error, and never fails because of a template.
package text

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Default is the name of the text for purposes that have none of their own.
const Default = "default"

// lastLocale is the locale of whom nothing is known.
const lastLocale = "en"

//go:embed shipped
var shipped embed.FS

// Texts is every text that was loaded. It never changes, so that any number of goroutines may use it.
type Texts struct {
	locales *Locales
	// By tag and name; a country's variant has those of its language among them.
	texts map[string]map[string]*Template
	names []string
}

// Load reads the shipped texts and lays those of a directory over them, file by file: <dir>/<locale>/<name>.txt. An empty
// dir is none. The error joins a *FileError for each thing that is wrong in the directory.
func Load(dir string) (*Texts, error) {
	own, err := fs.Sub(shipped, "shipped")
	if err != nil {
		return nil, fmt.Errorf("load texts: %w", err)
	}
	texts, all := reader()
	all.Load(own, "shipped")
	if dir != "" {
		all.Load(os.DirFS(dir), dir)
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("load texts: %w", err)
	}
	return index(texts), nil
}

// reader reads texts into a map by tag and name.
func reader() (map[string]map[string]*Template, *Files) {
	texts, grammar := map[string]map[string]*Template{}, otps()
	return texts, &Files{
		IsName: isName, NameRule: "1 to 64 of a-z, 0-9 and underscore, then .txt, like password_reset.txt",
		Take: func(tag, name, file, source string) []error {
			t, problems := grammar.Parse(name, file, source, LanguageOf(tag))
			if len(problems) == 0 {
				if texts[tag] == nil {
					texts[tag] = map[string]*Template{}
				}
				texts[tag][name] = t
			}
			return problems
		},
	}
}

// index makes what Render looks things up in.
func index(texts map[string]map[string]*Template) *Texts {
	t := &Texts{locales: NewLocales(slices.Collect(maps.Keys(texts))), texts: map[string]map[string]*Template{}}
	names := map[string]bool{}
	for _, tag := range t.locales.tags { // what comes before it is done, its language too
		t.texts[tag] = map[string]*Template{}
		maps.Copy(t.texts[tag], t.texts[t.locales.Parent(tag)])
		maps.Copy(t.texts[tag], texts[tag])
		for name := range texts[tag] {
			names[name] = true
		}
	}
	t.names = slices.Sorted(maps.Keys(names))
	return t
}

// Locales lists the tags of all locales, sorted (BCP 47: tr, pt-BR).
func (t *Texts) Locales() []string { return t.locales.Tags() }

// Templates lists the names of all texts in any locale, sorted: what Request.Template may be.
func (t *Texts) Templates() []string { return slices.Clone(t.names) }
