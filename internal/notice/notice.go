// Package notice writes what clients of a hosting company are told about invoices, logins, tickets, services and domains,
// in the language of who gets it.
//
// In: templates, shipped and of a directory of the operator's; then an action of WHMCS, and what WHMCS knows of it and of
// the client. Out: the text of a message, which names the company and says how to get no more of them. On failure: loading
// names every problem with its file and line; writing refuses an action without a text by a typed error, leaves out what
// isn't known or can't be trusted, and never fails because of a template.
package notice

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"wabek/internal/text"
)

// MaxLength bounds a notice in characters, written with the longest values that there may be: more than fits the screen of
// a phone isn't read.
const MaxLength = 1200

// lastLocale is the locale of whom nothing is known.
const lastLocale = "en"

// ErrCompany is returned for a notice without a company's name: nobody could say who writes.
var ErrCompany = errors.New("the company has no name")

// UnknownActionError is returned for an action that there is no text of.
type UnknownActionError struct {
	Action string
	Known  []string // sorted
}

// Error names those that there are.
func (e *UnknownActionError) Error() string {
	return fmt.Sprintf("action %.64q is unknown; there are %s", e.Action, strings.Join(e.Known, ", "))
}

//go:embed shipped
var shipped embed.FS

// Texts is every text that was loaded. It never changes, so that any number of goroutines may use it.
type Texts struct {
	locales *text.Locales
	// By tag and name; a country's variant has those of its language among them.
	texts   map[string]map[string]*text.Template
	actions []string
}

// Load reads the shipped texts and lays those of a directory over them, file by file: <dir>/<locale>/<name>.txt. An empty
// dir is none. The error joins a *text.FileError for each thing that is wrong in the directory.
func Load(dir string) (*Texts, error) {
	var own fs.FS
	if dir != "" {
		own = os.DirFS(dir)
	}
	return load(own, dir)
}

// load is Load with any file system for a directory, or none, called shown in errors.
func load(dir fs.FS, shown string) (*Texts, error) {
	ours, err := fs.Sub(shipped, "shipped")
	if err != nil {
		return nil, fmt.Errorf("load texts of notices: %w", err)
	}
	r := reader{texts: map[string]map[string]*text.Template{}, grammar: grammar()}
	files := &text.Files{IsName: isName, NameRule: nameRule, Take: r.take}
	files.Load(ours, "shipped")
	if dir != nil {
		files.Load(dir, shown)
	}
	t := r.index()
	if err := errors.Join(files.Err(), r.orphans(t)); err != nil {
		return nil, fmt.Errorf("load texts of notices: %w", err)
	}
	return t, nil
}

// reader gathers texts.
type reader struct {
	grammar *text.Grammar
	texts   map[string]map[string]*text.Template // by tag and name
	typed   []typed
}

// typed is a text for one type of an action.
type typed struct{ tag, name, file string }

func (r *reader) take(tag, name, file, source string) []error {
	t, problems := r.grammar.Parse(name, file, source, text.LanguageOf(tag))
	if len(problems) > 0 {
		return problems
	}
	if r.texts[tag] == nil {
		r.texts[tag] = map[string]*text.Template{}
	}
	r.texts[tag][name] = t
	if strings.Contains(name, typeMark) {
		r.typed = append(r.typed, typed{tag, name, file})
	}
	return nil
}

// index makes what Render looks things up in.
func (r *reader) index() *Texts {
	t := &Texts{locales: text.NewLocales(slices.Collect(maps.Keys(r.texts))), texts: map[string]map[string]*text.Template{}}
	actions := map[string]bool{}
	for _, tag := range t.locales.Tags() { // a language comes before its variants
		t.texts[tag] = map[string]*text.Template{}
		maps.Copy(t.texts[tag], t.texts[t.locales.Parent(tag)])
		maps.Copy(t.texts[tag], r.texts[tag])
		for name := range r.texts[tag] {
			if !strings.Contains(name, typeMark) {
				actions[actionOf(name)] = true
			}
		}
	}
	t.actions = slices.Sorted(maps.Keys(actions))
	return t
}

// orphans refuses texts for one type of an action in a locale that has none for all the others: whether an action is known
// mustn't hang on its type.
func (r *reader) orphans(t *Texts) error {
	var problems []error
	for _, o := range r.typed {
		if base, _, _ := strings.Cut(o.name, typeMark); t.texts[o.tag][base] == nil {
			problems = append(problems, &text.FileError{File: o.file, Problem: "has no text for all other types: " + base + ".txt"})
		}
	}
	return errors.Join(problems...)
}

// Actions lists the actions that there are texts of, sorted, as WHMCS spells them: InvoiceCreated.
func (t *Texts) Actions() []string { return slices.Clone(t.actions) }

// Locales lists the tags of all locales, sorted (BCP 47: tr, pt-BR).
func (t *Texts) Locales() []string { return t.locales.Tags() }
