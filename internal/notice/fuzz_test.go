package notice_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/notice"
)

// FuzzLoad loads anything as a text. Nothing may panic; what is refused is refused with its file; and what is taken keeps
// every promise with the longest and the strangest values, and without any.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"{{.Company}} {{.Stop}}", "Hello{{if .Name}} {{.Name}}{{end}},\n\n{{.Company}}\n{{if .Link}}Pay:\n{{.Link}}\n{{end}}\n{{.Stop}}", "{{.Company}}\n{{.Link}}", "{{.Link}}",
		"{{if .Days}}{{.Company}} {{plural .Days \"one\" \"# day\" \"other\" \"# days\"}}{{else}}{{.Company}}{{end}}\n{{.Stop}}", "{{.Stop}}{{.Company}}\n{{.Link}}\n{{.Link}}\n\n\n\n.",
		"{{.Company}}{{.Stop}}{{or .Subject (and .Total .Due) \"x\"}}", "{{.Company}}{{.Stop}}{{if not (or .Link .IP)}}\n{{.Link}}\n{{else if .Time}}{{.Time}}{{end}}",
		"{{define \"text\"}}x{{end}}", "{{.Company}}{{.Stop}}\n{{if .Link}}{{- /* x */ -}}\n{{.Link}}\n{{end}}", "\ufeff{{.Company}}\r\n{{.Stop}}", "{{with .Link}}{{.}}{{end}}",
		"{{.Company}}{{.Stop}}\n{{`\n`}}{{.Link}}\n", "{{.Days}}{{.Company}}{{.Stop}}",
	} {
		f.Add(s, "en")
		f.Add(s, "ar")
	}
	f.Fuzz(func(t *testing.T, source, tag string) {
		if tag != "ar" {
			tag = "en"
		}
		file := tag + "/order_paid.txt"
		texts, err := notice.Overlay(dir(map[string]string{file: source}))
		if err != nil {
			files := fileErrors(err)
			require.NotEmpty(t, files)
			for _, e := range files {
				require.Equal(t, "dir/"+file, e.File)
				require.LessOrEqual(t, e.Line, 1+strings.Count(source, "\n"))
			}
			return
		}
		long := func(piece string) string { return strings.Repeat(piece, 500) }
		for _, fields := range []notice.Fields{
			companyAlone(), full(),
			{
				Company: long("ب\n"), Name: long("* "), Invoice: long("{{"), Total: long("> 9"), Due: full().Due, Link: "https://acme.example/" + strings.Repeat("x", 379),
				Subject: long("evil.example "), Ticket: long("ب"), Product: long("\u2067"), Domain: strings.Repeat("x.", 49) + "ab", Days: 99_999,
				Time: time.Date(9999, time.September, 30, 23, 59, 0, 0, time.FixedZone("", -12*3600-59*60)), IP: "2001:db8:ffff:ffff:ffff:ffff:255.255.255.255",
			},
		} {
			message := render(t, texts, notice.Request{Action: "OrderPaid", Locale: tag, Fields: fields})
			require.LessOrEqual(t, len([]rune(message)), notice.MaxLength)
			require.NotContains(t, message, "<no value>")
			require.Contains(t, message, notice.StopWord(tag))
			for line := range strings.SplitSeq(message, "\n") {
				if strings.Contains(line, fields.Link) && fields.Link != "" && !strings.Contains(source, fields.Link) {
					require.Equal(t, fields.Link, line, "a link has its line for itself")
				}
			}
		}
	})
}

// FuzzRender fills anything into the shipped texts.
func FuzzRender(f *testing.F) {
	f.Add("InvoiceCreated", "", "tr", "Acme", "Ada", "42", "5 USD", "https://acme.example/?id=1", "Hi", "V-1", "VPS", "ada.example", "192.0.2.1", 7, int64(1_800_000_000))
	f.Add("InvoicePaymentReminder", "first", "ar", "Acme\u202e", "http://evil.example", "\n", "x\u2028y", "javascript:x", "> *a*", "@", "\xff", "a..b", "::1%x", -1, int64(-1))
	f.Add("DomainRenewalNotice", "a.b", "de", "\u2069", "ليلى", "\u2068", "٣", "https://x.example/_a_", "a.b.c", "1.2.3.4", "://", "x.y", "", 1<<40, int64(1)<<60)
	texts, err := notice.Load("")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, action, typ, locale, company, name, invoice, total, link, subject, ticket, product, domain, ip string, days int, login int64) {
		due, _ := notice.Date(invoice)
		message, err := texts.Render(notice.Request{Action: action, Type: typ, Locale: locale, Region: domain, DefaultLocale: ip, Fields: notice.Fields{
			Company: company, Name: name, Invoice: invoice, Total: notice.Money(total, product) + total, Due: due, Link: link, Subject: subject, Ticket: ticket,
			Product: product, Domain: domain, Days: days, Time: time.Unix(login, 0).UTC(), IP: ip,
		}})
		if err != nil {
			require.Empty(t, message)
			return
		}
		sound(t, message)
		require.LessOrEqual(t, strings.Count(message, "\n"), 15, "no more lines than the longest text has")
	})
}
