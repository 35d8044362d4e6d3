package text_test

import (
	"maps"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/text"
)

func TestRender_ChoosesTheText(t *testing.T) {
	t.Parallel()
	texts := overlay(t, map[string]string{
		"pl/login.txt":        "Kod:\n{{.Code}}",
		"de/order.txt":        "Bestellung:\n{{.Code}}",
		"zh/default.txt":      "x\n{{.Code}}",
		"zh/login.txt":        "x\n{{.Code}}",
		"zh-Hant/default.txt": "y\n{{.Code}}",
		"fr/only.txt":         "z\n{{.Code}}",
	})
	for name, tc := range map[string]struct {
		request text.Request
		want    string
	}{
		"nothing is known":                             {text.Request{}, "en/default"},
		"the purpose":                                  {text.Request{Purpose: "login"}, "en/login"},
		"a purpose without a text":                     {text.Request{Purpose: "newsletter"}, "en/default"},
		"a purpose written otherwise":                  {text.Request{Purpose: "Password-Reset"}, "en/password_reset"},
		"a purpose with other characters":              {text.Request{Purpose: "login!"}, "en/default"},
		"the locale":                                   {text.Request{Purpose: "login", Locale: "tr"}, "tr/login"},
		"a country's locale":                           {text.Request{Purpose: "login", Locale: "tr-TR"}, "tr/login"},
		"a locale in another case":                     {text.Request{Purpose: "login", Locale: "TR-tr"}, "tr/login"},
		"a locale with an underscore":                  {text.Request{Purpose: "login", Locale: "tr_TR"}, "tr/login"},
		"a locale with everything":                     {text.Request{Purpose: "login", Locale: "de-Latn-CH-1996-x-me"}, "de/login"},
		"the old name of Indonesian":                   {text.Request{Purpose: "login", Locale: "in-ID"}, "id/login"},
		"Taiwan's script":                              {text.Request{Locale: "zh-TW"}, "zh-Hant/default"},
		"China's script":                               {text.Request{Locale: "zh-CN", Purpose: "login"}, "zh/login"},
		"another script than the purpose's":            {text.Request{Locale: "zh-Hant", Purpose: "login"}, "zh-Hant/default"},
		"the locale before the country":                {text.Request{Purpose: "login", Locale: "tr", Region: "DE"}, "tr/login"},
		"an unknown locale":                            {text.Request{Purpose: "login", Locale: "sw", Region: "DE"}, "de/login"},
		"a locale that is none":                        {text.Request{Purpose: "login", Locale: "../../etc", Region: "DE"}, "de/login"},
		"a locale that is too long":                    {text.Request{Locale: "tr-" + strings.Repeat("a", 40), Region: "DE"}, "de/default"},
		"a locale that begins with a dash":             {text.Request{Locale: "-tr", Region: "DE"}, "de/default"},
		"the country":                                  {text.Request{Purpose: "login", Region: "EG", DefaultLocale: "tr"}, "ar/login"},
		"a country of a second choice":                 {text.Request{Region: "KZ"}, "ru/default"},
		"a country whose language isn't there":         {text.Request{Purpose: "login", Region: "JP", DefaultLocale: "tr-TR"}, "tr/login"},
		"no country":                                   {text.Request{Purpose: "login", DefaultLocale: "tr"}, "tr/login"},
		"an unknown default":                           {text.Request{Purpose: "login", Region: "JP", DefaultLocale: "ja"}, "en/login"},
		"a locale that hasn't the purpose":             {text.Request{Purpose: "payment", Locale: "pl", Region: "DE"}, "de/payment"},
		"the language goes before the purpose":         {text.Request{Purpose: "order", Locale: "tr", DefaultLocale: "de"}, "tr/default"},
		"a template":                                   {text.Request{Purpose: "login", Template: "order", Locale: "de"}, "de/order"},
		"a template that the first locale hasn't":      {text.Request{Template: "order", Locale: "tr", DefaultLocale: "de"}, "de/order"},
		"a template that no locale of the request has": {text.Request{Template: "only", Locale: "tr"}, "fr/only"},
		"a template called like a purpose":             {text.Request{Purpose: "login", Template: "payment"}, "en/payment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, texts.TemplateOf(tc.request))
			render(t, texts, tc.request)
		})
	}
}

func TestRender_EveryCountryHasItsLanguage(t *testing.T) {
	t.Parallel()
	for region := range phonenumbers.GetSupportedRegions() {
		require.NotEmpty(t, text.LanguagesOf(region), region)
	}
	texts := load(t)
	for region, want := range map[string]string{
		"TR": "tr", "SA": "ar", "AT": "de", "CH": "de", "MX": "es", "BE": "nl", "SN": "fr", "SM": "it", "BR": "pt", "AO": "pt", "KG": "ru",
		"UA": "en", "IR": "fa", "AF": "fa", "ID": "id", "US": "en", "IE": "en", "PH": "en",
	} {
		require.Equal(t, want+"/default", texts.TemplateOf(text.Request{Region: region}), region)
	}
}

func TestRender_Refuses(t *testing.T) {
	t.Parallel()
	texts := overlay(t, map[string]string{"en/order.txt": "Order {{.Params.order}}{{if .Params.shop}} at {{.Params.shop}}{{end}}:\n{{.Code}}"})
	request := text.Request{Purpose: "order", Code: code, Life: life, Params: map[string]string{"order": "A1"}}

	t.Run("an unknown template, and says which there are", func(t *testing.T) {
		t.Parallel()
		r := request
		r.Template = "ordr"
		var unknown *text.UnknownTemplateError
		_, err := texts.Render(r)
		require.ErrorAs(t, err, &unknown)
		require.ErrorAs(t, texts.Check(r), &unknown)
		require.Equal(t, `template "ordr" is unknown; there are default, login, order, password_reset, payment, verification`, err.Error())
	})
	t.Run("a missing param, by its name", func(t *testing.T) {
		t.Parallel()
		r := request
		r.Params = map[string]string{"shop": "x"}
		var missing *text.MissingParamError
		_, err := texts.Render(r)
		require.ErrorAs(t, err, &missing)
		require.Equal(t, text.MissingParamError{Param: "order", Template: "order"}, *missing)
		require.ErrorAs(t, texts.Check(r), &missing)
		r.Params = request.Params
		require.NoError(t, texts.Check(r), "what the text asks for itself isn't missing")
	})
	t.Run("a bad param", func(t *testing.T) {
		t.Parallel()
		r := request
		r.Params = map[string]string{"order": "A\n048213"}
		var bad *text.ParamError
		_, err := texts.Render(r)
		require.ErrorAs(t, err, &bad)
		require.Equal(t, "order", bad.Param)
	})
	t.Run("a code that isn't one, without repeating it", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{"", "04821a", "048 213", "٠٤٨٢١٣", "048213\n", "-48213", strings.Repeat("7", text.MaxCode+1)} {
			r := request
			r.Code = bad
			_, err := texts.Render(r)
			require.ErrorIs(t, err, text.ErrCode)
			require.NoError(t, texts.Check(r), "which doesn't look at it")
		}
	})
}

func TestRender_NeverPromisesTooMuch(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for life, says := range map[time.Duration]string{
		time.Second: "Valid for 1 minute.", time.Minute: "Valid for 1 minute.", 119 * time.Second: "Valid for 1 minute.",
		2 * time.Minute: "Valid for 2 minutes.", 1<<63 - 1: "Valid for 153722867 minutes.", -time.Hour: "Valid for 1 minute.",
	} {
		require.Contains(t, render(t, texts, text.Request{Life: life}), says)
	}
}

func TestRender_ValuesCantFormatTheText(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for app, shown := range map[string]string{
		"Acme":                   "Acme",
		"*Acme*":                 "∗Acme∗",
		"~Acme~ `x` ```y```":     "∼Acme∼ ‘x‘ ‘‘‘y‘‘‘",
		"_Acme_":                 "＿Acme＿",
		"acme_shop":              "acme_shop", // WhatsApp leaves an underscore inside a word alone
		"acme_":                  "acme＿",
		"- Acme":                 "‐ Acme",
		"-5":                     "-5",
		"> Acme":                 "› Acme",
		" Acme\n\t2 ":            "Acme  2",
		"Ac\u202eme\u2066":       "Acme",
		"Ac\u2028me":             "Ac me",
		"\x00\x1b[2J":            "[2J",
		"Ac\xffme":               "Ac\ufffdme",
		"Şirket & Co.":           "Şirket & Co.",
		"متجر":                   "\u2068متجر\u2069",
		"3 متجر":                 "\u20683 متجر\u2069",
		strings.Repeat("ş", 100): strings.Repeat("ş", text.MaxApp),
	} {
		require.Contains(t, render(t, texts, text.Request{App: app, Purpose: "login"}), "Your login code for "+shown+":\n", "%q", app)
	}
	for _, none := range []string{"", " ", "\n", "\u202e"} {
		require.Contains(t, render(t, texts, text.Request{App: none, Purpose: "login", Locale: "ar"}), "رمز تسجيل دخولك:\n", "%q is no name", none)
	}
}

// Whatever apps are called and callers send, the code stays alone on its line.
func TestRender_NothingBreaksTheCodesLine(t *testing.T) {
	t.Parallel()
	texts := overlay(t, map[string]string{
		"en/order.txt": "{{.App}}\n{{.Code}}\n{{.Purpose}}{{.Params.a}}\n{{or .Params.b .App}}\n{{if .Params.amount}}{{.Params.amount}}{{end}}",
		"fa/order.txt": "{{.App}}{{.Params.a}}\n\n{{.Code}}\n\n{{.Params.amount}}",
	})
	awkward := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.SampledFrom([]rune("*_~`->\n\r\t {}.0123456789aب\u200f\u2028\u2029\u202e\u2066\u2067\u2068\u2069\u200d\u061c\ufeff\x00"))),
		rapid.StringOfN(rapid.RuneFrom(nil, unicode.Arabic, unicode.Latin, unicode.Cf), 0, 300, -1),
		rapid.SampledFrom([]string{"{{.Code}}", "\n{{.Code}}\n", "```", "\n", "\u2068", "999999"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		r := text.Request{
			App: awkward.Draw(t, "app"), Purpose: rapid.OneOf(awkward, rapid.SampledFrom(texts.Templates())).Draw(t, "purpose"),
			Template: rapid.SampledFrom(append(texts.Templates(), "")).Draw(t, "template"),
			Locale:   rapid.OneOf(awkward, rapid.SampledFrom(texts.Locales())).Draw(t, "locale"),
			Region:   rapid.SampledFrom([]string{"", "TR", "SA", "IR", "XX"}).Draw(t, "region"),
			Code:     rapid.StringMatching(`[0-9]{6,10}`).Draw(t, "code"),
			Life:     time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "life")),
			Params:   rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "amount", "unused"}), awkward).Draw(t, "params"),
		}
		if rapid.Bool().Draw(t, "only good params") {
			maps.DeleteFunc(r.Params, func(name, value string) bool {
				return text.CheckParams(map[string]string{name: value}) != nil
			})
		}
		message, err := texts.Render(r)
		if err != nil {
			require.EqualError(t, texts.Check(r), err.Error())
			if text.CheckParams(r.Params) == nil {
				require.ErrorAs(t, err, new(*text.MissingParamError))
			}
			return
		}
		require.NoError(t, text.CheckParams(r.Params))
		others := r // the same with another code has the same lines but for the code's
		others.Code = "31415926535897932384"
		withOther, err := texts.Render(others)
		require.NoError(t, err)
		other := strings.Split(withOther, "\n")
		lines := strings.Split(message, "\n")
		require.Len(t, lines, len(other))
		changed := 0
		for i := range lines {
			if lines[i] != other[i] {
				require.Equal(t, r.Code, lines[i])
				changed++
			}
			require.NotContains(t, lines[i], "no value")
		}
		require.Equal(t, 1, changed)
		require.NotContains(t, message, "\u202e")
		require.True(t, utf8.ValidString(message))
		require.NotRegexp(t, "[*~`]", message)
	})
}

func TestCheckParams(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range text.MaxParams {
		many[string(rune('a'+i))] = "x"
	}
	require.NoError(t, text.CheckParams(many))
	require.NoError(t, text.CheckParams(nil))
	require.NoError(t, text.CheckParams(map[string]string{
		"a": "", "order_2": strings.Repeat("ş", text.MaxParam), strings.Repeat("a", 32): "👨\u200d👩\u200d👧 می\u200cخواهم",
	}))
	many["one_more"] = "x"
	require.EqualError(t, text.CheckParams(many), "params: there are more than 20")
	for name, tc := range map[string]struct{ name, value, says string }{
		"no name":                      {"", "x", "must be called by a letter"},
		"a capital":                    {"Order", "x", "must be called by a letter"},
		"a digit first":                {"1st", "x", "must be called by a letter"},
		"an underscore first":          {"_a", "x", "must be called by a letter"},
		"a dash":                       {"a-b", "x", "must be called by a letter"},
		"a name that is too long":      {strings.Repeat("a", 33), "x", "must be called by a letter"},
		"a value that is too long":     {"a", strings.Repeat("x", text.MaxParam+1), "is longer than 256 characters"},
		"a line break":                 {"a", "x\ny", "control character or a line break"},
		"a tab":                        {"a", "x\ty", "control character or a line break"},
		"a line break of Unicode":      {"a", "x\u2029y", "control character or a line break"},
		"a next line":                  {"a", "x\u0085y", "control character or a line break"},
		"an override of the direction": {"a", "x\u202ey", "changes the direction"},
		"an isolate":                   {"a", "x\u2067y", "changes the direction"},
		"something that isn't UTF-8":   {"a", "x\xff", "is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := text.CheckParams(map[string]string{tc.name: tc.value, "zz": "\n"})
			var bad *text.ParamError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, tc.name, bad.Param)
			require.ErrorContains(t, err, tc.says)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// By the tables of Unicode CLDR.
func TestPlural(t *testing.T) {
	t.Parallel()
	for language, forms := range map[string]string{
		"en":  "1 one 2 other 0 other",
		"xx":  "1 one 2 other",
		"ja":  "1 other 2 other",
		"ru":  "1 one 2 few 4 few 5 many 11 many 12 many 14 many 20 many 21 one 22 few 100 many 101 one 111 many 112 many",
		"sr":  "1 one 2 few 5 other 11 other 21 one",
		"pl":  "1 one 2 few 5 many 12 many 21 many 22 few 101 many",
		"cs":  "1 one 2 few 4 few 5 other 22 other",
		"sl":  "1 one 2 two 3 few 4 few 5 other 101 one 102 two",
		"lt":  "1 one 2 few 9 few 10 other 11 other 19 other 21 one 22 few",
		"lv":  "1 one 2 other 10 zero 11 zero 19 zero 20 zero 21 one 22 other 111 zero",
		"ro":  "1 one 2 few 19 few 20 other 101 few 119 few 120 other",
		"he":  "1 one 2 two 3 other 20 other",
		"ar":  "0 zero 1 one 2 two 3 few 10 few 11 many 99 many 100 other 101 other 102 other 103 few 111 many",
		"is":  "1 one 11 other 21 one",
		"fil": "1 one 2 one 3 one 4 other 5 one 6 other 9 other 10 one 14 other",
		"ga":  "1 one 2 two 3 few 6 few 7 many 10 many 11 other",
		"cy":  "0 zero 1 one 2 two 3 few 4 other 6 many 7 other",
		"mt":  "1 one 2 two 3 few 10 few 11 many 19 many 20 other 103 few",
	} {
		fields := strings.Fields(forms)
		for i := 0; i < len(fields); i += 2 {
			n := 0
			for _, d := range fields[i] {
				n = 10*n + int(d-'0')
			}
			require.Equal(t, fields[i+1], text.Plural(language, n), "%s %d", language, n)
		}
	}
}
