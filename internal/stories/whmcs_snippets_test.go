package stories_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// snippets is what hosting companies have pasted into their WHMCS: plain curl, and variables that WHMCS never documented.
const snippets = `<?php

add_hook('ClientLogin', 1, function ($vars) {
    $phone = $vars['client']['phonenumber'];
    $ch = curl_init('https://otp.example.com/api/v1/otp');
    curl_setopt($ch, CURLOPT_POST, true);
    curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
    curl_setopt($ch, CURLOPT_HTTPHEADER, ['Content-Type: application/json', 'X-API-Key: your-api-key']);
    curl_setopt($ch, CURLOPT_POSTFIELDS, json_encode(['phone' => $phone, 'purpose' => 'login']));
    $response = json_decode(curl_exec($ch), true);
    curl_close($ch);
    if (isset($response['otpId'])) {
        $_SESSION['wabek_otp_id'] = $response['otpId'];
    }
});

add_hook('InvoiceCreated', 1, function ($vars) {
    $ch = curl_init('https://otp.example.com/api/v1/whmcs-webhook');
    curl_setopt($ch, CURLOPT_POST, true);
    curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
    curl_setopt($ch, CURLOPT_HTTPHEADER, ['Content-Type: application/json', 'X-API-Key: your-api-key']);
    curl_setopt($ch, CURLOPT_POSTFIELDS, json_encode([
        'action' => 'InvoiceCreated',
        'invoiceid' => $vars['invoiceid'],
        'userid' => $vars['userid'],
    ]));
    curl_exec($ch);
    curl_close($ch);
});
`

// The two well-known snippets work as they are: with a client array, and with the documented variables alone.
func TestStory_WHMCSSnippets(t *testing.T) { //nolint:tparallel // the subtests are the steps of one story
	t.Parallel()
	phpHere(t)
	w := startAll(t, "WABEK_COUNTRY=TR", "OTP_COOLDOWN_SECONDS=0", "WABEK_OUTBOUND_NETWORKS=127.0.0.0/8", "WABEK_OUTBOUND_PLAIN_HTTP=true")
	wabek := w.record()
	h := newWHMCS(t, "whmcs", w)
	h.write("includes/hooks/snippets.php", strings.NewReplacer("https://otp.example.com", wabek.url, "your-api-key", w.secrets.apiKey).Replace(snippets))

	t.Run("login, with a client array", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.set("StandinClientLogin", "client")
		for i, c := range []struct{ stored, digits string }{
			{"+90.5554000001", "905554000001"}, {"5554000002", "905554000002"}, {"05554000003", "905554000003"}, {"+44.07911123456", "447911123456"},
		} {
			h.client(i+1, c.stored)
			b := h.visit("")
			b.login(email(i + 1))
			in, session := b.in()
			require.Equal(t, i+1, in)
			id, _ := session["wabek_otp_id"].(string)
			v, err := w.client.verify(id, w.phones.receives(t, c.digits).code())
			require.NoError(t, err)
			require.True(t, v.Valid, c.stored)
		}
		wabek.took()
	})

	t.Run("login, with the documented variables", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.set("StandinClientLogin", "documented")
		h.client(5, "+90.5554000005")
		b := h.visit("")
		b.login(email(5))
		in, session := b.in()
		require.Equal(t, 5, in, "the login goes on")
		require.NotContains(t, session, "wabek_otp_id")
		said := wabek.took()
		require.Len(t, said, 1)
		require.Equal(t, map[string]any{"phone": nil, "purpose": "login"}, said[0].request)
		require.Equal(t, http.StatusBadRequest, said[0].status)
		require.Equal(t, "phone", said[0].answer["field"])
		require.Equal(t, "/docs/errors#invalid_field", said[0].answer["type"])
		page, err := request(http.MethodGet, w.client.url+"/docs/errors", nil, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, page.status)
		require.Contains(t, string(page.body), "\n## invalid_field\n")
	})

	t.Run("invoice", func(t *testing.T) { //nolint:paralleltest // a step of the story
		w.admin(http.MethodPut, "apps/default/whmcs", row{"url": h.url, "identifier": "id", "secret": "an-api-secret"})
		h.client(6, "+90.5554000006")
		h.client(7, "5554000007")
		h.seed(map[string][]row{
			"tblapi": {{"identifier": "id", "secret": "an-api-secret"}},
			"tblinvoices": {
				{"id": 61, "userid": 6, "invoicenum": "2026-61", "total": "120.50", "balance": "120.50", "duedate": "2026-12-01"},
				{"id": 71, "userid": 7, "invoicenum": "2026-71", "total": "99.00", "balance": "99.00", "duedate": "2026-12-02"},
			},
		})
		h.hooks(
			event{"InvoiceCreated", row{"invoiceid": 61, "userid": 6}},
			event{"InvoiceCreated", row{"source": "autogen", "user": "system", "invoiceid": 71, "status": "Unpaid"}}, // as documented
			event{"InvoiceCreated", row{"invoiceid": 61, "userid": 6}},
		)
		said := wabek.took()
		require.Len(t, said, 3)
		require.Equal(t, map[string]any{"action": "InvoiceCreated", "invoiceid": 71.0, "userid": nil}, said[1].request)
		require.Equal(t, said[0].answer["eventId"], said[2].answer["eventId"])
		for _, x := range said {
			require.Equal(t, http.StatusOK, x.status)
		}
		require.Contains(t, w.phones.receives(t, "905554000006").Text, "2026-61")
		second := w.phones.receives(t, "905554000007").Text
		require.Contains(t, second, "2026-71")
		require.Contains(t, second, h.url+"/viewinvoice.php?id=71")
	})

	t.Run("invoice, while WHMCS can't be asked", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.client(8, "+90.5554000008")
		for i, how := range []string{"html", "forbidden", "broken"} {
			id := 81 + i
			h.set("StandinAPI", how)
			h.seed(map[string][]row{"tblinvoices": {{"id": id, "userid": 8, "invoicenum": "N-" + how, "total": "5.00"}}})
			h.hooks(event{"InvoiceCreated", row{"invoiceid": id}})
		}
		require.Len(t, wabek.took(), 3)
		h.set("StandinAPI", "well")
		w.phones.receivesMore(t, "905554000008", 3)
	})
}
