package text_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"wabek/internal/text"
)

var update = flag.Bool("update", false, "rewrite generated files")

const (
	code = "048213"
	life = 10 * time.Minute
)

// languages is the shipped ones; with each what its texts say of keeping the code to oneself, and how they count minutes.
var languages = map[string]struct {
	warning string
	minutes map[int]string
}{
	"en": {"Do not share it with anyone.", map[int]string{1: "for 1 minute.", 2: "for 2 minutes.", 10: "for 10 minutes.", 21: "for 21 minutes."}},
	"tr": {"Lütfen kimseyle paylaşmayın.", map[int]string{1: "1 dakika geçerlidir", 10: "10 dakika geçerlidir"}},
	"ar": {"يُرجى عدم مشاركته مع أي شخص.", map[int]string{
		1: "لمدة دقيقة واحدة.", 2: "لمدة دقيقتين.", 3: "لمدة 3 دقائق.", 10: "لمدة 10 دقائق.", 11: "لمدة 11 دقيقة.", 30: "لمدة 30 دقيقة.", 60: "لمدة 60 دقيقة.",
		100: "لمدة 100 دقيقة.", 103: "لمدة 103 دقائق.",
	}},
	"de": {"Bitte geben Sie ihn an niemanden weiter.", map[int]string{1: "ist 1 Minute gültig", 2: "ist 2 Minuten gültig", 10: "ist 10 Minuten gültig"}},
	"es": {"No lo comparta con nadie.", map[int]string{1: "durante 1 minuto.", 10: "durante 10 minutos."}},
	"fr": {"Ne le communiquez à personne.", map[int]string{1: "valable 1\u00a0minute.", 2: "valable 2\u00a0minutes.", 10: "valable 10\u00a0minutes."}},
	"it": {"Non lo comunichi a nessuno.", map[int]string{1: "per 1 minuto.", 10: "per 10 minuti."}},
	"nl": {"Deel deze met niemand.", map[int]string{1: "1 minuut geldig", 10: "10 minuten geldig"}},
	"pt": {"Não o divulgue a ninguém.", map[int]string{1: "por 1 minuto.", 10: "por 10 minutos."}},
	"ru": {"Никому его не сообщайте.", map[int]string{
		1: "1 минуту.", 2: "2 минуты.", 4: "4 минуты.", 5: "5 минут.", 10: "10 минут.", 11: "11 минут.", 12: "12 минут.", 21: "21 минуту.", 22: "22 минуты.", 25: "25 минут.",
		60: "60 минут.", 111: "111 минут.", 121: "121 минуту.",
	}},
	"fa": {"لطفاً آن را در اختیار هیچ\u200cکس قرار ندهید.", map[int]string{1: "تا 1 دقیقه", 10: "تا 10 دقیقه"}},
	"id": {"Mohon jangan bagikan kepada siapa pun.", map[int]string{1: "selama 1 menit.", 10: "selama 10 menit."}},
}

var purposes = []string{"default", "login", "password_reset", "payment", "verification"}

func load(tb testing.TB) *text.Texts {
	tb.Helper()
	texts, err := text.Load("")
	require.NoError(tb, err)
	return texts
}

func render(t require.TestingT, texts *text.Texts, r text.Request) string {
	if r.Code == "" {
		r.Code = code
	}
	if r.Life == 0 {
		r.Life = life
	}
	out, err := texts.Render(r)
	require.NoError(t, err)
	return out
}

// codeLine requires that the code is there once, alone on its line, its digits and nothing else.
func codeLine(t require.TestingT, message, code string) {
	lines := 0
	for line := range strings.SplitSeq(message, "\n") {
		if line == code {
			lines++
		}
	}
	require.Equal(t, 1, lines, "lines with the code alone in %q", message)
	require.True(t, utf8.ValidString(message))
	require.LessOrEqual(t, utf8.RuneCountInString(message), text.MaxLength)
}

func TestShipped_TwelveLanguages(t *testing.T) {
	t.Parallel()
	texts := load(t)
	require.Equal(t, []string{"ar", "de", "en", "es", "fa", "fr", "id", "it", "nl", "pt", "ru", "tr"}, texts.Locales())
	require.Equal(t, purposes, texts.Templates())
	require.Len(t, languages, len(texts.Locales()))
}

func TestShipped_EveryTextSaysWhatItMust(t *testing.T) {
	t.Parallel()
	texts := load(t)
	digitsAlone := regexp.MustCompile(`(?m)^[0-9]+$`)
	for tag, expected := range languages {
		firsts := map[string]bool{} // with a name and without
		for _, purpose := range purposes {
			for _, app := range []string{"Acme", ""} {
				for _, params := range []map[string]string{nil, {"amount": "250,00 EUR"}} {
					r := text.Request{App: app, Template: purpose, Purpose: "order", Locale: tag, Params: params}
					message := render(t, texts, r)
					name := tag + "/" + purpose
					require.Equal(t, name, texts.TemplateOf(r))
					codeLine(t, message, code)
					require.Equal(t, []string{code}, digitsAlone.FindAllString(message, -1), name)
					require.Equal(t, 1, strings.Count(message, code), name)
					require.Contains(t, message, expected.warning, name)
					require.Equal(t, app != "", strings.Contains(message, "Acme"), name)
					require.Equal(t, purpose == "payment" && params != nil, strings.Contains(message, "250,00 EUR"), name)
					require.Less(t, utf8.RuneCountInString(message), 250, "%s is short", name)
					require.NotRegexp(t, `[*_~`+"`"+`]|  |no value|(?m)[ \t]$`, message, name)
					first, _, _ := strings.Cut(message, "\n")
					require.True(t, strings.HasSuffix(first, ":"), name)
					firsts[first] = true
				}
			}
			for minutes, says := range expected.minutes {
				message := render(t, texts, text.Request{App: "Acme", Template: purpose, Locale: tag, Life: time.Duration(minutes) * time.Minute})
				require.Contains(t, message, says, "%s, %d minutes", tag, minutes)
			}
		}
		require.Len(t, firsts, 2*len(purposes), "each purpose begins with a sentence of its own in %s", tag)
	}
}

// The text that issue, demo and README show: nobody has named the app there.
func TestShipped_WithoutAnAppItIsTheTextOfOld(t *testing.T) {
	t.Parallel()
	require.Equal(t, "Your verification code:\n\n048213\n\nValid for 10 minutes. Do not share it with anyone.",
		render(t, load(t), text.Request{Purpose: "verification"}))
}

func TestShipped_RightToLeftStaysReadable(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for _, tag := range []string{"ar", "fa"} {
		for _, purpose := range purposes {
			message := render(t, texts, text.Request{
				App: "Acme 24/7 (TR)", Purpose: purpose, Locale: tag, Params: map[string]string{"amount": "-12.50 USD"},
			})
			require.Contains(t, message, "\u2068Acme 24/7 (TR)\u2069", "the name keeps its order in its own isolate")
			if purpose == "payment" {
				require.Contains(t, message, "\u2068-12.50 USD\u2069")
			}
			for line := range strings.SplitSeq(message, "\n") {
				require.Equal(t, strings.Count(line, "\u2068"), strings.Count(line, "\u2069"), "isolates end in their line")
				if line == "" || line == code {
					continue
				}
				first, _ := utf8.DecodeRuneInString(line)
				require.True(t, first >= 0x600 && first <= 0x6ff, "the line begins in its own direction: %q", line)
			}
		}
	}
	require.NotContains(t, render(t, texts, text.Request{App: "Acme", Locale: "en"}), "\u2068")
	require.Contains(t, render(t, texts, text.Request{App: "متجر", Locale: "en"}), "for \u2068متجر\u2069:", "and the other way round")
}

// The file is for people to read: every shipped text, and how each language counts.
func TestShipped_Golden(t *testing.T) {
	t.Parallel()
	texts := load(t)
	var b strings.Builder
	for _, tag := range texts.Locales() {
		for _, purpose := range texts.Templates() {
			fmt.Fprintf(&b, "=== %s/%s\n", tag, purpose)
			r := text.Request{App: "Acme", Template: purpose, Locale: tag}
			b.WriteString(render(t, texts, r) + "\n")
			if purpose == "payment" {
				r.Params = map[string]string{"amount": "250,00 EUR"}
				b.WriteString("--- with an amount\n" + render(t, texts, r) + "\n")
			}
			r.App, r.Params = "", nil
			without, _, _ := strings.Cut(render(t, texts, r), "\n")
			b.WriteString("--- without a name: " + without + "\n")
		}
		fmt.Fprintf(&b, "=== %s: minutes\n", tag)
		for _, minutes := range []int{1, 2, 3, 5, 11, 21, 60} {
			message := render(t, texts, text.Request{Locale: tag, Life: time.Duration(minutes) * time.Minute})
			b.WriteString(strconv.Itoa(minutes) + ": " + message[strings.LastIndexByte(message, '\n')+1:] + "\n")
		}
	}
	file := filepath.Join("testdata", "shipped.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test ./internal/text -update")
	require.Equal(t, string(want), b.String(), "run go test ./internal/text -update")
}
