package stories_test

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// brokenWabek takes each connection and says nothing. It returns its address and how many connections there were.
func brokenWabek(t *testing.T) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	n := new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = c.Close()
		}
	}()
	return "http://" + l.Addr().String(), n
}

// A login with the hook pasted in: its code arrives, the session has the id and no more, and no trouble of wabek's is the
// client's.
func TestStory_WHMCSLoginHook(t *testing.T) { //nolint:tparallel // the subtests are the steps of one story
	t.Parallel()
	phpHere(t)
	w := startAll(t, "OTP_LENGTH=8", "OTP_COOLDOWN_SECONDS=0")
	key := w.newApp("hosting", row{"country": "TR"})
	app := apiClient{url: w.client.url, key: key}
	h := newWHMCS(t, "whmcs", w)
	h.paste()
	h.configure(w.client.url, key, "'login_otp' => true,")
	h.set("StandinClientLogin", "documented") // some releases run both hooks
	var secret []string
	login := func(b *browser, id int, digits string, messages int) {
		t.Helper()
		b.login(email(id))
		in, session := b.in()
		require.Equal(t, id, in)
		code := w.phones.receivesMore(t, digits, messages).code()
		otp, _ := session["wabek_otp_id"].(string)
		verdict, err := app.verify(otp, code)
		require.NoError(t, err)
		require.True(t, verdict.Valid)
		secret = append(secret, code, digits[2:])
	}
	for i, stored := range []string{"+90.5553000001", "5553000002", "0555 300 00 03", "+90.05553000004"} {
		h.client(i+1, stored)
		login(h.visit(""), i+1, "90555300000"+string(rune('1'+i)), 1)
	}
	require.Contains(t, h.activity(), "wabek: login code queued for +90•••••0001")

	t.Run("the custom field with the WhatsApp number", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.client(5, "+90.5553000099")
		h.seed(map[string][]row{
			"tblcustomfields":       {{"id": 1, "fieldname": "WhatsApp"}},
			"tblcustomfieldsvalues": {{"id": 1, "fieldid": 1, "relid": 5, "value": "+44 7911 123456"}},
		})
		h.configure(w.client.url, key, "'login_otp' => true,", "'number_field' => 1,")
		login(h.visit(""), 5, "447911123456", 1)
	})

	t.Run("WHMCS without the table that we look into first", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.client(6, "+90.5553000006")
		h.cli("", "sql", "ALTER TABLE tblusers_clients RENAME TO tblusers_clients_elsewhere")
		h.hooks(event{Hook: "UserLogin", Vars: row{"user": row{"id": 6, "email": email(6)}}})
		w.phones.receives(t, "905553000006")
		h.cli("", "sql", "ALTER TABLE tblusers_clients_elsewhere RENAME TO tblusers_clients")
	})

	t.Run("who gets none", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.client(7, "+90.5553000007")
		asClient := h.visit("/admin")
		asClient.login("admin@example.com")
		asClient.url = h.url + "/"
		asClient.login(email(7)) // by an admin, who logs in as the client
		in, session := asClient.in()
		require.Equal(t, 7, in)
		require.NotContains(t, session, "wabek_otp_id")

		h.client(8, "")
		h.visit("").login(email(8))
		require.Contains(t, h.activity(), "wabek: no login code: the client has no phone number")

		h.seed(map[string][]row{"tblusers_clients": {{"id": 7, "owner": 0}}}) // another's user, who sees this client only
		h.visit("").login(email(7))
		h.set("StandinClientLogin", "")
		h.visit("").login(email(7))
		h.configure(w.client.url, key)
		h.client(9, "+90.5553000009")
		h.visit("").login(email(9)) // the setting is off
		shown, err := w.phones.shows("905553000009")
		require.NoError(t, err)
		require.Empty(t, shown)
	})

	t.Run("wabek away", func(t *testing.T) { //nolint:paralleltest // a step of the story
		b := h.visit("")
		h.configure(w.client.url, key, "'login_otp' => true,")
		login(b, 1, "905553000001", 2)
		broken, connections := brokenWabek(t)
		h.configure(broken, key, "'login_otp' => true,", "'events' => ['UserLogin'],")
		b.login(email(1))
		in, session := b.in()
		require.Equal(t, 1, in, "the login goes on")
		require.NotContains(t, session, "wabek_otp_id", "that of another login stands for nothing")
		require.EqualValues(t, 1, connections.Load(), "a login waits once for a wabek that isn't there")
		h.configure("http://"+freeAddr(t), key, "'login_otp' => true,", "'events' => ['UserLogin'],")
		b.login(email(1))
		in, _ = b.in()
		require.Equal(t, 1, in)
		require.Len(t, h.dump("mod_wabek_outbox"), 2, "the alerts wait")
		require.NoError(t, w.untilCron(h, key))
		eventually(t, func() bool { // two logins within a second are one to wabek
			shown, err := w.phones.shows("905553000001")
			return err == nil && len(shown) > 2 && strings.Contains(shown[len(shown)-1].Text, "127.0.0.1")
		}, "the alerts don't arrive")
	})

	t.Run("without the library", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.cli("", "sql", "DELETE FROM tblactivitylog")
		bare := newWHMCS(t, "bare", w)
		bare.write("includes/hooks/wabek_otp.php", read(t, modules+"/includes/hooks/wabek_otp.php"))
		bare.client(1, "+90.5553000001")
		b := bare.visit("")
		b.login(email(1))
		in, _ := b.in()
		require.Equal(t, 1, in)
		bare.hooks(event{Hook: "DailyCronJob"})
		require.Equal(t, []string{"wabek: modules/addons/wabek/lib is missing, so nothing is sent"}, bare.activity())
	})
	h.tellsNothing(append(secret, key, w.secrets.apiKey)...)
}

// untilCron lets the cron run against the real wabek.
func (w *world) untilCron(h *whmcs, key string) error {
	h.t.Helper()
	h.configure(w.client.url, key, "'events' => ['UserLogin'],")
	h.hooks(afterCron())
	require.Empty(h.t, h.dump("mod_wabek_outbox"))
	_, err := request(http.MethodGet, w.client.url+"/healthz", nil, nil)
	return err
}
