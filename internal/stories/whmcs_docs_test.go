package stories_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// blocks are the code blocks of a language in a page.
func blocks(page, language string) (all []string) {
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?\n)```\n").FindAllStringSubmatch(page, -1) {
		all = append(all, m[1])
	}
	return all
}

// docs/whmcs.md, followed word for word.
func TestStory_WHMCSDocs(t *testing.T) {
	t.Parallel()
	phpHere(t)
	w := startAll(t, "WABEK_OUTBOUND_NETWORKS=127.0.0.0/8", "WABEK_OUTBOUND_PLAIN_HTTP=true", "OTP_COOLDOWN_SECONDS=0")
	h := newWHMCS(t, "whmcs", w)
	page := read(t, root+"/docs/whmcs.md")
	commands, hooks := blocks(page, "sh"), blocks(page, "php")
	require.Len(t, commands, 3)
	require.Len(t, hooks, 1)
	shell := func(script string, env ...string) string {
		t.Helper()
		for said, is := range map[string]string{"/var/www/whmcs/": h.dir + "/", "https://billing.example.com": h.url, "\napi ": "\n" + bin + "/api ", "| api ": "| " + bin + "/api "} {
			script = strings.ReplaceAll("\n"+script, said, is)[1:]
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
		cmd.Dir, cmd.Env = root, append(append([]string{"PATH=/usr/bin:/bin"}, w.api.env...), env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}

	// 1. a key
	key := regexp.MustCompile(`(?m)^wbk_\S+$`).FindString(shell(commands[0]))
	require.NotEmpty(t, key)
	// 2. the folder
	shell(commands[1])
	// 3. address and key
	h.cli("", "addon", "activate", "wabek")
	admin := h.visit("/admin")
	admin.login("admin@example.com")
	const addon = "addonmodules.php?module=wabek"
	token := tokenPattern.FindStringSubmatch(admin.get(addon + "&wabek=settings"))[1]
	save := []string{"wabek_do", "save", "wabek_token", token, "url", w.client.url, "key", key, "events[]", "InvoiceCreated"}
	require.Contains(t, admin.post(addon+"&wabek=settings", save...), "Saved.")
	require.Contains(t, admin.post(addon+"&wabek=settings", "wabek_do", "test", "wabek_token", token), "wabek is ready. The key may send codes. The key may send notices.")
	// 4. two-factor authentication
	const digits = "905556000001"
	h.enrolled(w, 1, digits)
	b := h.visit("")
	b.login(email(1))
	b.post("index.php?do=challenge", "wabek_code", w.phones.receivesMore(t, digits, 2).code())
	in, _ := b.in()
	require.Equal(t, 1, in)
	// and a notice
	h.seed(map[string][]row{"tblinvoices": {{"id": 1, "userid": 1, "invoicenum": "2026-1", "total": "5.00"}, {"id": 2, "userid": 1, "invoicenum": "2026-2", "total": "5.00"}}})
	h.hooks(event{"InvoiceCreated", row{"invoiceid": 1}}, afterCron())
	require.Contains(t, w.phones.receivesMore(t, digits, 3).Text, "Acme Hosting")
	require.Contains(t, admin.get(addon), "invoice 1<")

	// a hook of one's own, beside a WHMCS without the folder
	bare := newWHMCS(t, "bare", w)
	bare.client(1, "+90."+digits[2:])
	bare.seed(map[string][]row{
		"tblapi":      {{"identifier": "an-id", "secret": "an-api-secret"}},
		"tblinvoices": {{"id": 2, "userid": 1, "invoicenum": "2026-2", "total": "5.00"}},
	})
	hook := strings.NewReplacer("https://otp.example.com", w.client.url, "your-api-key", key).Replace(hooks[0])
	bare.write("includes/hooks/wabek.php", hook)
	h.url = bare.url
	shell(commands[2], "SECRET=an-api-secret", "IDENTIFIER=an-id")
	bare.hooks(event{"InvoiceCreated", row{"invoiceid": 2}})
	require.Contains(t, w.phones.receivesMore(t, digits, 4).Text, "2026-2")

	// what the page names is there
	for _, path := range regexp.MustCompile("`((?:modules|includes)/[a-z_/.]+)`").FindAllStringSubmatch(page, -1) {
		if path[1] != "includes/hooks/wabek_config.php" && path[1] != "includes/hooks/wabek.php" {
			require.FileExists(t, existing(filepath.Join(modules, path[1])))
		}
	}
}

// existing is a file in a directory, where a path names one.
func existing(path string) string {
	if found, err := filepath.Glob(filepath.Join(path, "*.php")); err == nil && len(found) > 0 {
		return found[0]
	}
	return path
}
