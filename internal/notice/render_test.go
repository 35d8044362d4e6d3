package notice_test

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/notice"
)

func TestRender_ChoosesTheText(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for name, tc := range map[string]struct {
		request notice.Request
		tag     string
		typed   bool
	}{
		"the client's language":                    {notice.Request{Action: "InvoiceCreated", Locale: "tr", Region: "DE", DefaultLocale: "ar"}, "tr", false},
		"a variant of it":                          {notice.Request{Action: "InvoiceCreated", Locale: "de_AT"}, "de", false},
		"by country where there is none":           {notice.Request{Action: "InvoiceCreated", Region: "EG", DefaultLocale: "tr"}, "ar", false},
		"by country where it isn't there":          {notice.Request{Action: "InvoiceCreated", Locale: "pt-BR", Region: "CH"}, "de", false},
		"the app's where the country's isn't":      {notice.Request{Action: "InvoiceCreated", Region: "JP", DefaultLocale: "tr-TR"}, "tr", false},
		"English last":                             {notice.Request{Action: "InvoiceCreated", Region: "JP", DefaultLocale: "ja"}, "en", false},
		"a first reminder":                         {notice.Request{Action: "InvoicePaymentReminder", Type: "first", Locale: "tr"}, "tr", true},
		"a third reminder, in other letters":       {notice.Request{Action: "InvoicePaymentReminder", Type: " Third ", Locale: "de"}, "de", true},
		"any other reminder":                       {notice.Request{Action: "InvoicePaymentReminder", Type: "unpaid", Locale: "de"}, "de", false},
		"a reminder of no type":                    {notice.Request{Action: "InvoicePaymentReminder", Locale: "de"}, "de", false},
		"a type that means nothing for the action": {notice.Request{Action: "InvoiceCreated", Type: "first", Locale: "de"}, "de", false},
		"a type that is a path":                    {notice.Request{Action: "InvoiceCreated", Type: "../../x", Locale: "de"}, "de", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tag, typed := texts.TextOf(tc.request)
			require.Equal(t, tc.tag, tag)
			require.Equal(t, tc.typed, typed)
		})
	}
}

func TestRender_Refuses(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for _, action := range []string{"", "OrderPaid", "invoicecreated", "invoice_created", "InvoicePaymentReminder.first", "InvoicePaymentReminderFirst", "Invoice\nCreated"} {
		_, err := texts.Render(notice.Request{Action: action, Fields: full()})
		var unknown *notice.UnknownActionError
		require.ErrorAs(t, err, &unknown, action)
		require.Equal(t, texts.Actions(), unknown.Known)
		require.Equal(t, action, unknown.Action)
		require.ErrorContains(t, err, "is unknown; there are AfterModuleCreate, AfterModuleSuspend, ClientLogin, ")
	}
	for _, company := range []string{"", " ", "\n", "\u200b\u202e"} {
		_, err := texts.Render(notice.Request{Action: "InvoicePaid", Fields: notice.Fields{Company: company}})
		require.ErrorIs(t, err, notice.ErrCompany)
	}
}

// probe is a text that shows what becomes of each value, one a line.
const probe = "={{.Company}}=\n={{.Name}}=\n={{.Invoice}}=\n={{.Total}}=\n={{.Due}}=\n={{.Subject}}=\n={{.Ticket}}=\n={{.Product}}=\n={{.Domain}}=\n" +
	"={{.Time}}=\n={{.IP}}=\n={{.Days}}=\n{{.Stop}}"

func TestRender_Values(t *testing.T) {
	t.Parallel()
	texts := overlay(t, map[string]string{"en/probe.txt": probe})
	date := func(offset int) time.Time {
		return time.Date(2027, time.March, 9, 8, 7, 0, 0, time.FixedZone("", offset))
	}
	for name, tc := range map[string]struct {
		fields notice.Fields
		line   int
		want   string
	}{
		"a company's domain stays":    {notice.Fields{Company: "Acme.example"}, 0, "Acme.example"},
		"a company of many lines":     {notice.Fields{Company: "Acme\r\n Ltd\n"}, 0, "Acme Ltd"},
		"a long company":              {notice.Fields{Company: strings.Repeat("x", 70)}, 0, strings.Repeat("x", 63) + "…"},
		"a name":                      {notice.Fields{Name: "  Jean-Luc "}, 1, "Jean-Luc"},
		"initials":                    {notice.Fields{Name: "J.R.R."}, 1, "J․R․R."},
		"a short title":               {notice.Fields{Name: "Dr. Ada"}, 1, "Dr. Ada"},
		"a name that is a link":       {notice.Fields{Name: "win https://evil.example/x"}, 1, ""},
		"a name that is a domain":     {notice.Fields{Name: "Visit evil.example, now"}, 1, ""},
		"a name in quotes":            {notice.Fields{Name: `"evil.example"`}, 1, ""},
		"a name that is a number":     {notice.Fields{Name: "Call +90 555 123"}, 1, ""},
		"a name that is an address":   {notice.Fields{Name: "ada@evil"}, 1, ""},
		"a name that has formatting":  {notice.Fields{Name: "*Ada* `x`"}, 1, "∗Ada∗ ‘x‘"},
		"a long name":                 {notice.Fields{Name: strings.Repeat("ab ", 40)}, 1, "ab ab ab ab ab ab ab ab ab ab ab ab ab…"},
		"a name from the right":       {notice.Fields{Name: "ليلى"}, 1, isolate + "ليلى" + endIsolate},
		"an invoice's number":         {notice.Fields{Invoice: "INV-2026/12.001"}, 2, "INV-2026/12.001"},
		"a total":                     {notice.Fields{Total: "1.234,50 EUR"}, 3, "1.234,50 EUR"},
		"a due day":                   {notice.Fields{Due: notice.Day{Year: 2026, Month: 2, Day: 28}}, 4, "28 February 2026"},
		"a day that is none":          {notice.Fields{Due: notice.Day{Year: 2026, Month: 13, Day: 1}}, 4, ""},
		"a subject with a link":       {notice.Fields{Subject: "Re: see https://evil.example/a?b=c at once"}, 5, "Re: see https∶/∕evil․example/a?b=c at once"},
		"a subject with an address":   {notice.Fields{Subject: "mailto:x@evil.example"}, 5, "mailto∶x＠evil․example"},
		"a subject with a bare link":  {notice.Fields{Subject: "wa.me/90555 www.evil.example"}, 5, "wa․me/90555 www․evil․example"},
		"a subject of other dots":     {notice.Fields{Subject: "evil。example evil．example"}, 5, "evil․example evil․example"},
		"a subject with a hidden dot": {notice.Fields{Subject: "evil\u200b.\u2060example"}, 5, "evil․example"},
		"a subject with an IP":        {notice.Fields{Subject: "down: 192.0.2.1"}, 5, "down: 192․0․2․1"},
		"a subject with sentences":    {notice.Fields{Subject: "Hello. It is down... 99.9 % at 14:30."}, 5, "Hello. It is down․․. 99.9 % at 14:30."},
		"a subject of many lines":     {notice.Fields{Subject: "a\nReply\u2028JA\tto\x00win\u0085b"}, 5, "a Reply JA to win b"},
		"a subject that turns around": {notice.Fields{Subject: "a\u202eb\u2067c\u200ed"}, 5, "abcd"},
		"a subject that isn't UTF-8":  {notice.Fields{Subject: "a\xffb"}, 5, "a\ufffdb"},
		"a quotation":                 {notice.Fields{Subject: "> a"}, 5, "› a"},
		"a ticket":                    {notice.Fields{Ticket: "ABC-123456"}, 6, "ABC-123456"},
		"a product":                   {notice.Fields{Product: "Node.js 1.5 GB"}, 7, "Node․js 1.5 GB"},
		"a domain":                    {notice.Fields{Domain: " Ada.Example. "}, 8, "Ada.Example"},
		"a domain of another script":  {notice.Fields{Domain: "bücher.example"}, 8, "bücher.example"},
		"no domain":                   {notice.Fields{Domain: "ada.example/x"}, 8, ""},
		"no domain, but words":        {notice.Fields{Domain: "see evil.example"}, 8, ""},
		"no domain, but a number":     {notice.Fields{Domain: "192.0.2.1"}, 8, ""},
		"a domain too long":           {notice.Fields{Domain: strings.Repeat("a.", 60) + "example"}, 8, ""},
		"a time":                      {notice.Fields{Time: date(0)}, 9, "9 March 2027, 08:07 UTC"},
		"a time in the east":          {notice.Fields{Time: date(3 * 3600)}, 9, "9 March 2027, 08:07 UTC+3"},
		"a time in the west":          {notice.Fields{Time: date(-(3*3600 + 1800))}, 9, "9 March 2027, 08:07 UTC-3:30"},
		"an address":                  {notice.Fields{IP: "::ffff:192.0.2.1"}, 10, "192.0.2.1"},
		"another address":             {notice.Fields{IP: "2001:DB8:0::1"}, 10, "2001:db8::1"},
		"no address":                  {notice.Fields{IP: "192.0.2.1\nevil.example"}, 10, ""},
		"an address of a zone":        {notice.Fields{IP: "fe80::1%evil.example"}, 10, ""},
		"days":                        {notice.Fields{Days: 30}, 11, "30"},
		"days that are past":          {notice.Fields{Days: -3}, 11, "0"},
		"days without an end":         {notice.Fields{Days: math.MaxInt}, 11, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.fields
			if f.Company == "" {
				f.Company = "Acme"
			}
			lines := strings.Split(render(t, texts, notice.Request{Action: "Probe", Fields: f}), "\n")
			require.Len(t, lines, 13)
			require.Equal(t, "="+tc.want+"=", lines[tc.line])
		})
	}
}

func TestRender_Links(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"https://acme.example/viewinvoice.php?id=42":       "https://acme.example/viewinvoice.php?id=42",
		" HTTP://Acme.Example:8080 ":                       "http://acme.example:8080",
		"https://acme.example?id=1#pay":                    "https://acme.example?id=1#pay",
		"https://[2001:db8::1]/x":                          "https://[2001:db8::1]/x",
		"https://acme.example/a b/ü?q=ü x":                 "https://acme.example/a%20b/%C3%BC?q=%C3%BC%20x",
		"https://acme.example/a%20b?x=%zz&y=%2":            "https://acme.example/a%20b?x=%25zz&y=%252",
		"https://acme.example/*b*/_i_/~s~/`m`/x_y":         "https://acme.example/%2Ab%2A/%5Fi%5F/%7Es%7E/%60m%60/x_y",
		"https://acme.example/x).":                         "https://acme.example/x%29%2E",
		"https://acme.example/?a[]=1&t=ab==":               "https://acme.example/?a%5B%5D=1&t=ab==",
		"https://acme.example/\u202egnp.exe":               "https://acme.example/%E2%80%AEgnp.exe",
		"":                                                 "",
		"acme.example":                                     "",
		"//acme.example":                                   "",
		"javascript:alert(1)":                              "",
		"ftp://acme.example":                               "",
		"https:acme.example":                               "",
		"https:///x":                                       "",
		"https://":                                         "",
		"https://acme.example@evil.example/":               "",
		"https://acme.example:x@evil.example/":             "",
		"https://evil.example\\@acme.example":              "",
		"https://acme.example/x\nhttps://evil.example":     "",
		"https://acme.example\nReply JA":                   "",
		"https://ac me.example/":                           "",
		"https://a\u0441me.example/":                       "", // a Cyrillic letter; what a browser has of it is Latin
		"https://acme.example/" + strings.Repeat("x", 400): "",
		"https://acme.example/" + strings.Repeat("ü", 100): "",
	} {
		require.Equal(t, want, notice.Link(link), link)
		require.Equal(t, want, notice.Link(want), "what is encoded stays so")
	}
}

// linkLike finds whatever a phone might make a link of: schemes, addresses, and dots with something on both sides.
func linkLike() *regexp.Regexp {
	return regexp.MustCompile(`(?i)://|[a-z]:[^\s\d\x{2069}]|@|[^\s.][.\x{3002}\x{ff0e}\x{ff61}]\pL`)
}

// hostile is a value that tries to get out of its place.
func hostile() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		pieces := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom([]string{
				"http://", "https://evil.example", "evil.example/x", "www.", ".com", "wa.me/1", "a@b.example", "mailto:", "tel:+90", "://", "。", "．", "｡",
				"\n", "\r\n", "\u2028", "\u2029", "\u0085", "\v", "\x00", "\u202e", "\u2066", "\u2069", "\u200f", "\u200b", "\u2060", "\ufeff", "\u00ad", "\xff",
				"*", "_", "~", "```", "> ", "- ", "1. ", "{{.Link}}", "{{end}}", "%s", "/", ":", ".", " ", "ليلى", "שלום", "ü", "8", "a",
			}),
			rapid.String(),
		), 0, 8).Draw(t, "pieces")
		return strings.Join(pieces, "")
	})
}

// However strange the values, a notice has the lines of its text, each where it belongs, and no link but its own.
func TestRender_NoValueAddsALineOrALink(t *testing.T) {
	t.Parallel()
	texts := load(t)
	rapid.Check(t, func(t *rapid.T) {
		tag, name := rapid.SampledFrom(slices.Sorted(maps.Keys(languages))).Draw(t, "tag"), rapid.SampledFrom(names).Draw(t, "name")
		f, value := full(), func(name string) string { return "x" + hostile().Draw(t, name) }
		f.Name, f.Invoice, f.Total, f.Subject, f.Ticket, f.Product = value("name"), value("invoice"), value("total"), value("subject"), value("ticket"), value("product")
		f.Link += "&" + strings.NewReplacer("\n", "", "\r", "", "\v", "", "\x00", "").Replace(hostile().Draw(t, "link"))
		link := notice.Link(f.Link)
		message := render(t, texts, request(tag, name, f))
		sound(t, message)
		lines, tame := strings.Split(message, "\n"), strings.Split(render(t, texts, request(tag, name, full())), "\n")
		if link == "" {
			g := full()
			g.Link = ""
			tame = strings.Split(render(t, texts, request(tag, name, g)), "\n")
		}
		require.Len(t, lines, len(tame), "%q", message)
		for i, line := range lines {
			switch {
			case strings.HasPrefix(tame[i], "https://"):
				require.Equal(t, link, line)
			case tame[i] == "" || i > 0 && !strings.Contains(tame[i], ": "):
				require.Equal(t, tame[i], line, "what the text says by itself")
			}
			if line != link {
				line = strings.NewReplacer(f.Domain, "", f.IP, "").Replace(line)
				require.NotRegexp(t, linkLike(), line)
			}
		}
	})
}

// sound is what holds of every notice.
func sound(t require.TestingT, message string) {
	require.True(t, utf8.ValidString(message))
	require.LessOrEqual(t, utf8.RuneCountInString(message), notice.MaxLength)
	require.NotContains(t, message, "\n\n\n")
	require.NotContains(t, message, "<no value>")
	require.Equal(t, strings.Trim(message, " \t\n"), message)
	for line := range strings.SplitSeq(message, "\n") {
		depth := 0
		for _, r := range line {
			switch string(r) {
			case isolate:
				depth++
			case endIsolate:
				depth--
			default:
				require.False(t, unicode.IsControl(r) || r == '\u2028' || r == '\u2029', "%q", line)
				require.False(t, r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069', "%q", line)
			}
			require.True(t, depth == 0 || depth == 1, "%q", line)
		}
		require.Zero(t, depth, "isolates end in their line: %q", line)
	}
}
