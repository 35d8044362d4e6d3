// Package openapi shows a description of an HTTP API to people.
//
// In: an OpenAPI document and the errors of the API. Out: one page of HTML that needs nothing beside itself. On failure: an
// error that says what of the document can't be read.
package openapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed page.html
var pageTemplate string

//go:embed page.css
var pageStyle string

// What the template shows.
type (
	pageView struct {
		Title, Summary, Description string
		Style                       template.CSS
		Key                         fieldView // the header that carries an API key
		Groups                      []groupView
		Schemas                     []schemaView
		Errors                      []Error
	}
	groupView struct {
		Name, Description string
		Operations        []operationView
	}
	operationView struct {
		ID, Method, Path, Summary, Description string
		Incoming                               bool     // the API makes the request
		Scopes                                 []string // any of which a key must have; none: no key is needed
		Parameters                             []fieldView
		Body                                   *bodyView
		Curl                                   string
		Responses                              []responseView
	}
	bodyView struct {
		Schema   string // its name, empty for one without
		Note     string
		Fields   []fieldView
		Examples []exampleView
	}
	responseView struct {
		Status, Description, Type string
		Good                      bool
		Codes                     []string // of the problem
		Headers                   []fieldView
		Body                      *bodyView
	}
	fieldView struct {
		Name, In, Type, Description, Example string
		Required                             bool
		Schema                               string // name of the schema of an object
		Notes, Values                        []string
		Fields                               []fieldView
	}
	exampleView struct{ Summary, Text string }
	schemaView  struct {
		Name  string
		Field fieldView
	}
)

// Error is one of the kinds of error that the API answers with.
type Error struct {
	Code   string
	Status int    // of HTTP
	Title  string // a sentence without its full stop
	Mend   string // what to do about it, in a little Markdown
}

// Page is the description as HTML.
type Page struct {
	HTML []byte
	// Policy is the page's Content-Security-Policy: it lets in the page's own stylesheet, which stands in it, and nothing else:
	// no script, no picture, no font, no form and no frame around it (CSP Level 3).
	Policy string
}

// NewPage renders an OpenAPI document. The error says what of it can't be read.
func NewPage(document []byte, errors []Error) (Page, error) {
	b := builder{}
	if err := json.Unmarshal(document, &b.d); err != nil {
		return Page{}, fmt.Errorf("read the description of the API: %w", err)
	}
	view := b.view()
	view.Errors = errors
	if b.err != nil {
		return Page{}, fmt.Errorf("show the description of the API: %w", b.err)
	}
	t, err := template.New("page").Funcs(template.FuncMap{"prose": prose}).Parse(pageTemplate)
	if err != nil {
		return Page{}, fmt.Errorf("read the template of the API's page: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, view); err != nil {
		return Page{}, fmt.Errorf("render the API's page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	return Page{HTML: out.Bytes(), Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, nil
}

// builder turns a document into what the template shows. err is the first that was met.
type builder struct {
	d   description
	err error
}

func (b *builder) view() pageView {
	v := pageView{Title: b.d.Info.Title, Summary: b.d.Info.Summary, Description: b.d.Info.Description, Style: template.CSS(pageStyle)} //nolint:gosec // our own file
	for _, s := range b.d.Components.SecuritySchemes {
		v.Key = fieldView{Name: s.Value.Name, In: s.Value.In, Description: s.Value.Description}
	}
	for _, tag := range b.d.Tags {
		g := groupView{Name: tag.Name, Description: tag.Description}
		for i, p := range slices.Concat(b.d.Paths, b.d.Webhooks) {
			for _, m := range p.Value.methods() {
				if slices.Contains(m.Value.Tags, tag.Name) {
					o := b.operation(m.Name, p.Name, p.Value.Parameters, m.Value)
					o.Incoming = i >= len(b.d.Paths)
					g.Operations = append(g.Operations, o)
				}
			}
		}
		v.Groups = append(v.Groups, g)
	}
	for _, s := range b.d.Components.Schemas {
		v.Schemas = append(v.Schemas, schemaView{Name: s.Name, Field: b.whole(s.Value)})
	}
	return v
}

// note keeps the first error.
func note[T any](b *builder, name string, v T, err error) (string, T) {
	b.err = cmp.Or(b.err, err)
	return name, v
}

func (b *builder) operation(method, path string, shared []parameter, o *operation) operationView {
	v := operationView{ID: o.OperationID, Method: method, Path: path, Summary: o.Summary, Description: o.Description}
	for _, needed := range o.Security {
		for _, scopes := range needed {
			v.Scopes = append(v.Scopes, scopes...)
		}
	}
	target := path
	for _, p := range slices.Concat(shared, o.Parameters) {
		name, value, err := find(b.d.Components.Parameters, p.Ref, p)
		_, p = note(b, name, value, err)
		f := b.field(p.Schema)
		f.Name, f.In, f.Required, f.Description = p.Name, p.In, p.Required, cmp.Or(p.Description, f.Description)
		f.Example = cmp.Or(text(p.Example), f.Example)
		v.Parameters = append(v.Parameters, f)
		target = strings.ReplaceAll(target, "{"+p.Name+"}", f.Example)
	}
	for _, m := range o.RequestBody.Content {
		v.Body = b.body(m.Value)
	}
	v.Curl = curl(method, target, len(v.Scopes) > 0, sample(o))
	for _, r := range o.Responses {
		v.Responses = append(v.Responses, b.response(r.Name, r.Value))
	}
	return v
}

// curl is a line that makes the request.
func curl(method, target string, key bool, body string) string {
	line := "curl "
	if method != http.MethodGet {
		line += "-X " + method + " "
	}
	line += `"$WABEK_URL` + target + `"`
	if key {
		line += ` -H "X-API-Key: $WABEK_API_KEY"`
	}
	if body != "" {
		line += " \\\n  -d '" + body + "'"
	}
	return line
}

// sample is the first example of an operation's body.
func sample(o *operation) string {
	if len(o.RequestBody.Content) == 0 {
		return ""
	}
	m := o.RequestBody.Content[0].Value
	if len(m.Examples) > 0 {
		return text(m.Examples[0].Value.Value)
	}
	return text(m.Example)
}

func (b *builder) response(status string, r response) responseView {
	name, value, err := find(b.d.Components.Responses, r.Ref, r)
	_, r = note(b, name, value, err)
	v := responseView{Status: status, Description: r.Description, Good: strings.HasPrefix(status, "2")}
	for _, h := range r.Headers {
		name, value, err := find(b.d.Components.Headers, h.Value.Ref, h.Value)
		_, known := note(b, name, value, err)
		f := b.field(known.Schema)
		f.Name, f.Description = h.Name, known.Description
		v.Headers = append(v.Headers, f)
	}
	for _, m := range r.Content {
		v.Type = m.Name
		v.Codes = codesOf(m.Value.Schema)
		v.Body = b.body(m.Value)
	}
	return v
}

// codesOf are the codes that a problem may have, by the schema of an answer.
func codesOf(s schema) (codes []string) {
	for _, part := range s.AllOf {
		for _, p := range part.Properties {
			for _, code := range p.Value.Enum {
				codes = append(codes, text(code))
			}
		}
	}
	return codes
}

func (b *builder) body(m media) *bodyView {
	f := b.whole(m.Schema)
	v := &bodyView{Schema: f.Schema, Note: f.Description, Fields: f.Fields}
	if len(m.Example) > 0 {
		v.Examples = []exampleView{{Text: pretty(m.Example)}}
	}
	for _, e := range m.Examples {
		v.Examples = append(v.Examples, exampleView{Summary: e.Value.Summary, Text: pretty(e.Value.Value)})
	}
	return v
}

// whole shows a schema with all of its fields.
func (b *builder) whole(s schema) fieldView {
	name, value, err := find(b.d.Components.Schemas, s.Ref, s)
	_, s = note(b, name, value, err)
	v := b.field(s)
	v.Schema = cmp.Or(v.Schema, name)
	return v
}

// field shows a schema. To an object that is referred to it only leads: one may hold itself.
func (b *builder) field(s schema) fieldView {
	own, ref := s.Description, s.Ref
	name, value, err := find(b.d.Components.Schemas, s.Ref, s)
	name, s = note(b, name, value, err)
	v := fieldView{Type: typeOf(s), Description: cmp.Or(own, s.Description), Notes: notes(s)}
	for _, e := range s.Enum {
		v.Values = append(v.Values, text(e))
	}
	if len(s.Examples) > 0 {
		v.Example = text(s.Examples[0])
	}
	if s.Items != nil {
		items := b.field(*s.Items)
		v.Type, v.Schema, v.Values = "list of "+cmp.Or(items.Schema, items.Type), items.Schema, items.Values
		v.Notes = append(v.Notes, items.Notes...)
		v.Description = cmp.Or(v.Description, items.Description)
	}
	if len(s.Properties) > 0 && ref != "" {
		v.Schema = name
		return v
	}
	for _, p := range s.Properties {
		f := b.field(p.Value)
		f.Name, f.Required = p.Name, slices.Contains(s.Required, p.Name)
		v.Fields = append(v.Fields, f)
	}
	return v
}

func typeOf(s schema) string {
	switch {
	case len(s.Const) > 0:
		return string(s.Const)
	case s.Type == "" && len(s.Enum) > 0:
		return "string"
	case s.Type == "integer":
		return "whole number"
	case s.Type == "object" && len(s.Properties) == 0:
		return "object of strings"
	}
	return string(s.Type)
}

// notes are the bounds of a value, in words.
func notes(s schema) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		say("%s to %s", *s.Minimum, *s.Maximum)
	case s.Minimum != nil:
		say("at least %s", *s.Minimum)
	}
	if s.MaxLength != nil {
		say("at most %d characters", *s.MaxLength)
	}
	for _, n := range []*int{s.MaxItems, s.MaxProperties} {
		if n != nil {
			say("at most %d entries", *n)
		}
	}
	if s.MinItems != nil {
		say("at least %d", *s.MinItems)
	}
	if s.Pattern != "" && s.Format == "" {
		say("matches `%s`", s.Pattern)
	}
	if s.Format != "" {
		say("%s", s.Format)
	}
	if string(s.AdditionalProperties) == "true" {
		say("other fields are ignored")
	}
	return list
}

// text is a value as people write it: a string without its quotes, anything else as JSON on a line.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return ""
	}
	return line.String()
}

// pretty is a value as JSON on as many lines as it needs, and a string as it is.
func pretty(raw json.RawMessage) string {
	const wide = 72 // characters that fit on a line of the page
	line := text(raw)
	if len(line) <= wide || raw[0] == '"' {
		return line
	}
	var lines bytes.Buffer
	if err := json.Indent(&lines, raw, "", "  "); err != nil {
		return line
	}
	return lines.String()
}

// prose shows the little of Markdown that our own texts use: paragraphs, **bold** and `code`.
func prose(s string) template.HTML {
	if s == "" {
		return ""
	}
	s = html.EscapeString(s)
	s = regexp.MustCompile("`([^`]+)`").ReplaceAllString(s, "<code>$1</code>")
	s = regexp.MustCompile(`\*\*([^*]+)\*\*`).ReplaceAllString(s, "<strong>$1</strong>")
	return template.HTML("<p>" + strings.ReplaceAll(s, "\n\n", "</p><p>") + "</p>") //nolint:gosec // escaped above
}

// Anchor is where in the page an operation stands.
func (o operationView) Anchor() string { return "op-" + o.ID }

// Known says whether a status is one of HTTP's, and which.
func (r responseView) Known() string {
	status, err := strconv.Atoi(r.Status)
	if err != nil {
		return ""
	}
	return http.StatusText(status)
}
