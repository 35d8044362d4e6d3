package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"wabek/internal/text"
)

// FuzzLoad loads anything as a text. Nothing may panic; what is refused is refused with its file; and what is taken keeps
// every promise with the longest and the strangest values, and without those that it doesn't need.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"{{.Code}}", "Your code{{if .App}} for {{.App}}{{end}}:\n\n{{.Code}}\n\nValid for {{plural .Minutes \"one\" \"# minute\" \"other\" \"# minutes\"}}.",
		"{{.Code}}\n{{or .Params.a (and .App \"x\") `y`}}", "{{- .Code -}}", "a\n{{/* c */ -}}\n{{.Code}}\n{{- /* c */}}", "{{define \"text\"}}x{{end}}{{.Code}}",
		"{{block \"x\" .}}{{.Code}}{{end}}", "{{range $i, $e := .Params}}{{break}}{{end}}", "{{with $x := .App}}{{$x}}{{end}}\n{{.Code}}", "{{if .Params.a}}{{else if .App}}{{else with .Code}}{{end}}\n{{.Code}}",
		"{{.Params.a.b}}\n{{.Code}}", "{{(.Params).a}}\n{{.Code}}", "{{nil}}\n{{.Code}}", "{{true}}\n{{.Code}}", "{{1e1000}}\n{{.Code}}", "{{'a'}}{{\"\\n\"}}{{.Code}}", "{{\"\\n\"}}\n{{.Code}}\n{{\"\\n\"}}",
		"{{plural .Minutes \"other\" \"\\n#####\"}}\n{{.Code}}", "{{.Code}}\n{{template \"text\"}}", strings.Repeat("{{if .App}}", 200) + strings.Repeat("{{end}}", 200) + "\n{{.Code}}",
		"\ufeff{{.Code}}\r\n", "\xff", "{{.Code}}\u2028", "{{\n.Code\n}}",
	} {
		f.Add(s, "en")
		f.Add(s, "ar")
	}
	f.Add("{{.Code}}\n{{plural .Minutes \"one\" \"a\" \"few\" \"b\" \"many\" \"c\"}}", "ru")
	f.Fuzz(func(t *testing.T, source, tag string) {
		texts, err := text.Overlay(dir(map[string]string{"en/default.txt": source}), true)
		if tag == "ar" || tag == "ru" {
			texts, err = text.Overlay(dir(map[string]string{tag + "/default.txt": source}), true)
		} else {
			tag = "en"
		}
		if err != nil {
			files := fileErrors(err)
			require.NotEmpty(t, files)
			for _, e := range files {
				require.Equal(t, "dir/"+tag+"/default.txt", e.File)
				require.LessOrEqual(t, e.Line, 1+strings.Count(source, "\n"))
			}
			return
		}
		empty, strange := map[string]string{}, map[string]string{}
		for i, name := range texts.ParamsOf(tag, "default") {
			empty[name], strange[name] = "", strings.Repeat([]string{"*", "ب", "> 9", "{{"}[i%4], text.MaxParam)
			if utf8.RuneCountInString(strange[name]) > text.MaxParam {
				strange[name] = strings.Repeat("> ", text.MaxParam/2)
			}
		}
		requests := []text.Request{
			{Locale: tag, Params: empty},
			{Locale: tag, Params: strange, App: strings.Repeat("ب\n", text.MaxApp), Purpose: strings.Repeat("* ", text.MaxPurpose), Life: 1<<63 - 1},
		}
		for _, r := range requests {
			r.Code = "31415926535897932384626433832795"
			message, err := texts.Render(r)
			require.NoError(t, err)
			codeLine(t, message, r.Code)
			require.NotContains(t, message, "<no value>")
		}
		require.NotErrorAs(t, texts.Check(text.Request{Locale: tag}), new(*text.UnknownTemplateError))
	})
}
