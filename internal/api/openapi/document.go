package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// description is an OpenAPI document, as far as the page shows it. Whatever else stands in it is passed over.
type description struct {
	Info struct{ Title, Summary, Description string }
	Tags []struct{ Name, Description string }

	Paths      members[pathItem]
	Webhooks   members[pathItem] // requests that the API makes, by name
	Components struct {
		SecuritySchemes members[struct{ Name, In, Description string }]
		Parameters      members[parameter]
		Headers         members[header]
		Responses       members[response]
		Schemas         members[schema]
	}
}

type pathItem struct {
	Parameters                          []parameter
	Get, Head, Post, Put, Patch, Delete *operation
}

type operation struct {
	OperationID, Summary, Description string
	Tags                              []string
	Security                          []map[string][]string // one of them; each a scheme and the scopes that it needs
	Parameters                        []parameter
	RequestBody                       struct{ Content members[media] }
	Responses                         members[response]
}

type parameter struct {
	Ref                   string `json:"$ref"`
	Name, In, Description string
	Required              bool
	Schema                schema
	Example               json.RawMessage
}

type header struct {
	Ref         string `json:"$ref"`
	Description string
	Schema      schema
}

type response struct {
	Ref         string `json:"$ref"`
	Description string
	Headers     members[header]
	Content     members[media]
}

type media struct {
	Schema   schema
	Example  json.RawMessage
	Examples members[example]
}

type example struct {
	Summary string
	Value   json.RawMessage
}

// schema is a JSON Schema of draft 2020-12, as far as the document uses it.
type schema struct {
	Ref                               string `json:"$ref"`
	Description, Format, Pattern      string
	Type                              typeName
	Const                             json.RawMessage
	Enum, Examples                    []json.RawMessage
	Minimum, Maximum                  *json.Number
	MinLength, MaxLength              *int
	MinItems, MaxItems, MaxProperties *int
	Required                          []string
	Properties                        members[schema]
	Items                             *schema
	AllOf                             []schema
	AdditionalProperties              json.RawMessage // false, true or a schema
}

// members are those of a JSON object in their order, which a map would lose.
type members[T any] []member[T]

type member[T any] struct {
	Name  string
	Value T
}

// UnmarshalJSON reads an object.
func (m *members[T]) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return fmt.Errorf("%v where an object begins", open)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		next := member[T]{Name: fmt.Sprint(name)}
		if err := dec.Decode(&next.Value); err != nil {
			return fmt.Errorf("%s: %w", next.Name, err)
		}
		*m = append(*m, next)
	}
	return nil
}

// find follows a reference like #/components/schemas/Name to its name and what is there. Without a reference it is what
// was given.
func find[T any](in members[T], ref string, given T) (name string, value T, err error) {
	if ref == "" {
		return "", given, nil
	}
	name = ref[strings.LastIndexByte(ref, '/')+1:]
	for _, m := range in {
		if m.Name == name {
			return name, m.Value, nil
		}
	}
	return name, given, fmt.Errorf("there is no %s", ref)
}

// methods are the operations of a path in the order of the page. HEAD is left out: it goes without saying.
func (p *pathItem) methods() []member[*operation] {
	var list []member[*operation]
	for _, m := range []member[*operation]{{"GET", p.Get}, {"POST", p.Post}, {"PUT", p.Put}, {"PATCH", p.Patch}, {"DELETE", p.Delete}} {
		if m.Value != nil {
			list = append(list, m)
		}
	}
	return list
}

// typeName is a schema's type: one, or several, any of which will do.
type typeName string

// UnmarshalJSON reads a name or a list of names.
func (t *typeName) UnmarshalJSON(text []byte) error {
	var names []string
	if json.Unmarshal(text, &names) == nil {
		*t = typeName(strings.Join(names, " or "))
		return nil
	}
	var name string
	err := json.Unmarshal(text, &name)
	*t = typeName(name)
	return err
}
