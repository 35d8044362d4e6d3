package stories_test

import (
	"encoding/csv"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Events reach the client's phone through the hook, survive a wabek that is away, and are seen on the addon's page.
func TestStory_WHMCSEvents(t *testing.T) { //nolint:tparallel // the subtests are the steps of one story
	t.Parallel()
	phpHere(t)
	w := startAll(t)
	key := w.newApp("hosting", nil)
	wabek := w.record()
	h := newWHMCS(t, "whmcs", w)
	h.paste()
	h.configure(wabek.url, key)
	const digits = "905555000001"
	h.client(1, "+90."+digits[2:])
	h.seed(map[string][]row{
		"tblinvoices": {{"id": 11, "userid": 1, "invoicenum": "2026-11", "total": "120.50", "balance": "20.50", "duedate": "2026-12-01"}},
		"tbltickets":  {{"id": 21, "tid": "ABC-123456", "userid": 1, "title": "Mail &amp; DNS"}},
		"tblhosting":  {{"id": 31, "userid": 1, "name": "Cloud VPS 2", "domain": "shop.example"}},
		"tbldomains":  {{"id": 41, "userid": 1, "domain": "acme.example", "expirydate": time.Now().AddDate(0, 0, 10).UTC().Format(time.DateOnly)}},
	})
	messages := 0
	arrives := func(t *testing.T, e event, want ...string) {
		t.Helper()
		h.hooks(e)
		messages++
		text := w.phones.receivesMore(t, digits, messages).Text
		for _, s := range want {
			require.Contains(t, text, s, e.Hook)
		}
	}

	t.Run("each event", func(t *testing.T) { //nolint:paralleltest // a step of the story
		invoice := row{"invoiceid": 11}
		arrives(t, event{"InvoiceCreated", row{"source": "autogen", "user": "system", "invoiceid": 11, "status": "Unpaid"}}, "2026-11", "120.50", h.url+"/viewinvoice.php?id=11")
		said := wabek.took()
		require.Len(t, said, 1)
		require.NotEmpty(t, said[0].signature)
		require.Equal(t, "+"+digits, said[0].request["client"].(map[string]any)["phonenumber"])
		arrives(t, event{"InvoicePaymentReminder", row{"invoiceid": 11, "type": "first"}}, "2026-11", "20.50")
		arrives(t, event{"InvoicePaymentReminder", row{"invoiceid": 11, "type": "second"}}, "2026-11")
		arrives(t, event{"InvoicePaid", invoice}, "2026-11")
		arrives(t, event{"InvoiceRefunded", invoice}, "2026-11")
		arrives(t, event{"InvoiceCancelled", invoice}, "2026-11")
		arrives(t, event{"TicketOpen", row{"ticketid": 21, "userid": 1, "subject": "Mail &amp; DNS"}}, "ABC-123456")
		arrives(t, event{"TicketAdminReply", row{"ticketid": 21, "replyid": 5, "subject": "Mail &amp; DNS"}}, "ABC-123456")
		arrives(t, event{"AfterModuleCreate", row{"params": row{"serviceid": 31, "userid": 1, "domain": "shop.example"}}}, "Cloud VPS 2")
		arrives(t, event{"AfterModuleSuspend", row{"params": row{"serviceid": 31, "userid": 1}}}, "Cloud VPS 2")
		mail := row{"messagename": "Upcoming Domain Renewal Notice", "relid": 41, "mergefields": row{"domain_name": "acme.example", "client_id": 1}}
		arrives(t, event{"EmailPreSend", mail}, "acme.example", "10")
		for _, x := range wabek.took() {
			require.Equal(t, http.StatusOK, x.status, "%v", x)
		}
	})

	t.Run("the same twice, and what nobody is told of", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.client(2, "")
		h.client(3, "+90.5555000003")
		h.seed(map[string][]row{"tblinvoices": {{"id": 12, "userid": 2, "total": "1.00"}, {"id": 13, "userid": 3, "total": "1.00"}}})
		h.hooks(
			event{"InvoiceCreated", row{"invoiceid": 11}},
			event{"InvoiceCreated", row{"invoiceid": 12}},                                                   // a client without a phone: wabek's log says so
			event{"InvoiceCreated", row{"invoiceid": 9999}},                                                 // no invoice
			event{"UserLogin", row{"user": row{"id": 1, "email": email(1)}}},                                // not among the usual ones
			event{"TicketOpen", row{"ticketid": 999, "userid": 0, "subject": "from a stranger"}},            // nobody's
			event{"EmailPreSend", row{"messagename": "Invoice Created", "relid": 11, "mergefields": row{}}}, // another e-mail
		)
		said := wabek.took()
		require.Len(t, said, 2)
		require.Equal(t, true, said[0].answer["duplicate"])
		h.configure(wabek.url, key, "'consent_field' => 4,")
		h.hooks(event{"InvoiceCreated", row{"invoiceid": 13}})
		require.Empty(t, wabek.took(), "who hasn't said yes")
		h.seed(map[string][]row{"tblcustomfieldsvalues": {{"id": 9, "fieldid": 4, "relid": 3, "value": "on"}}})
		h.configure(wabek.url, key, "'consent_field' => 4,", "'language' => 'turkish',")
		h.hooks(event{"InvoiceCreated", row{"invoiceid": 13}})
		require.Contains(t, w.phones.receives(t, "905555000003").Text, "fatura")
		h.configure(wabek.url, key)
		wabek.took()
	})

	t.Run("wabek away", func(t *testing.T) { //nolint:paralleltest // a step of the story
		broken, connections := brokenWabek(t)
		h.configure(broken, key)
		h.seed(map[string][]row{"tblinvoices": {{"id": 14, "userid": 1, "invoicenum": "2026-14", "total": "3.00"}, {"id": 15, "userid": 1, "invoicenum": "2026-15", "total": "4.00"}}})
		h.hooks(event{"InvoiceCreated", row{"invoiceid": 14}}, event{"InvoiceCreated", row{"invoiceid": 15}}, event{Hook: "DailyCronJob"}, afterCron())
		require.EqualValues(t, 1, connections.Load(), "one process asks a wabek that is away once")
		require.Len(t, h.dump("mod_wabek_outbox"), 2)
		h.hooks(afterCron())
		require.EqualValues(t, 2, connections.Load(), "and so does the next")

		h.configure(wabek.url, "a-key-that-is-wrong")
		h.hooks(afterCron())
		require.Len(t, h.dump("mod_wabek_outbox"), 2, "a wrong key may be mended")
		require.Len(t, wabek.took(), 1)
		h.configure(wabek.url, key)
		h.hooks(afterCron())
		require.Empty(t, h.dump("mod_wabek_outbox"))
		messages += 2
		w.phones.receivesMore(t, digits, messages)
		h.hooks(event{"InvoiceCreated", row{"invoiceid": 14}}) // it had got through after all: one message
		said := wabek.took()
		require.Equal(t, true, said[len(said)-1].answer["duplicate"])

		require.NoError(t, os.Remove(filepath.Join(h.dir, "includes/hooks/wabek_config.php")))
		h.env = []string{"WABEK_URL=" + wabek.url, "WABEK_API_KEY=" + key}
		h.hooks(event{"InvoiceCreated", row{"invoiceid": 15}})
		require.Len(t, wabek.took(), 1, "by the settings of the environment")
		h.env = []string{}
		h.hooks(event{"InvoiceCreated", row{"invoiceid": 15}})
		require.Empty(t, wabek.took(), "without any settings nothing happens")
		h.configure(wabek.url, key)

		h.cli("", "sql", "INSERT INTO mod_wabek_outbox (action, facts, tries, created) VALUES ('InvoicePaid', '{', 0, 1), ('InvoicePaid', '{', 0, strftime('%s', 'now'))")
		h.hooks(afterCron())
		require.Empty(t, h.dump("mod_wabek_outbox"), "what is too old, or not to be read, is given up")
	})

	t.Run("the addon", func(t *testing.T) { h.playAddon(t, w, key, digits, messages) }) //nolint:paralleltest // a step of the story
	h.tellsNothing(key, digits[2:], w.secrets.apiKey)
}

var tokenPattern = regexp.MustCompile(`name="wabek_token" value="([0-9a-f]{32})"`)

// playAddon plays the addon's page, from its activation on. The phone shows n messages.
func (h *whmcs) playAddon(t *testing.T, w *world, key, digits string, n int) {
	t.Helper()
	b := h.visit("/admin")
	b.login("admin@example.com")
	require.Contains(t, h.cli("", "addon", "activate", "wabek"), `"success"`)
	const page = "addonmodules.php?module=wabek"
	settings := b.get(page + "&wabek=settings")
	require.Contains(t, settings, "the settings of the file are in force")
	require.NotContains(t, settings, key)
	token := tokenPattern.FindStringSubmatch(settings)[1]

	save := []string{"wabek_do", "save", "url", w.client.url, "key", key, "events[]", "InvoiceCreated", "events[]", "nonsense", "language", "", "domain_mails", "x"}
	require.Contains(t, b.post(page+"&wabek=settings", save...), "Nothing was done", "without the token")
	require.Empty(t, h.dump("mod_wabek_settings"))
	require.Contains(t, b.post(page+"&wabek=settings", append(save, "wabek_token", token)...), "Saved.")
	settings = b.get(page + "&wabek=settings")
	require.NotContains(t, settings, key)
	require.Contains(t, settings, "saved; leave empty to keep it")
	require.Contains(t, settings, `value="`+w.client.url+`"`)
	for _, row := range h.dump("mod_wabek_settings") {
		require.NotContains(t, row["value"], key, "the key is encrypted")
	}
	require.Contains(t, b.post(page+"&wabek=settings", "wabek_do", "save", "wabek_token", token, "url", "https://evil.example", "key", ""), "enter the key too where the address changes")
	require.Contains(t, b.post(page+"&wabek=settings", "wabek_do", "save", "wabek_token", token, "url", "javascript:alert(1)", "key", "x"), "Nothing was saved")
	tested := b.post(page+"&wabek=settings", "wabek_do", "test", "wabek_token", token)
	require.Contains(t, tested, "wabek is ready. The key may send codes. The key may send notices.")

	log := b.get(page)
	require.Contains(t, log, "invoice 11")
	require.Contains(t, log, "+90•••••0001")
	require.Contains(t, log, "Ayşe Yılmaz &amp; Co")
	require.Contains(t, log, "skipped no phone")
	require.NotContains(t, log, digits[2:])
	only := b.get(page + "&state=skipped")
	require.NotContains(t, only, "invoice 11")
	require.Contains(t, only, "invoice 12")
	require.Contains(t, b.get(page+"&event=InvoicePaid&userid=1"), "invoice 11")
	require.NotContains(t, b.get(page+`&event="><script>&state=<script>&before=<script>`), "<script>")

	h.hooks(event{"InvoiceCreated", row{"invoiceid": 11}}) // by the addon's settings now; told before
	paid := b.get(page + "&event=InvoicePaid&userid=1")
	id := regexp.MustCompile(`name="wabek_id" value="([0-9a-f-]{36})"`).FindStringSubmatch(paid)
	require.NotNil(t, id, paid)
	require.NotContains(t, b.get(page+"&wabek_do=resend&wabek_id="+id[1]+"&wabek_token="+token), "It is sent once more", "a link sends nothing")
	require.Contains(t, b.post(page, "wabek_do", "resend", "wabek_id", id[1]), "Nothing was done")
	require.Contains(t, b.post(page, "wabek_do", "resend", "wabek_id", id[1], "wabek_token", token), "It is sent once more.")
	w.phones.receivesMore(t, digits, n+1)

	rows, err := csv.NewReader(strings.NewReader(b.get(page + "&wabek=csv&state=skipped"))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, "no_phone", rows[1][9])
	rows, err = csv.NewReader(strings.NewReader(b.get(page + "&wabek=csv&userid=1&event=InvoicePaid"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "'+90•••••0001", rows[1][7], "no spreadsheet takes it for a formula")

	h.seed(map[string][]row{"tblinvoices": {{"id": 16, "userid": 1, "invoicenum": "2026-16", "total": "3.00"}}})
	require.Contains(t, h.cli("", "addon", "deactivate", "wabek"), `"success"`)
	h.hooks(event{"InvoiceCreated", row{"invoiceid": 16}})
	require.Empty(t, h.dump("mod_wabek_outbox"))
	res, err := b.c.Get(b.url + page) //nolint:noctx // the client has a timeout
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	h.cli("", "sql", "DELETE FROM mod_wabek_settings")
}
