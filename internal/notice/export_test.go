package notice

import (
	"io/fs"
	"strings"
)

// Overlay is Load with a directory in memory, called dir in errors.
func Overlay(dir fs.FS) (*Texts, error) { return load(dir, "dir") }

// TextOf is the text that a request chooses, as its locale and whether it is for the type alone.
func (t *Texts) TextOf(r Request) (tag string, typed bool) {
	tag, w := t.lookup(&r)
	return tag, w != nil && w == t.texts[tag][nameOf(r.Action)+typeMark+typeOf(r.Type)]
}

// Names is the names of all texts of a locale.
func (t *Texts) Names(tag string) (names []string) {
	for name := range t.texts[tag] {
		names = append(names, name)
	}
	return names
}

// ActionOf is the action of a text, and the type that it is for.
func ActionOf(name string) (action, typ string) {
	base, typ, _ := strings.Cut(name, typeMark)
	return actionOf(base), typ
}

// What a text is called.
var (
	NameOf = nameOf
	IsName = isName
)

// Link and StopWord are what stands in a text.
var (
	Link     = link
	StopWord = stopWord
)
