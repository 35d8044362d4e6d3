package callback_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"wabek/internal/callback"
)

// delivered is a callback as a snippet of the documentation gets it, and whether it must be believed.
type delivered struct {
	Name    string            `json:"name"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Good    bool              `json:"-"`
}

// deliveries are callbacks, good and bad.
func deliveries(t *testing.T) []delivered {
	t.Helper()
	secret, old, foreign := callback.NewSecret(), callback.NewSecret(), callback.NewSecret()
	body := `{"type":"otp.status","data":{"to":"+90•••••4567"}}`
	signed := func(name string, age time.Duration, good bool, change func(*delivered), by ...callback.Secret) delivered {
		at := time.Now().Add(-age)
		var signatures []string
		for _, s := range by {
			wh, err := standardwebhooks.NewWebhook(s.Reveal())
			require.NoError(t, err)
			signature, err := wh.Sign("otp-25", at, []byte(body))
			require.NoError(t, err)
			signatures = append(signatures, signature)
		}
		d := delivered{Name: name, Secret: secret.Reveal(), Body: body, Good: good, Headers: map[string]string{
			"webhook-id": "otp-25", "webhook-timestamp": strconv.FormatInt(at.Unix(), 10), "webhook-signature": strings.Join(signatures, " "),
		}}
		if change != nil {
			change(&d)
		}
		return d
	}
	none := func(header string) func(*delivered) { return func(d *delivered) { delete(d.Headers, header) } }
	return []delivered{
		signed("one signature", 0, true, nil, secret),
		signed("two, ours first", 0, true, nil, secret, old),
		signed("two, ours last", 0, true, nil, old, secret),
		signed("four minutes old", 4*time.Minute, true, nil, secret),
		signed("of another version beside", 0, true, func(d *delivered) { d.Headers["webhook-signature"] = "v1a,xyz v2 " + d.Headers["webhook-signature"] }, secret),
		signed("another's signature", 0, false, nil, foreign),
		signed("no signature", 0, false, none("webhook-signature"), secret),
		signed("an empty signature", 0, false, func(d *delivered) { d.Headers["webhook-signature"] = "v1," }, secret),
		signed("no id", 0, false, none("webhook-id"), secret),
		signed("no timestamp", 0, false, none("webhook-timestamp"), secret),
		signed("a timestamp that is no number", 0, false, func(d *delivered) { d.Headers["webhook-timestamp"] = "now" }, secret),
		signed("ten minutes old", 10*time.Minute, false, nil, secret),
		signed("of the future", -10*time.Minute, false, nil, secret),
		signed("another id", 0, false, func(d *delivered) { d.Headers["webhook-id"] = "otp-26" }, secret),
		signed("another body", 0, false, func(d *delivered) { d.Body += " " }, secret),
		signed("a signature of strange letters", 0, false, func(d *delivered) { d.Headers["webhook-signature"] = "v1,ü€" }, secret),
	}
}

// drivers make a program of each function in docs/callbacks.md: it reads callbacks from stdin and prints the names of
// those that it believes.
func drivers() map[string]struct{ file, before, after, run string } {
	return map[string]struct{ file, before, after, run string }{
		"php": {"main.php", "<?php\n", `
foreach (json_decode(file_get_contents('php://stdin'), true) as $d) {
    if (wabek_verify($d['secret'], $d['headers'], $d['body'])) echo $d['name'], "\n";
}`, "php main.php"},
		"python": {"main.py", "", `
import json, sys
for d in json.load(sys.stdin):
    if wabek_verify(d["secret"], d["headers"], d["body"].encode()):
        print(d["name"])
`, "python3 main.py"},
		"js": {"main.mjs", "", `
import { readFileSync } from "node:fs";
for (const d of JSON.parse(readFileSync(0, "utf8"))) {
  if (wabekVerify(d.secret, d.headers, Buffer.from(d.body))) console.log(d.name);
}`, "node main.mjs"},
		"go": {"verify.go", "", "", "go run verify.go main.go"},
	}
}

const goMain = `package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

func main() {
	var all []struct {
		Name, Secret, Body string
		Headers            map[string]string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil {
		panic(err)
	}
	for _, d := range all {
		header := http.Header{}
		for name, value := range d.Headers {
			header.Set(name, value)
		}
		if wabekVerify(d.Secret, header, []byte(d.Body)) {
			fmt.Println(d.Name)
		}
	}
}
`

func TestDocs_TheirFunctionsBelieveWhatTheyShould(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/callbacks.md")
	require.NoError(t, err)
	all := deliveries(t)
	stdin, err := json.Marshal(all)
	require.NoError(t, err)
	var want []string
	for _, d := range all {
		if d.Good {
			want = append(want, d.Name)
		}
	}
	for language, d := range drivers() {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(d.run)
			program, err := exec.LookPath(args[0])
			if err != nil {
				t.Skipf("NOT RUN: there is no %s here, so the function in the documentation wasn't tried", args[0])
			}
			code := regexp.MustCompile("(?s)\n```" + language + "\n(.*?)\n```\n").FindSubmatch(page)
			require.NotNil(t, code)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, d.file), []byte(d.before+string(code[1])+"\n"+d.after), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(goMain), 0o600))
			cmd := exec.CommandContext(t.Context(), program, args[1:]...)
			cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, want, strings.Split(strings.TrimSpace(string(out)), "\n"))
		})
	}
}
