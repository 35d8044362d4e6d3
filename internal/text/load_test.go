package text_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"wabek/internal/text"
)

// dir is a directory of texts in memory.
func dir(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range files {
		out[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return out
}

func overlay(t *testing.T, files map[string]string) *text.Texts {
	t.Helper()
	texts, err := text.Overlay(dir(files), false)
	require.NoError(t, err)
	return texts
}

func TestLoad_TheOperatorsTextsLieOverTheShippedOnes(t *testing.T) {
	t.Parallel()
	own := t.TempDir()
	for name, content := range map[string]string{
		"tr/login.txt":     "{{/* ours */}}\n\nMerhaba! {{.App}} kodunuz:\n\n{{.Code}}\n\nMüşteri no: {{.Params.customer}}\n\n",
		"pl/default.txt":   "\ufeffTwój kod:\r\n{{.Code}}\r\nWażny {{plural .Minutes \"one\" \"# minutę\" \"few\" \"# minuty\" \"many\" \"# minut\"}}.\r\n",
		"de/welcome.txt":   "Willkommen! {{.Code}}"[:len("Willkommen! ")-1] + "\n{{.Code}}",
		"pt-BR/login.txt":  "Seu código de login:\n{{.Code}}",
		"README.md":        "notes are left alone",
		"tr/login.txt~":    "so is what editors leave behind {{",
		".git/config":      "and what is hidden",
		"en/.login.txt.un": "{{",
	} {
		file := filepath.Join(own, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	texts, err := text.Load(own)
	require.NoError(t, err)
	require.Equal(t, []string{"ar", "de", "en", "es", "fa", "fr", "id", "it", "nl", "pl", "pt", "pt-BR", "ru", "tr"}, texts.Locales())
	require.Equal(t, []string{"default", "login", "password_reset", "payment", "verification", "welcome"}, texts.Templates())

	require.Equal(t, "Merhaba! Acme kodunuz:\n\n048213\n\nMüşteri no: 77",
		render(t, texts, text.Request{App: "Acme", Purpose: "login", Locale: "tr", Params: map[string]string{"customer": "77"}}))
	require.Equal(t, "tr/verification", texts.TemplateOf(text.Request{Purpose: "verification", Locale: "tr"}), "the others stay")
	require.Equal(t, "Twój kod:\n048213\nWażny 10 minut.", render(t, texts, text.Request{Purpose: "login", Region: "PL"}))
	require.Equal(t, "pt-BR/login", texts.TemplateOf(text.Request{Purpose: "login", Region: "BR"}))
	require.Equal(t, "pt/payment", texts.TemplateOf(text.Request{Purpose: "payment", Locale: "pt-BR"}), "a variant has the rest from its language")
	require.Equal(t, "pt/login", texts.TemplateOf(text.Request{Purpose: "login", Region: "PT"}))
}

func TestLoad_FollowsLinks(t *testing.T) {
	t.Parallel()
	own := t.TempDir() // laid out as Kubernetes mounts a ConfigMap
	require.NoError(t, os.MkdirAll(filepath.Join(own, "..2026", "tr"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(own, "..2026", "tr", "login.txt"), []byte("Kod:\n{{.Code}}"), 0o600))
	require.NoError(t, os.Symlink("..2026", filepath.Join(own, "..data")))
	require.NoError(t, os.Symlink(filepath.Join("..data", "tr"), filepath.Join(own, "tr")))
	texts, err := text.Load(own)
	require.NoError(t, err)
	require.Equal(t, "Kod:\n048213", render(t, texts, text.Request{Purpose: "login", Locale: "tr"}))
}

func TestLoad_ADirectoryThatIsntThereIsAnError(t *testing.T) {
	t.Parallel()
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	_, err := text.Load(nowhere)
	require.ErrorContains(t, err, nowhere)
	var file *text.FileError
	require.ErrorAs(t, err, &file)
}

// Each kind of broken text is refused, with its line.
func TestLoad_BrokenTexts(t *testing.T) {
	t.Parallel()
	params := func(n int) string {
		var s strings.Builder
		for i := range n {
			fmt.Fprintf(&s, "{{if .Params.p%d}}x{{end}}\n", i)
		}
		return s.String()
	}
	for name, tc := range map[string]struct {
		text string
		line int
		says string
	}{
		"an action without an end":             {"{{.Code}}\nb {{.App\n\n", 2, "unclosed action"},
		"an action without an end in its line": {"{{.Code}}\n{{if\n\n.App \"x\n}}", 4, "unterminated quoted string in action started in line 2"},
		"an if without an end":                 {"{{.Code}}\n{{if .App}}x\n", 2, "unexpected EOF"},
		"an end too many":                      {"{{.Code}}\n{{end}}", 2, "unexpected {{end}}"},
		"an unknown field":                     {"{{.Code}}\n\n{{.Kode}}", 3, "unknown field .Kode; a text knows .App, .Code, .Minutes, .Purpose and .Params.name"},
		"a field of a field":                   {"{{.Code}}\n{{.App.Name}}", 2, "unknown field .App.Name"},
		"a method":                             {"{{.Code}}\n{{.String}}", 2, "unknown field .String"},
		"an unknown function":                  {"{{.Code}}\n\n{{upper .App}}", 3, `function "upper" not defined; a text knows if, else, end, plural, or, and, not`},
		"printf, which can fill the memory":    {"{{.Code}}\n{{printf \"%1000000000d\" 1}}", 2, `function "printf" not defined`},
		"call":                                 {"{{.Code}}\n{{call .App}}", 2, `function "call" not defined`},
		"index":                                {"{{.Code}}\n{{index .Params \"x\"}}", 2, `function "index" not defined`},
		"a comparison":                         {"{{.Code}}\n{{if eq .App \"x\"}}x{{end}}", 2, `function "eq" not defined`},
		"no code":                              {"Hello\n{{.App}}", 1, "the code is missing: {{.Code}}, on a line of its own"},
		"nothing":                              {"", 1, "the code is missing"},
		"the code twice":                       {"{{.Code}}\n\n{{.Code}}", 3, "the code is here a second time"},
		"the code behind a word":               {"Hello\nYour code: {{.Code}}", 2, "{{.Code}} isn't alone on its line"},
		"the code before a word":               {"Hello\n{{.Code}} is it", 2, "{{.Code}} isn't alone on its line"},
		"the code before a space":              {"Hello\n{{.Code}} \n.", 2, "{{.Code}} isn't alone on its line"},
		"the code in an isolate":               {"Hello\n\u2068{{.Code}}\u2069\n", 2, "{{.Code}} isn't alone on its line"},
		"the code behind a trimmed line break": {"Hello\n{{- .Code}}\n", 2, "{{.Code}} isn't alone on its line"},
		"the code before an if":                {"Hello\n{{.Code}}{{if .App}}\nx{{end}}", 2, "{{.Code}} isn't alone on its line"},
		"the code behind a comment's space":    {"Hello\n{{/* x */}} {{.Code}}", 2, "{{.Code}} isn't alone on its line"},
		"the code on a condition":              {"Hello\n{{if .App}}\n{{.Code}}\n{{end}}", 3, "{{.Code}} must not hang on a condition"},
		"the code in a condition":              {"{{.Code}}\n{{if .Code}}x{{end}}", 2, "the code can be used as {{.Code}} alone"},
		"the code as a choice":                 {"Hello\n{{or .Code \"x\"}}\n", 2, "the code can be used as {{.Code}} alone"},
		"the code in parentheses":              {"Hello\n{{(.Code)}}\n", 2, "the code can be used as {{.Code}} alone"},
		"a loop":                               {"{{.Code}}\n{{range .Params}}x{{end}}", 2, "can't stand in a text"},
		"a loop without an end":                {"{{.Code}}\n{{range 1000000000}}x{{end}}", 2, "can't stand in a text"},
		"with":                                 {"{{.Code}}\n{{with .App}}{{.}}{{end}}", 2, "can't stand in a text"},
		"another text":                         {"{{.Code}}\n\n{{define \"x\"}}y{{end}}", 3, "a text can't define another one"},
		"a call of another text":               {"{{.Code}}\n{{template \"text\" .}}", 2, "can't stand in a text"},
		"a variable":                           {"{{.Code}}\n{{$x := .App}}", 2, "a text has no variables"},
		"the root variable":                    {"{{.Code}}\n{{$.App}}", 2, `"$.App" can't be used; a text knows .App`},
		"a pipeline":                           {"{{.Code}}\n{{.App | or}}", 2, "a text has no pipelines"},
		"all data at once":                     {"{{.Code}}\n{{.}}", 2, `"." can't be used`},
		"all params at once":                   {"{{.Code}}\n{{.Params}}", 2, "a param is used by its name"},
		"a param that can't be there":          {"{{.Code}}\n{{.Params.Name}}", 2, "no param can be called Name"},
		"more params than there may be":        {"{{.Code}}\n" + params(21), 22, "there are more than 20 params"},
		"a field with something behind it":     {"{{.Code}}\n{{.App .Purpose}}", 2, "only a function has something behind it"},
		"a number":                             {"{{.Code}}\n{{5}}", 2, `"5" can't be used`},
		"not of two":                           {"{{.Code}}\n{{if not .App .Purpose}}x{{end}}", 2, "not has too few or too many values behind it"},
		"or of none":                           {"{{.Code}}\n{{or}}", 2, "or has too few or too many values behind it"},
		"plural of another number":             {"{{.Code}}\n{{plural 5 \"one\" \"x\" \"other\" \"y\"}}", 2, "plural has .Minutes behind it"},
		"plural without forms":                 {"{{.Code}}\n{{plural .Minutes}}", 2, "plural has .Minutes behind it"},
		"plural with half a pair":              {"{{.Code}}\n{{plural .Minutes \"one\" \"x\" \"other\"}}", 2, "pairs of a category and a form"},
		"plural with a field for a form":       {"{{.Code}}\n{{plural .Minutes \"one\" .App \"other\" \"x\"}}", 2, "categories and forms are texts in quotes"},
		"plural with a category of elsewhere":  {"{{.Code}}\n{{plural .Minutes \"one\" \"x\" \"few\" \"y\" \"other\" \"z\"}}", 2, `"few" is here a second time, or isn't a category of this language, which has one, other`},
		"plural with a category twice":         {"{{.Code}}\n{{plural .Minutes \"one\" \"x\" \"one\" \"y\" \"other\" \"z\"}}", 2, `"one" is here a second time`},
		"plural that lacks a category":         {"{{.Code}}\n{{plural .Minutes \"one\" \"x\"}}", 2, `plural lacks "other"`},
		"plural as a pipe's end":               {"{{.Code}}\n{{.Minutes | plural \"one\" \"x\"}}", 2, "no pipelines"},
		"too long by itself":                   {"{{.Code}}\n" + strings.Repeat("x", 4000) + "\n\n" + strings.Repeat("y", 100), 1, "longer than 4096 characters"},
		"too long with the longest values":     {"{{.Code}}\n" + strings.Repeat("{{.Params.a}}\n", 16), 17, "longer than 4096 characters"},
		"too long on a condition":              {"{{.Code}}\n{{if .App}}x{{else}}" + strings.Repeat("y", 4096) + "{{end}}", 2, "longer than 4096 characters"},
		"too long with the longest number":     {"{{.Code}}\n{{plural .Minutes \"other\" \"" + strings.Repeat("#", 460) + "\"}}", 2, "longer than 4096 characters"},
		"a control character":                  {"Hello\nyou\x07\n{{.Code}}", 2, "control character"},
		"a control character in quotes":        {"{{.Code}}\n{{or .Params.a \"\\x07\"}}", 2, "control character"},
		"another end of line":                  {"Hello\u2028you\n{{.Code}}", 1, "control character"},
		"a carriage return alone":              {"Hello\n{{.Code}}\rYou", 2, "control character"},
		"no UTF-8":                             {"Hello\n\xff\xfe\n{{.Code}}", 2, "is not UTF-8"},
		"no UTF-8 in quotes":                   {"{{.Code}}\n{{or .Params.a \"\\xff\"}}", 2, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := text.Overlay(dir(map[string]string{"en/login.txt": tc.text}), false)
			require.Error(t, err)
			files := fileErrors(err)
			require.NotEmpty(t, files)
			require.Equal(t, "dir/en/login.txt", files[0].File)
			require.ErrorContains(t, err, fmt.Sprintf("dir/en/login.txt:%d: ", tc.line))
			found := slices.ContainsFunc(files, func(e *text.FileError) bool { return e.Line == tc.line && strings.Contains(e.Problem, tc.says) })
			require.True(t, found, "%v", err)
		})
	}
}

func fileErrors(err error) (out []*text.FileError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, fileErrors(e)...)
		}
		return out
	}
	if file := (*text.FileError)(nil); errors.As(err, &file) {
		out = append(out, file)
	}
	return out
}

func TestLoad_NamesEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := text.Overlay(dir(map[string]string{
		"en/login.txt":          "{{.Kode}}\n{{.Apa}}\n",
		"en/good.txt":           "{{.Code}}",
		"tr/payment.txt":        "Tutar\n{{.Params.amount}}",
		"tr/Big.txt":            "{{.Code}}",
		"tr/note.text":          "{{.Code}}",
		"tr/huge.txt":           "{{.Code}}\n" + strings.Repeat("{{/* x */}}", 2000),
		"turkish/login.txt":     "{{.Code}}",
		"pt_br/login.txt":       "{{.Code}}",
		"login.txt":             "{{.Code}}",
		"de/login.txt/file.txt": "x",
	}), false)
	require.Error(t, err)
	require.Equal(t, []string{
		"dir/de/login.txt: is no file",
		"dir/en/login.txt:1: unknown field .Kode; a text knows .App, .Code, .Minutes, .Purpose and .Params.name",
		"dir/en/login.txt:2: unknown field .Apa; a text knows .App, .Code, .Minutes, .Purpose and .Params.name",
		"dir/login.txt: is no directory; texts are at <locale>/<name>.txt, like tr/login.txt",
		"dir/pt_br: is no locale; a directory is called like tr, pt-BR or zh-Hant",
		"dir/tr/Big.txt: is no text's name; it is 1 to 64 of a-z, 0-9 and underscore, then .txt, like password_reset.txt",
		"dir/tr/huge.txt: is larger than 16384 bytes",
		"dir/tr/note.text: is no text's name; it is 1 to 64 of a-z, 0-9 and underscore, then .txt, like password_reset.txt",
		"dir/tr/payment.txt:1: the code is missing: {{.Code}}, on a line of its own",
		"dir/turkish: is no locale; a directory is called like tr, pt-BR or zh-Hant",
	}, strings.Split(err.Error(), "\n"))
}

func TestLoad_NotMoreFilesThanAnyoneNeeds(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 2001 {
		files[fmt.Sprintf("en/t%d.txt", i)] = "{{.Code}}"
	}
	_, err := text.Overlay(dir(files), false)
	require.ErrorContains(t, err, "more than 2000 texts")
}

// What a text may hold, and what becomes of it.
func TestLoad_GoodTexts(t *testing.T) {
	t.Parallel()
	params := map[string]string{"name": "Ada"}
	for name, tc := range map[string]struct{ text, with, without string }{
		"the code alone":            {"{{.Code}}", "048213", "048213"},
		"the code first":            {"\n\n{{.Code}}\nis it", "048213\nis it", "048213\nis it"},
		"a comment before the code": {"{{/* hello */}}\n{{.Code}}", "048213", "048213"},
		"a param with a stand-in":   {"Dear {{or .Params.name \"customer\"}},\n{{.Code}}", "Dear Ada,\n048213", "Dear customer,\n048213"},
		"a param on a condition":    {"{{if .Params.name}}Dear {{.Params.name}},{{else}}Hello!{{end}}\n\n{{.Code}}", "Dear Ada,\n\n048213", "Hello!\n\n048213"},
		"empty lines at the ends":   {"{{if .Params.name}}Hello{{end}}\n\n{{.Code}}\n\n{{if .Params.name}}Bye{{end}}", "Hello\n\n048213\n\nBye", "048213"},
		"else if, and, not":         {"{{if and .App .Params.name}}a{{else if not .Params.name}}b{{else}}c{{end}}\n{{.Code}}", "a\n048213", "b\n048213"},
		"parentheses":               {"{{if not (or .Params.name .Params.nick)}}x{{end}}\n{{.Code}}", "048213", "x\n048213"},
		"braces":                    {"{{\"{{\"}} {{.Purpose}} {{.Minutes}}\n{{.Code}}", "{{ order 10\n048213", "{{ order 10\n048213"},
		"other alone":               {"{{.Code}}\n{{plural .Minutes \"other\" \"# min\"}}", "048213\n10 min", "048213\n10 min"},
		"formatting of its own":     {"*{{.App}}*\n{{.Code}}\n_x_", "*Acme*\n048213\n_x_", "*Acme*\n048213\n_x_"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			texts := overlay(t, map[string]string{"en/order.txt": tc.text})
			require.Equal(t, tc.with, render(t, texts, text.Request{App: "Acme", Purpose: "order", Params: maps.Clone(params)}))
			require.Equal(t, tc.without, render(t, texts, text.Request{App: "Acme", Purpose: "order"}))
		})
	}
}
