package console

import "net/http"

// Source says where a setting's value comes from.
type Source string

// The sources.
const (
	FromEnvironment Source = "environment" // a variable of the server's environment
	FromApp         Source = "app"         // a setting of the app's own
	FromDefault     Source = "default"     // nothing was set
	Fixed           Source = "fixed"       // wabek always does so
)

// Setting is a value in force.
type Setting struct {
	Name   string // as people say it, like "Length"
	Value  string
	Unit   string // empty for none
	Source Source
	From   string // the variable, or the app's setting, that the value is from or could be from; empty for none
	Doc    string // a sentence or two
}

// Group is settings that belong together.
type Group struct {
	Title    string
	Settings []Setting
}

// Snippet is a program that uses the API.
type Snippet struct {
	Title string // of its tab, like PHP
	Run   string // the command that runs it; empty for none
	Needs string // what must be there for it, like PHP 7.4; empty for nothing
	Text  string
}

// Link leads to a page of documentation.
type Link struct {
	Title string
	URL   string
}

// liveView is what the live test shows.
type liveView struct {
	Locales []string
}

func (c *Console) liveView(*http.Request) any { return liveView{Locales: c.o.Locales} }

// integrationView is what the page on integration shows.
type integrationView struct {
	Snippets []Snippet // with this server's address
	Links    []Link
	NewKey   string
}

func (c *Console) integrationView(r *http.Request) any {
	v := integrationView{Links: c.o.Links, NewKey: c.o.NewKey}
	if c.o.Snippets != nil {
		v.Snippets = c.o.Snippets(c.base(r))
	}
	return v
}

// settingsView is what the page of settings shows.
type settingsView struct {
	Groups []Group
}

func (c *Console) settingsView(*http.Request) any { return settingsView{Groups: c.o.Settings()} }
