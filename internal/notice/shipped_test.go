package notice_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"wabek/internal/notice"
)

var update = flag.Bool("update", false, "rewrite generated files")

const (
	isolate    = "\u2068"
	endIsolate = "\u2069"
)

// full is everything that may be known.
func full() notice.Fields {
	return notice.Fields{
		Company: "Acme Hosting", Name: "Ada", Invoice: "2026-0042", Total: "120.00 USD", Due: notice.Day{Year: 2026, Month: time.December, Day: 1},
		Link: "https://billing.acme.example/viewinvoice.php?id=42", Subject: "Site is down", Ticket: "ABC-123456", Product: "Cloud VPS 2", Domain: "ada.example",
		Days: 7, Time: time.Date(2026, time.November, 24, 14, 5, 0, 0, time.UTC), IP: "203.0.113.7",
	}
}

// companyAlone is as little as there may be.
func companyAlone() notice.Fields { return notice.Fields{Company: "Acme Hosting"} }

// languages is the shipped ones; with each how its texts say to stop, and what a date looks like.
var languages = map[string]struct{ stop, date string }{
	"ar": {"للتوقف عن تلقي هذه الرسائل، يُرجى الرد بكلمة " + isolate + "إيقاف" + endIsolate + ".", "1 ديسمبر 2026"},
	"de": {"Antworten Sie mit STOPP, um keine weiteren Nachrichten dieser Art zu erhalten.", "1. Dezember 2026"},
	"en": {"Reply STOP to get no more of these messages.", "1 December 2026"},
	"tr": {"Bu mesajları artık almak istemiyorsanız DUR yazarak yanıtlayın.", "1 Aralık 2026"},
}

var names = []string{
	"after_module_create", "after_module_suspend", "client_login", "domain_renewal_notice", "invoice_cancelled", "invoice_created", "invoice_paid",
	"invoice_payment_reminder", "invoice_payment_reminder.first", "invoice_payment_reminder.second", "invoice_payment_reminder.third", "invoice_refunded",
	"ticket_admin_reply", "ticket_open", "user_login",
}

func load(tb testing.TB) *notice.Texts {
	tb.Helper()
	texts, err := notice.Load("")
	require.NoError(tb, err)
	return texts
}

func render(t require.TestingT, texts *notice.Texts, r notice.Request) string {
	message, err := texts.Render(r)
	require.NoError(t, err)
	return message
}

// request asks for a text by its name.
func request(tag, name string, fields notice.Fields) notice.Request {
	r := notice.Request{Locale: tag, Fields: fields}
	r.Action, r.Type = notice.ActionOf(name)
	return r
}

func TestShipped_FourLanguagesOfEachText(t *testing.T) {
	t.Parallel()
	texts := load(t)
	require.Equal(t, []string{"ar", "de", "en", "tr"}, texts.Locales())
	require.Equal(t, []string{
		"AfterModuleCreate", "AfterModuleSuspend", "ClientLogin", "DomainRenewalNotice", "InvoiceCancelled", "InvoiceCreated", "InvoicePaid",
		"InvoicePaymentReminder", "InvoiceRefunded", "TicketAdminReply", "TicketOpen", "UserLogin",
	}, texts.Actions())
	for tag := range languages {
		have := texts.Names(tag)
		slices.Sort(have)
		require.Equal(t, names, have, tag)
	}
}

func TestShipped_EveryTextSaysWhatItMust(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for tag, language := range languages {
		for _, name := range names {
			t.Run(tag+" "+name, func(t *testing.T) {
				t.Parallel()
				f := full()
				message := render(t, texts, request(tag, name, f))
				plain := strings.NewReplacer(isolate, "", endIsolate, "").Replace(message)
				says := []string{f.Company, f.Name}
				lines := strings.Split(message, "\n")
				require.Equal(t, language.stop, lines[len(lines)-1], "how to stop is said last")
				switch {
				case strings.HasPrefix(name, "invoice_"):
					says = append(says, f.Invoice, f.Total, language.date)
					require.Contains(t, lines, f.Link, "a link has its line for itself")
				case strings.HasSuffix(name, "_login"):
					says = append(says, f.IP, "14:05 UTC")
					require.NotContains(t, message, f.Link)
				case strings.HasPrefix(name, "ticket_"):
					says = append(says, f.Ticket, f.Subject)
				case strings.HasPrefix(name, "after_module_"):
					says = append(says, f.Product, f.Domain)
				default:
					says = append(says, f.Domain, language.date, "7")
				}
				for _, s := range says {
					require.Contains(t, plain, s)
				}
				require.LessOrEqual(t, utf8.RuneCountInString(message), 500, "short")
			})
		}
	}
}

// Whatever isn't known is left out with the words about it: no line ends with nothing said, and there are no holes.
func TestShipped_WhatIsntKnownIsLeftOut(t *testing.T) {
	t.Parallel()
	texts := load(t)
	parts := map[string]func(*notice.Fields){
		"name": func(f *notice.Fields) { f.Name = "" }, "invoice": func(f *notice.Fields) { f.Invoice = "" }, "total": func(f *notice.Fields) { f.Total = "" },
		"due": func(f *notice.Fields) { f.Due = notice.Day{} }, "link": func(f *notice.Fields) { f.Link = "" }, "subject": func(f *notice.Fields) { f.Subject = "" },
		"ticket": func(f *notice.Fields) { f.Ticket = "" }, "product": func(f *notice.Fields) { f.Product = "" }, "domain": func(f *notice.Fields) { f.Domain = "" },
		"days": func(f *notice.Fields) { f.Days = 0 }, "time": func(f *notice.Fields) { f.Time = time.Time{} }, "ip": func(f *notice.Fields) { f.IP = "" },
		"all": func(f *notice.Fields) { *f = companyAlone() },
	}
	for tag := range languages {
		for _, name := range names {
			for part, without := range parts {
				f := full()
				without(&f)
				message := render(t, texts, request(tag, name, f))
				require.NotContains(t, message, "\n\n\n", "%s %s without %s", tag, name, part)
				lines := strings.Split(message, "\n")
				for i, line := range lines {
					require.Equal(t, strings.TrimRight(line, " "), line, "%s %s without %s", tag, name, part)
					require.NotContains(t, line, "  ", "%s %s without %s", tag, name, part)
					if strings.HasSuffix(line, ":") { // the words before a link
						require.Less(t, i+1, len(lines))
						require.Equal(t, f.Link, lines[i+1], "%s %s without %s", tag, name, part)
					}
				}
			}
		}
	}
}

// In a language written from right to left each value is isolated, and a link is where nothing is written from the right.
func TestShipped_RightToLeftStaysReadable(t *testing.T) {
	t.Parallel()
	texts := load(t)
	for _, name := range names {
		message := render(t, texts, request("ar", name, full()))
		inside := false
		for line := range strings.SplitSeq(message, "\n") {
			if strings.HasPrefix(line, "https://") {
				require.NotContains(t, line, isolate)
				continue
			}
			for _, r := range line {
				switch s := string(r); {
				case s == isolate:
					require.False(t, inside, name)
					inside = true
				case s == endIsolate:
					require.True(t, inside, name)
					inside = false
				case r >= '0' && r <= '9', r >= 'A' && r <= 'Z' && !strings.Contains(line, "عنوان IP"):
					require.True(t, inside || strings.Contains(line, "أيام"), "%s: %s", name, line)
				}
			}
			require.False(t, inside, "%s: an isolate ends in its line", name)
		}
	}
	// A name from the right in a language from the left.
	f := full()
	f.Name = "آدا"
	require.Contains(t, render(t, texts, request("en", "invoice_created", f)), "Hello "+isolate+"آدا"+endIsolate+",")
}

// All texts as they arrive, to be read by people.
func TestShipped_Golden(t *testing.T) {
	t.Parallel()
	texts := load(t)
	var b strings.Builder
	for _, tag := range texts.Locales() {
		for _, name := range names {
			fmt.Fprintf(&b, "=== %s/%s\n%s\n", tag, name, render(t, texts, request(tag, name, full())))
			fmt.Fprintf(&b, "--- %s/%s, of which nothing is known\n%s\n", tag, name, render(t, texts, request(tag, name, companyAlone())))
		}
		fmt.Fprintf(&b, "=== %s: days\n", tag)
		for _, days := range []int{1, 2, 3, 5, 11, 30, 100} {
			f := companyAlone()
			f.Days = days
			fmt.Fprintln(&b, strings.Split(render(t, texts, request(tag, "domain_renewal_notice", f)), "\n")[2])
		}
	}
	file := filepath.Join("testdata", "shipped.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test ./internal/notice -update")
	require.Equal(t, string(want), b.String(), "run go test ./internal/notice -update")
}
