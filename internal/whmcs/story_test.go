package whmcs_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/whmcs"
)

func signedClient() *whmcs.Client {
	return &whmcs.Client{Phone: "+90.5551234567", Country: "TR", Language: "turkish", FirstName: "Ayşe", Currency: "TRY"}
}

// What GetInvoice and GetClientsDetails answer, as the documentation of WHMCS shows it.
const (
	getInvoice = `{"result":"success","invoiceid":"1","invoicenum":"","userid":"2","date":"2026-11-24","duedate":"2026-12-01","datepaid":"0000-00-00 00:00:00","subtotal":"100.00","total":"120.00","balance":"120.00","status":"Unpaid"}`
	getClient  = `{"result":"success","client":{"client_id":2,"firstname":"Jane","country":"GB","phonenumber":"7400 123456","phonecc":44,"phonenumberformatted":"+44.07400123456","telephoneNumber":"+44.7400123456","language":"","currency_code":"GBP"}}`
)

// documented answers as a WHMCS in order does.
func documented(t *testing.T) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/billing/includes/api.php" || r.FormValue("identifier") != "id" || r.FormValue("secret") != "s3cr3t" || r.FormValue("accesskey") != "k" || r.FormValue("responsetype") != "json" {
			t.Errorf("asked in another way: %s", r.URL.Path)
		}
		switch r.FormValue("action") {
		case "GetInvoice":
			_, _ = fmt.Fprint(w, getInvoice)
		case "GetClientsDetails":
			if r.FormValue("clientid") != "2" {
				_, _ = fmt.Fprint(w, `{"result":"error","message":"Client Not Found"}`)
				return
			}
			_, _ = fmt.Fprint(w, getClient)
		}
	}
}

func TestStory_TheMinimalHook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.install(documented(t))
	id := b.accept(whmcs.Hook{Action: "InvoiceCreated", Invoice: 1})
	body := b.message(id)
	require.Equal(t, "+447400123456", body.To.E164())
	for _, part := range []string{"Shop", "Jane", "120.00", "GBP", "/billing/viewinvoice.php?id=1", "STOP"} {
		require.Contains(t, body.Text, part)
	}
	n, err := b.hooks.Find(t.Context(), "shop", id)
	require.NoError(t, err)
	require.EqualValues(t, 2, n.User, "told by WHMCS")
	require.NotContains(t, n.To, "123456")
	_, err = b.hooks.Find(t.Context(), "other", id)
	require.ErrorIs(t, err, whmcs.ErrNoNotice)
}

func TestStory_TheEnrichedHookAsksNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.install(func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	id := b.accept(whmcs.Hook{Action: "InvoiceCreated", Invoice: 1, User: 2, Client: signedClient(), Data: &whmcs.Data{Invoice: "2026-17", Total: "99.50", Due: "2026-12-01", URL: "https://billing.example/pay/1"}})
	body := b.message(id)
	require.Equal(t, "+905551234567", body.To.E164())
	for _, part := range []string{"Shop", "Ayşe", "2026-17", "TRY", "https://billing.example/pay/1"} {
		require.Contains(t, body.Text, part)
	}
}

func TestStory_WhoIsNotTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, func() error {
		n, _, err := signedClient().NumberOf("")
		if err != nil {
			return err
		}
		return b.hooks.SetOptOut(t.Context(), "default", n, true, b.now())
	}())
	invoice := whmcs.Number(0)
	hook := func(c *whmcs.Client) whmcs.Hook {
		invoice++
		return whmcs.Hook{Action: "InvoiceCreated", Invoice: invoice, Client: c, Data: &whmcs.Data{}}
	}
	for reason, h := range map[string]whmcs.Hook{
		whmcs.ReasonNoPhone:  hook(&whmcs.Client{Country: "TR"}),
		whmcs.ReasonBadPhone: hook(&whmcs.Client{Phone: "12"}),
		whmcs.ReasonOptedOut: hook(signedClient()),
		whmcs.ReasonNoAPI:    {Action: "InvoicePaid", Invoice: 1, User: 2},
	} {
		n := b.becomes(b.accept(h), whmcs.Skipped)
		require.Equal(t, reason, n.Reason)
		require.Empty(t, n.Sealed, "nothing of it is kept")
	}
	b.install(documented(t))
	for _, h := range []whmcs.Hook{{Action: "ClientLogin", User: 9}, {Action: "TicketOpen", Ticket: 3}} {
		require.Equal(t, whmcs.ReasonUnknownClient, b.becomes(b.accept(h), whmcs.Skipped).Reason)
	}
	app, _ := b.apps.WHMCSApp("shop")
	app.SendsTo = func(region string) bool { return region != "DE" }
	b.apps.set(app)
	n := b.becomes(b.accept(hook(&whmcs.Client{Phone: "+49.15123456789"})), whmcs.Skipped)
	require.Equal(t, whmcs.ReasonCountry, n.Reason)
}

// A WHMCS that is down, broken, or doesn't let us in costs time and nothing else; others don't wait for it.
func TestStory_AWHMCSThatIsAway(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.HandlerFunc{
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"403": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"result":"error","message":"Invalid IP 127.0.0.1"}`)
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>maintenance</html>") },
		"a wrong secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, `{"result":"error","message":"Authentication Failed"}`)
		},
		"no connection": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"another redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.apps.set(whmcs.App{Name: "other", Title: "Other", Pool: "default"})
			var mended atomic.Bool
			var asked atomic.Int64
			good := documented(t)
			b.install(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if mended.Load() {
					good(w, r)
					return
				}
				broken(w, r)
			})
			ids := []whmcs.ID{b.accept(whmcs.Hook{Action: "InvoiceCreated", Invoice: 1}), b.accept(whmcs.Hook{Action: "InvoicePaid", Invoice: 1})}
			require.Eventually(t, func() bool { return asked.Load() > 0 }, patient, tick)
			// The enriched events of another app go through.
			other, _, err := b.hooks.Accept(t.Context(), "other", whmcs.Hook{Action: "InvoiceCreated", Invoice: 1, Client: signedClient()})
			require.NoError(t, err)
			b.becomes(other, whmcs.Queued)
			for _, id := range ids {
				n, err := b.store.Notice(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, whmcs.Accepted, n.State)
			}
			mended.Store(true)
			b.after(time.Minute)
			for _, id := range ids {
				b.becomes(id, whmcs.Queued)
			}
		})
	}
}

func TestStory_AWHMCSThatIsAwayForAWeek(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.install(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	id := b.accept(whmcs.Hook{Action: "InvoiceCreated", Invoice: 1})
	b.after(time.Since(b.now()) + whmcs.EventLife + time.Minute) // ids carry the time of the real clock
	require.Equal(t, whmcs.ReasonWHMCSTooLong, b.becomes(id, whmcs.Failed).Reason)
}

// A month's run waits in front of the resolver, not in front of the senders; it can be paused.
func TestStory_BackPressureAndPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []whmcs.ID
	for i := range 30 {
		ids = append(ids, b.accept(whmcs.Hook{Action: "InvoiceCreated", Invoice: whmcs.Number(i + 1), Client: signedClient()}))
	}
	count := func() (n int) { b.mu.Lock(); defer b.mu.Unlock(); return len(b.released) }
	require.Eventually(t, func() bool { return count() >= 4 }, patient, tick)
	app, _ := b.apps.WHMCSApp("shop")
	app.Paused = true
	b.apps.set(app)
	b.settle()
	// At most those that were already past the look for room: as many as are resolved at once, and one.
	waiting := func() int {
		list, err := b.store.Unresolved(t.Context(), whmcs.ID{}, 100)
		require.NoError(t, err)
		return len(list)
	}
	require.GreaterOrEqual(t, waiting(), len(ids)-4-8-1)
	app.Paused = false
	b.apps.set(app)
	require.Eventually(t, func() bool { b.settle(); return waiting() == 0 }, patient, tick)
	for _, id := range ids {
		b.becomes(id, whmcs.Queued)
	}
	require.Equal(t, len(ids), count(), "each released once")
}

// Events that were accepted and not resolved are when the process comes back, whatever the queue still knows of them.
func TestStory_ARestartBetweenAcceptingAndResolving(t *testing.T) {
	t.Parallel()
	b := setup(t)
	app, _ := b.apps.WHMCSApp("shop")
	app.Paused = true
	b.apps.set(app)
	var ids []whmcs.ID
	for i := range 20 {
		ids = append(ids, b.accept(whmcs.Hook{Action: "InvoiceCreated", Invoice: whmcs.Number(i + 1), Client: signedClient()}))
	}
	b.stop()
	app.Paused = false
	b.apps.set(app)
	b.start()
	require.Eventually(t, func() bool {
		b.settle()
		list, err := b.store.Unresolved(t.Context(), whmcs.ID{}, 100)
		return err == nil && len(list) == 0
	}, patient, tick)
	for _, id := range ids {
		require.Equal(t, 1, b.becomes(id, whmcs.Queued).Sends)
	}
}
