package notice_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/notice"
	"wabek/internal/text"
)

func dir(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func overlay(t *testing.T, files map[string]string) *notice.Texts {
	t.Helper()
	texts, err := notice.Overlay(dir(files))
	require.NoError(t, err)
	return texts
}

func fileErrors(err error) (out []*text.FileError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, fileErrors(e)...)
		}
		return out
	}
	if wrapped := errors.Unwrap(err); wrapped != nil {
		return fileErrors(wrapped)
	}
	if file := (*text.FileError)(nil); errors.As(err, &file) {
		out = append(out, file)
	}
	return out
}

// An operator words a text otherwise, adds a language, and an action that this program has never heard of.
func TestLoad_TheOperatorsTextsLieOverTheShippedOnes(t *testing.T) {
	t.Parallel()
	texts := overlay(t, map[string]string{
		"tr/invoice_created.txt":                "{{.Company}}: {{.Total}}\n{{.Stop}}",
		"en/order_paid.txt":                     "{{.Company}}: order paid. {{.Stop}}",
		"en/order_paid.vip.txt":                 "{{.Company}}: order paid, thanks a lot! {{.Stop}}",
		"pl/invoice_created.txt":                "{{.Company}}: nowa faktura. Proszę odpisać {{.Stop}}.",
		"de-CH/invoice_payment_reminder.txt":    "Grüezi! {{.Company}} {{.Stop}}",
		"de/invoice_payment_reminder.final.txt": "Schluss! {{.Company}} {{.Stop}}",
		"README.md":                             "notes",
	})
	require.Contains(t, texts.Actions(), "OrderPaid")
	require.Len(t, texts.Actions(), 13, "a text for a type is no action")
	require.Equal(t, []string{"ar", "de", "de-CH", "en", "pl", "tr"}, texts.Locales())
	for name, tc := range map[string]struct {
		notice.Request
		want string
	}{
		"a text of the operator's":          {notice.Request{Action: "InvoiceCreated", Locale: "tr"}, "Acme: 5 USD\nDUR"},
		"the others stay":                   {notice.Request{Action: "InvoicePaid", Locale: "tr"}, "Merhaba,\n\nTeşekkür ederiz! Ödemeniz Acme tarafından alındı."},
		"a new action":                      {notice.Request{Action: "OrderPaid", Locale: "en"}, "Acme: order paid. STOP"},
		"a new action in its only language": {notice.Request{Action: "OrderPaid", Locale: "tr"}, "Acme: order paid. STOP"},
		"a type of it":                      {notice.Request{Action: "OrderPaid", Type: "VIP"}, "Acme: order paid, thanks a lot! STOP"},
		"a new language, by country":        {notice.Request{Action: "InvoiceCreated", Region: "PL"}, "Acme: nowa faktura. Proszę odpisać STOP."},
		"what it lacks is English":          {notice.Request{Action: "InvoicePaid", Locale: "pl"}, "Hello,\n\nThank you! Acme has received your payment."},
		"a variant":                         {notice.Request{Action: "InvoicePaymentReminder", Locale: "de-CH"}, "Grüezi! Acme STOPP"},
		"a variant's type, of its language": {notice.Request{Action: "InvoicePaymentReminder", Type: "final", Locale: "de-CH"}, "Schluss! Acme STOPP"},
		"another variant":                   {notice.Request{Action: "InvoicePaymentReminder", Type: "first", Locale: "de-AT"}, "Guten Tag,\n\nDies ist die erste Zahlungserinnerung von Acme:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tc.Request
			r.Fields = notice.Fields{Company: "Acme", Total: "5 USD"}
			require.Truef(t, strings.HasPrefix(render(t, texts, r), tc.want), "%s", render(t, texts, r))
		})
	}
}

func TestLoad_FromADirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "en"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "en", "client_add.txt"), []byte("Welcome to {{.Company}}!\r\n\r\n{{.Stop}}\r\n"), 0o600))
	texts, err := notice.Load(root)
	require.NoError(t, err)
	require.Equal(t, "Welcome to Acme!\n\nSTOP", render(t, texts, notice.Request{Action: "ClientAdd", Fields: notice.Fields{Company: "Acme"}}))

	_, err = notice.Load(filepath.Join(root, "none"))
	require.ErrorContains(t, err, "can't be read")
}

func TestLoad_BrokenTexts(t *testing.T) {
	t.Parallel()
	const must = "{{.Company}} {{.Stop}}\n"
	for name, tc := range map[string]struct {
		text string
		line int
		says string
	}{
		"an unknown field": {must + "{{.Amount}}", 2, "unknown field .Amount; a text knows .Company, .Days, .Domain, .Due, .IP, .Invoice, .Link, .Name, " +
			".Product, .Stop, .Subject, .Ticket, .Time and .Total"},
		"a field of OTPs":                  {must + "{{.Code}}", 2, "unknown field .Code"},
		"a param":                          {must + "{{.Params.x}}", 2, "unknown field .Params.x"},
		"no company":                       {"Pay! {{.Stop}}", 1, "{{.Company}} is missing, on no condition: a notice says who writes"},
		"a company on a condition":         {"{{if .Name}}{{.Company}}{{end}} {{.Stop}}", 1, "{{.Company}} is missing"},
		"no way to stop":                   {"{{.Company}} wants money", 1, "{{.Stop}} is missing, on no condition: a notice says how to get no more of them"},
		"a way to stop on a condition":     {"{{.Company}} {{if .Link}}{{.Stop}}{{else}}STOP{{end}}", 1, "{{.Stop}} is missing"},
		"nothing":                          {"", 1, "{{.Company}} is missing"},
		"a link behind a word":             {must + "Pay: {{.Link}}", 2, "{{.Link}} isn't alone on its line"},
		"a link before a word":             {must + "{{.Link}} or die", 2, "{{.Link}} isn't alone on its line"},
		"a link beside a condition's end":  {must + "{{if .Link}}\n{{.Link}}{{end}}", 3, "{{.Link}} isn't alone on its line"},
		"a link right behind a condition":  {must + "{{if .Link}}{{.Link}}\n{{end}}", 2, "{{.Link}} isn't alone on its line"},
		"a link beside another":            {must + "{{.Link}}{{.Link}}", 2, "{{.Link}} isn't alone on its line"},
		"a link as a choice":               {must + "{{or .Link .Name}}", 2, "the link can be used as {{.Link}} alone"},
		"a link in parentheses":            {must + "{{(.Link)}}", 2, "the link can be used as {{.Link}} alone"},
		"a link as the choice of a choice": {must + "{{or (and .Link .Link) .Name}}", 2, "the link can be used as {{.Link}} alone"},
		"too long":                         {must + strings.Repeat("x", 1150), 1, "longer than 1200 characters"},
		"too long with the longest values": {must + strings.Repeat("{{.Subject}}\n", 10), 11, "longer than 1200 characters"},
		"too long on a condition":          {must + "{{if .Name}}" + strings.Repeat("x", 1200) + "{{end}}", 2, "longer than 1200 characters"},
		"a control character":              {must + "\x07", 2, "control character"},
		"another end of line":              {must + "a\u2028b", 2, "control character"},
		"no UTF-8":                         {must + "\xff", 2, "is not UTF-8"},
		"an if without an end":             {must + "{{if .Name}}", 2, "unexpected EOF"},
		"a function":                       {must + "{{printf \"%s\" .Name}}", 2, `function "printf" not defined`},
		"a loop":                           {must + "{{range .Name}}x{{end}}", 2, "can't stand in a text"},
		"a method":                         {must + "{{.Name.String}}", 2, "unknown field .Name.String"},
		"plural of a text":                 {must + "{{plural .Name \"other\" \"x\"}}", 2, `plural has .Days behind it, then pairs of a category and a form, like plural .Days "one" "# day" "other" "# days"`},
		"plural that lacks a category":     {must + "{{plural .Days \"one\" \"x\"}}", 2, `plural lacks "other"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := notice.Overlay(dir(map[string]string{"en/order_paid.txt": tc.text}))
			require.ErrorContains(t, err, fmt.Sprintf("dir/en/order_paid.txt:%d: ", tc.line))
			found := slices.ContainsFunc(fileErrors(err), func(e *text.FileError) bool { return e.Line == tc.line && strings.Contains(e.Problem, tc.says) })
			require.True(t, found, "%v", err)
		})
	}
}

func TestLoad_NamesEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	const good = "{{.Company}} {{.Stop}}"
	const noName = " is no text's name; it is an action of WHMCS in small letters, like invoice_created.txt for InvoiceCreated, and may have a " +
		"type, like invoice_payment_reminder.first.txt"
	_, err := notice.Overlay(dir(map[string]string{
		"en/invoice_paid.txt": "{{.Company}}\n{{.Link}}.\n{{.Amount}} {{.Stop}}", "en/InvoicePaid.txt": good, "en/order_2.txt": good, "en/order.Big.txt": good,
		"en/_order.txt": good, "en/order..txt": good, "en/order.a.b.txt": good, "en/order_new.first.txt": good, "pl/invoice_payment_reminder.first.txt": good,
		"turkish/invoice_paid.txt": good, "en/note.text": good,
	}))
	require.Error(t, err)
	require.Equal(t, []string{
		"load texts of notices: dir/en/InvoicePaid.txt:" + noName,
		"dir/en/_order.txt:" + noName,
		"dir/en/invoice_paid.txt:2: {{.Link}} isn't alone on its line: right before and behind it there must be a line break",
		"dir/en/invoice_paid.txt:3: unknown field .Amount; a text knows .Company, .Days, .Domain, .Due, .IP, .Invoice, .Link, .Name, .Product, .Stop, " +
			".Subject, .Ticket, .Time and .Total",
		"dir/en/note.text:" + noName,
		"dir/en/order..txt:" + noName,
		"dir/en/order.Big.txt:" + noName,
		"dir/en/order.a.b.txt:" + noName,
		"dir/en/order_2.txt:" + noName,
		"dir/turkish: is no locale; a directory is called like tr, pt-BR or zh-Hant",
		"dir/en/order_new.first.txt: has no text for all other types: order_new.txt",
		"dir/pl/invoice_payment_reminder.first.txt: has no text for all other types: invoice_payment_reminder.txt",
	}, strings.Split(err.Error(), "\n"))
}

// Each action has a name of its own, which leads back to it.
func TestNames(t *testing.T) {
	t.Parallel()
	for action, name := range map[string]string{
		"InvoicePaymentReminder": "invoice_payment_reminder", "OrderPaid": "order_paid", "CCUpdate": "c_c_update", "Pre2Post": "pre2_post",
		"": "", "invoiceCreated": "", "Invoice Created": "", "Invoice_Created": "", "Factura\u00e7\u00e3o": "", "../Passwd": "", "2Order": "",
	} {
		require.Equal(t, name, notice.NameOf(action), action)
	}
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.StringMatching(`[A-Z][A-Za-z0-9]{0,20}`).Draw(t, "action")
		name := notice.NameOf(action)
		back, typ := notice.ActionOf(name)
		require.Equal(t, action, back)
		require.Empty(t, typ)
		require.True(t, notice.IsName(name))
		other := rapid.StringMatching(`[a-z0-9_]{1,12}`).Draw(t, "name")
		if notice.IsName(other) {
			back, _ = notice.ActionOf(other)
			require.Equal(t, other, notice.NameOf(back))
		}
	})
}
