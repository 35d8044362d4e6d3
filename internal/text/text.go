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
	"strings"
)

// Default is the name of the text for purposes that have none of their own.
const Default = "default"

// lastLocale is the locale of whom nothing is known.
const lastLocale = "en"

//go:embed shipped
var shipped embed.FS

// Texts is every text that was loaded. It never changes, so that any number of goroutines may use it.
type Texts struct {
	locales map[string]*locale // by tag in lower case, and by older names of the same language
	regions map[string]*locale // by ISO 3166-1 alpha-2 code
	tags    []string
	names   []string
}

// locale is the texts of one language or one country's variant of it, those of its language among them.
type locale struct {
	tag   string
	texts map[string]*written
}

// Load reads the shipped texts and lays those of a directory over them, file by file: <dir>/<locale>/<name>.txt. An empty
// dir is none. The error joins a *FileError for each thing that is wrong in the directory.
func Load(dir string) (*Texts, error) {
	own, err := fs.Sub(shipped, "shipped")
	if err != nil {
		return nil, fmt.Errorf("load texts: %w", err)
	}
	var all loader
	all.load(own, "shipped")
	if dir != "" {
		all.load(os.DirFS(dir), dir)
	}
	if err := all.err(); err != nil {
		return nil, fmt.Errorf("load texts: %w", err)
	}
	return index(all.texts), nil
}

// index makes what Render looks things up in.
func index(texts map[string]map[string]*written) *Texts {
	t := &Texts{locales: map[string]*locale{}, regions: map[string]*locale{}, tags: slices.Sorted(maps.Keys(texts))}
	names := map[string]bool{}
	// A tag sorts behind those that it begins with, so a country's variant finds its language done. What it doesn't
	// have itself it has from there, unless that is another script.
	for _, tag := range t.tags {
		l := &locale{tag: tag, texts: map[string]*written{}}
		if parent := t.find(tag); parent != nil && script(parent.tag) == script(tag) {
			maps.Copy(l.texts, parent.texts)
		}
		maps.Copy(l.texts, texts[tag])
		t.locales[strings.ToLower(tag)] = l
		for name := range texts[tag] {
			names[name] = true
		}
	}
	t.names = slices.Sorted(maps.Keys(names))
	for older, tag := range aliases() {
		if l := t.find(tag); l != nil && t.locales[older] == nil {
			t.locales[older] = l
		}
	}
	for _, row := range spoken() {
		for region := range strings.FieldsSeq(row.regions) {
			if l := t.find(row.language + "-" + region); l != nil && t.regions[region] == nil {
				t.regions[region] = l
			}
		}
	}
	return t
}

// Locales lists the tags of all locales, sorted (BCP 47: tr, pt-BR).
func (t *Texts) Locales() []string { return slices.Clone(t.tags) }

// Templates lists the names of all texts in any locale, sorted: what Request.Template may be.
func (t *Texts) Templates() []string { return slices.Clone(t.names) }
