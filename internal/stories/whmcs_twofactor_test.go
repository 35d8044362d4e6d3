package stories_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// enrolled makes a client who has turned on two-factor authentication by WhatsApp, and returns the phone's digits, which
// show n messages so far.
func (h *whmcs) enrolled(w *world, id int, digits string) {
	h.t.Helper()
	h.client(id, "+90."+digits[2:])
	b := h.visit("")
	b.login(email(id))
	page := b.get("index.php?do=enrol")
	require.Contains(h.t, page, "+90•••••"+digits[8:])
	require.NotContains(h.t, page, digits[2:8], "masked, also for who owns it")
	page = b.post("index.php?do=enrol", "wabek_account", "1")
	require.Contains(h.t, page, "on its way to +90•••••"+digits[8:])
	require.NotContains(h.t, page, "has been enabled")
	code := w.phones.receives(h.t, digits).code()
	require.Contains(h.t, b.post("index.php?do=enrol", "wabek_code", otherCode(code)), "The code is wrong. Tries left: 4.")
	require.Contains(h.t, b.post("index.php?do=enrol", "wabek_code", code), "has been enabled")
}

func email(id int) string { return "user" + string(rune('0'+id)) + "@example.com" }

// A login that a code guards, played through: right and wrong, used, again, locked, wabek away, another phone.
func TestStory_WHMCSTwoFactor(t *testing.T) { //nolint:tparallel // the subtests are the steps of one story
	t.Parallel()
	phpHere(t)
	w := startAll(t, "OTP_LENGTH=8", "OTP_COOLDOWN_SECONDS=0", "OTP_MAX_PER_HOUR=0", "OTP_MAX_PER_DAY=0")
	key := w.newApp("hosting", row{"wrongTries": 6})
	h := newWHMCS(t, "whmcs", w)
	h.paste()
	h.configure(w.client.url, key)
	secret := []string{key}
	notes := func(s string) string { secret = append(secret, s); return s }

	t.Run("right, wrong, used, reload, resend", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const digits = "905552000001"
		h.enrolled(w, 1, digits)
		notes(digits[2:])
		b := h.visit("")
		page := b.login(email(1))
		require.Equal(t, "do=challenge", b.last)
		require.Contains(t, page, "A code is on its way to +90•••••0001.")
		require.NotContains(t, page, digits[2:8])
		require.NotContains(t, strings.Replace(page, `<form method="post" action="?do=challenge">`, "", 2), "<form", "no form of its own")
		code := notes(w.phones.receivesMore(t, digits, 2).code())

		eventually(t, func() bool {
			return strings.Contains(b.get("index.php?do=challenge"), "A code was sent to +90•••••0001.")
		}, "the page never says sent")
		h.visit("").login(email(1)) // another session, with the right password
		require.Contains(t, b.post("index.php?do=challenge", "wabek_code", otherCode(code)), "The code is wrong. Tries left: 4.")
		require.Contains(t, b.post("index.php?do=challenge", "wabek_code", ""), "Enter the code.")
		again := h.visit("")
		again.login(email(1))
		require.Contains(t, again.post("index.php?do=challenge", "wabek_code", otherCode(code)), "Tries left: 3.", "no session has tries of its own")
		w.phones.receivesMore(t, digits, 2) // reloading and coming back has sent nothing

		require.Contains(t, b.post("index.php?do=challenge", "wabek_resend", "1"), "Another message is on its way to +90•••••0001.")
		require.Equal(t, code, w.phones.receivesMore(t, digits, 3).code(), "the same code once more, with the tries that are left")
		b.post("index.php?do=challenge", "wabek_code", " "+code[:4]+" "+code[4:]+" ")
		in, session := b.in()
		require.Equal(t, 1, in)
		require.NotContains(t, session, "wabek_otp_id", "a guarded login gets no second code")

		require.Contains(t, again.post("index.php?do=challenge", "wabek_code", code), "This code was used already.")
		in, _ = again.in()
		require.Zero(t, in)
	})

	t.Run("locked", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const digits = "905552000002"
		h.enrolled(w, 2, digits)
		notes(digits[2:])
		b := h.visit("")
		b.login(email(2))
		code := notes(w.phones.receivesMore(t, digits, 2).code())
		for range 4 {
			require.Contains(t, b.post("index.php?do=challenge", "wabek_code", otherCode(code)), "The code is wrong.")
		}
		require.Contains(t, b.post("index.php?do=challenge", "wabek_code", otherCode(code)), "Too many wrong codes. Ask for another code.")
		require.Contains(t, b.get("index.php?do=challenge"), "Too many wrong codes. Ask for another code.", "reloading brings no new code")
		page := b.post("index.php?do=challenge", "wabek_code", code)
		require.Contains(t, page, "incorrect")
		in, _ := b.in()
		require.Zero(t, in, "the right code is worth nothing any more")
		w.phones.receivesMore(t, digits, 2)

		require.Contains(t, b.post("index.php?do=challenge", "wabek_resend", "1"), "A code is on its way")
		fresh := notes(w.phones.receivesMore(t, digits, 3).code())
		b.post("index.php?do=challenge", "wabek_code", otherCode(fresh))
		require.Contains(t, b.post("index.php?do=challenge", "wabek_code", fresh), "Too many wrong codes in a row. Use your backup code", "new codes buy no tries without end")
		require.Contains(t, b.post("index.php?do=challenge", "wabek_resend", "1"), "Too many wrong codes in a row.")
		b.post("index.php?do=challenge", "backupcode", "BACKUP-2")
		in, _ = b.in()
		require.Equal(t, 2, in, "WHMCS's backup code is the way out")
	})

	t.Run("no other message within the pause", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const digits = "905552000003"
		slow := w.newApp("slow", row{"cooldownSeconds": 3600})
		other := newWHMCS(t, "slow", w)
		other.paste()
		other.configure(w.client.url, slow)
		other.client(3, "+90."+digits[2:])
		b := other.visit("")
		b.login(email(3))
		b.post("index.php?do=enrol", "wabek_account", "1")
		w.phones.receives(t, digits)
		require.Regexp(t, `Please wait 3[56]\d\d seconds before you ask for another code`, b.post("index.php?do=enrol", "wabek_resend", "1"))
		page := b.get("index.php?do=enrol")
		require.NotContains(t, page, "on its way")
		other.tellsNothing(slow, digits[2:])
	})

	t.Run("a phone that isn't on WhatsApp", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const digits = "905552000004"
		notes(digits[2:])
		w.phones.post(t, "/phones/"+digits, map[string]any{"exists": false})
		h.client(4, "+90."+digits[2:])
		b := h.visit("")
		b.login(email(4))
		page := b.post("index.php?do=enrol", "wabek_account", "1")
		eventually(t, func() bool {
			require.NotContains(t, page, "was sent")
			page = b.get("index.php?do=enrol")
			return strings.Contains(page, "The number +90•••••0004 is not on WhatsApp.")
		}, "the page never says that it failed")
	})

	t.Run("another phone", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const old, fresh = "905552000005", "905552000006"
		h.enrolled(w, 5, old)
		notes(old[2:])
		notes(fresh[2:])
		h.seed(map[string][]row{"tblclients": {{"id": 5, "phonenumber": "+90." + fresh[2:]}}})
		b := h.visit("")
		require.Contains(t, b.login(email(5)), "+90•••••0005", "a number in the profile guards nothing: the verified one does")
		b.post("index.php?do=challenge", "wabek_code", notes(w.phones.receivesMore(t, old, 2).code()))
		in, _ := b.in()
		require.Equal(t, 5, in)

		b.post("index.php?do=enrol", "wabek_number", "+"+old)
		first := notes(w.phones.receivesMore(t, old, 3).code())
		page := b.post("index.php?do=enrol", "wabek_number", "+90 555 200 00 06", "wabek_code", first)
		require.NotContains(t, page, "has been enabled", "the code of one number confirms no other")
		second := notes(w.phones.receives(t, fresh).code())
		require.Contains(t, b.post("index.php?do=enrol", "wabek_code", first), "The code is wrong.")
		require.Contains(t, b.post("index.php?do=enrol", "wabek_code", second), "has been enabled")
		b = h.visit("")
		require.Contains(t, b.login(email(5)), "+90•••••0006")
		b.post("index.php?do=challenge", "wabek_code", notes(w.phones.receivesMore(t, fresh, 2).code()))
		in, _ = b.in()
		require.Equal(t, 5, in)

		for _, bad := range []string{"5552000007", "+90", `"><script>`, ""} {
			page = b.post("index.php?do=enrol", "wabek_number", bad)
			require.Contains(t, page, "Enter a number in international form")
			require.NotContains(t, page, "<script>")
		}
		require.Contains(t, b.get("index.php?do=disable"), "has been disabled")
		require.NotContains(t, h.visit("").login(email(5)), "wabek_code")
	})

	t.Run("an admin and a client of the same id", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const client, admin = "905552000007", "905552000008"
		h.enrolled(w, 7, client)
		notes(client[2:])
		notes(admin[2:])
		h.seed(map[string][]row{"tbladmins": {{"id": 7, "email": "seven@example.com", "password": "right"}}})
		b := h.visit("/admin")
		b.login("seven@example.com")
		require.NotContains(t, b.get("index.php?do=enrol"), "of my account", "an admin has no client's number")
		b.post("index.php?do=enrol", "wabek_number", "+"+admin)
		require.Contains(t, b.post("index.php?do=enrol", "wabek_code", w.phones.receives(t, admin).code()), "has been enabled")
		for i, how := range []string{"on", "off"} { // also where WHMCS doesn't hand the settings back
			h.set("StandinUserSettings", how)
			seven, clientToo := h.visit("/admin"), h.visit("")
			require.Contains(t, seven.login("seven@example.com"), "+90•••••0008", how)
			require.Contains(t, clientToo.login(email(7)), "+90•••••0007", how)
			code := notes(w.phones.receivesMore(t, admin, 2+i).code())
			clientToo.post("index.php?do=challenge", "wabek_code", code)
			in, _ := clientToo.in()
			require.Zero(t, in, "an admin's code opens no client's account")
			seven.post("index.php?do=challenge", "wabek_code", code)
			in, _ = seven.in()
			require.Equal(t, 7, in, how)
		}
		h.set("StandinUserSettings", "on")
		h.cli("", "sql", "UPDATE mod_wabek_twofactor SET who = 'client:7'") // where a WHMCS doesn't let its areas be told apart
		require.Contains(t, h.visit("/admin").login("seven@example.com"), "+90•••••0008")
		require.Contains(t, h.visit("").login(email(7)), "+90•••••0007")
	})

	t.Run("wabek stopped", func(t *testing.T) { //nolint:paralleltest // a step of the story
		const digits = "905552000009"
		h.enrolled(w, 9, digits)
		notes(digits[2:])
		b := h.visit("")
		b.login(email(9))
		code := notes(w.phones.receivesMore(t, digits, 2).code())
		w.api.kill()
		page := b.post("index.php?do=challenge", "wabek_code", code)
		require.Contains(t, page, "No WhatsApp codes can be sent or checked right now. Use your backup code")
		require.NotContains(t, page, "was sent")
		in, _ := b.in()
		require.Zero(t, in, "what can't be checked isn't right")
		later := h.visit("")
		require.Contains(t, later.login(email(9)), "Use your backup code")
		require.Contains(t, later.post("index.php?do=challenge", "wabek_resend", "1"), "Use your backup code")
		w.startAPI()
		w.untilReady()
		b.post("index.php?do=challenge", "wabek_code", code)
		in, _ = b.in()
		require.Equal(t, 9, in, "the code has outlived it")
	})

	t.Run("in Turkish, and after the tables were lost", func(t *testing.T) { //nolint:paralleltest // a step of the story
		h.write("includes/hooks/language.php", "<?php\nif (isset($_GET['tr'])) {\n    $_SESSION['Language'] = 'turkish';\n}\n")
		b := h.visit("")
		b.get("index.php?tr=1")
		require.Contains(t, b.login(email(9)), "Kod +90•••••0009 numarasına gönderiliyor.")
		h.cli("", "sql", "DROP TABLE mod_wabek_twofactor")
		require.Contains(t, b.get("index.php?do=challenge"), "sizin için kurulmamış")
		require.NotContains(t, b.post("index.php?do=challenge", "wabek_code", "12345678"), `"in":9`)
		in, _ := b.in()
		require.Zero(t, in)
	})
	secret = append(secret, w.secrets.apiKey)
	h.tellsNothing(secret...)
	require.Contains(t, h.cli("", "dump", "tblmodulelog"), `\"otp\":`, "the module log was there to search")
}
