package console_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// TestBrowser plays the pages in a real Chromium, over the real API.
func TestBrowser(t *testing.T) {
	t.Parallel()
	chrome := chromium(t)
	for _, c := range []struct {
		name string
		play func(*tab)
	}{
		{"an OTP from sending to verified", (*tab).playStory},
		{"errors", (*tab).playErrors},
		{"messages that don't arrive", (*tab).playEnds},
		{"a test number, and too many wrong codes", (*tab).playTestNumber},
		{"again, cancelled, and a lost connection", (*tab).playAgain},
		{"signing in and out", (*tab).playSignIn},
		{"the other pages", (*tab).playPages},
		{"over plain http from another machine", (*tab).playPlainHTTP},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.play(setupAt(t, time.Time{}).tab(chrome))
		})
	}
}

// send sends an OTP from the page and gives its id.
func (p *tab) send() string {
	p.t.Helper()
	p.fill("#phone", number)
	before := eval[string](p, `document.querySelector('#answer').dataset.text ?? ''`)
	p.click("#send button")
	p.until(fmt.Sprintf(`document.querySelector('#answer').dataset.text?.includes('"otpId"') && document.querySelector('#answer').dataset.text !== %q`, before))
	var issued struct {
		ID string `json:"otpId"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(eval[string](p, `document.querySelector('#answer').dataset.text`)), &issued))
	return issued.ID
}

// step waits until a row of the timeline is done and gives its milliseconds.
func (p *tab) step(name string) int {
	p.t.Helper()
	shown := p.text(`[data-step="`+name+`"][data-state="done"] .ms`, " ms")
	require.Regexp(p.t, `^[\d,]+ ms$`, shown)
	ms, err := strconv.Atoi(strings.NewReplacer(",", "", " ms", "").Replace(shown))
	require.NoError(p.t, err)
	return ms
}

func (p *tab) playStory() {
	t, b := p.t, p.b
	p.signIn()
	p.text("#request", `"purpose": "verification"`) // before anything is sent: what would be
	p.inspect("live-empty")

	id := p.send()
	p.text("#delivery-note", "+90•••••4567")
	p.text("#status", "200")
	ms := []int{p.step("queued")}
	for _, s := range []job.State{job.Sending, job.Sent, job.Delivered} {
		b.api.Say(id, s)
		ms = append(ms, p.step(string(s)))
		require.Equal(t, string(s), strings.ToLower(strings.Fields(eval[string](p, `document.querySelector('[data-now]').innerText`))[0]))
		require.Contains(t, strings.ToLower(p.text("#announcements", " ms")), string(s)+" after", "what people who can't see it hear")
	}
	p.text("#connection", "live")
	p.text("#expiry", "Expires in 9:")
	p.inspect("live-delivered")
	b.api.Say(id, job.Read)
	ms = append(ms, p.step("read"))
	require.IsNonDecreasing(t, ms)
	require.Equal(t, "otp", eval[string](p, `document.activeElement.id`), "the code comes next")

	p.fill("#otp", "000000")
	p.click("#verify button")
	p.text("#verdict", "Invalid OTP. 4 attempts left.")
	p.inspect("live-wrong")
	p.fill("#otp", b.code()+"\r")
	p.text("#verdict", "Valid.")
	require.GreaterOrEqual(t, p.step("verified"), ms[len(ms)-1])
	p.text("#expiry", "Verified")
	p.inspect("live-verified")
	p.click("#verify button")
	p.text("#verdict", "OTP already used")

	// The curl line beside it, run as it stands, has the same answer.
	require.JSONEq(t, `{"valid":false,"reason":"OTP already used"}`, eval[string](p, `document.querySelector('#answer').dataset.text`))
	line := eval[string](p, `document.querySelector('#curl').textContent`)
	require.NotContains(t, line, apiKey)
	if _, err := exec.LookPath("curl"); err == nil {
		shell := exec.CommandContext(t.Context(), "sh", "-c", line)
		shell.Env = append(shell.Environ(), "WABEK_API_KEY="+apiKey)
		out, err := shell.CombinedOutput()
		require.NoError(t, err, string(out))
		require.JSONEq(t, `{"valid":false,"reason":"OTP already used"}`, string(out))
	}
	require.NotContains(t, eval[string](p, `document.documentElement.outerHTML`), apiKey)
}

func (p *tab) playErrors() {
	t, b := p.t, p.b
	p.signIn()
	p.fill("#phone", "0555")
	p.click("#send button")
	said := p.text("#send-problem", "invalid_field")
	require.Contains(t, said, "A field is missing or malformed")
	require.Contains(t, said, "must begin with +")
	require.Equal(t, "/docs/errors#invalid_field", eval[string](p, `document.querySelector('#send-problem a').getAttribute('href')`))
	require.Equal(t, "phone true", eval[string](p, `document.activeElement.id + ' ' + document.activeElement.getAttribute('aria-invalid')`))
	p.inspect("live-invalid")

	p.send()
	require.False(t, eval[bool](p, `document.querySelector('#send-problem').checkVisibility()`), "the error is gone")
	require.Equal(t, "null", eval[string](p, `String(document.querySelector('#phone').getAttribute('aria-invalid'))`))
	p.click("#send button")
	require.Contains(t, p.text("#send-problem", "rate_limited"), "phone_cooldown")
	p.text("#headers", "Retry-After: 30")
	first := p.text("#send-problem .retry", "Try again in ")
	p.until(`document.querySelector('#send-problem .retry').innerText !== "` + first + `"`)
	p.inspect("live-limited")

	b.api.Refuse(&api.Refusal{Code: api.CodeNoSession, RetryAfter: time.Second})
	p.fill("#phone", "+905551234568")
	p.click("#send button")
	p.text("#send-problem", "no_session")
	p.text("#send-problem .retry", "You can try again now.") // after its second
	b.api.Refuse(nil)

	// A request that no server answers.
	eval[bool](p, `(window.fetch = () => Promise.reject(new TypeError('no network'))) && true`)
	p.click("#send button")
	p.text("#send-problem", "No answer")
	p.text("#status", "no answer")
}

func (p *tab) playEnds() {
	t, b := p.t, p.b
	p.signIn()
	id := p.send()
	b.api.Say(id, job.Sending)
	b.api.Say(id, job.Failed)
	p.text(`[data-step="ended"]`, "Failed it won’t be sent")
	require.False(t, eval[bool](p, `document.querySelector('[data-step="read"]').checkVisibility()`), "what won't come isn't waited for")
	// It went out after all: what was said of its end is taken back.
	b.api.Say(id, job.Sent)
	p.step("sent")
	p.until(`document.querySelector('[data-step="ended"]').hidden && document.querySelector('[data-step="read"]').checkVisibility()`)

	// A reason is said in words, with its code.
	eval[bool](p, `import(document.querySelector('script').src.replace('live.js', 'timeline.js')).then(({Timeline}) => {
		const timeline = new Timeline();
		timeline.begin(performance.now());
		timeline.show('queued');
		timeline.show('failed', 'not_on_whatsapp');
		return true;
	})`)
	p.text(`[data-step="ended"]`, "the number has no WhatsApp account not_on_whatsapp")
	p.inspect("live-failed")

	// States that were passed too quickly to be told count as passed.
	p.fill("#purpose", "login")
	b.cooldown(0)
	id = p.send()
	b.api.Say(id, job.Delivered)
	p.step("delivered")
	require.Equal(t, "passed passed ", eval[string](p, `['sending', 'sent', 'read'].map((s) => document.querySelector('[data-step="' + s + '"]').dataset.state ?? '').join(' ')`))
}

func (p *tab) playTestNumber() {
	t, b := p.t, p.b
	n, err := phone.Parse(number)
	require.NoError(t, err)
	_, err = b.api.Apps.SetTestNumber(t.Context(), otp.DefaultApp, n, "123456")
	require.NoError(t, err)
	p.signIn()
	p.send()
	p.text("#delivery-note", "a test number: nothing is sent")
	p.text("#connection", "live")
	require.Empty(t, eval[string](p, `document.querySelector('[data-step="queued"]').dataset.state ?? ''`))
	p.inspect("live-test-number")
	p.fill("#otp", "123456\r")
	p.text("#verdict", "Valid.")
	p.step("verified")
	require.Empty(t, b.api.Messages())

	p.send()
	for _, left := range []string{"4 attempts left", "3 attempts left", "2 attempts left", "1 attempt left", "0 attempts left"} {
		p.fill("#otp", "000000\r")
		p.text("#verdict", "Invalid OTP. "+left)
	}
	p.text("#expiry", "Locked: too many wrong codes")
	p.fill("#otp", "123456\r")
	p.text("#verdict", "Too many attempts")
	p.inspect("live-locked")
}

func (p *tab) playAgain() {
	t, b := p.t, p.b
	p.signIn()
	id := p.send()
	b.api.Say(id, job.Sending)
	b.api.Say(id, job.Sent)
	p.step("sent")
	p.click("#resend")
	p.text("#action-problem", "rate_limited") // the cooldown
	b.cooldown(0)
	p.click("#resend")
	p.until(`!document.querySelector('[data-step="sent"]').dataset.state`) // a message of its own
	p.step("queued")
	require.Len(t, b.api.Messages(), 2)
	again := id + "-2"
	b.api.Say(again, job.Sending)
	p.step("sending")

	// What happens while the connection is lost is told afterwards.
	p.text("#connection", "live")
	b.server.CloseClientConnections()
	b.api.Say(again, job.Sent)
	b.api.Say(again, job.Delivered)
	p.step("delivered")
	p.step("sent")
	p.text("#connection", "live")

	p.click("#cancel")
	p.text("#expiry", "Cancelled")
	require.Equal(t, "delivery-title", eval[string](p, `document.activeElement.id`), "the focus isn't lost with the button")
	p.fill("#otp", b.code()+"\r")
	p.text("#verdict", "OTP not found")
}

func (p *tab) playSignIn() {
	t, b := p.t, p.b
	p.open("/")
	p.text("h1", "Sign in to the console")
	p.inspect("sign-in")
	link := b.console.NewSignIn()
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	p.text("#ready", "Your link is ready.")
	require.Equal(t, "/console/sign-in", eval[string](p, `location.pathname + location.hash`), "the secret isn't left in the history")
	p.inspect("sign-in-ready")
	p.do(chromedp.KeyEvent("\r")) // the button has the focus
	p.text("h1", "Live test")
	require.Empty(t, eval[string](p, `document.cookie`), "no script sees the session")
	p.click(".foot button")
	p.text("h1", "Sign in to the console")
	p.do(chromedp.Navigate(link))
	p.text("#ready", "Your link is ready.") // an open page takes it as well
	p.click("#sign-in button")
	p.text(".note", "This link can’t be used.")
	p.inspect("sign-in-failed")
	p.fill("#link", b.console.NewSignIn()) // pasted whole
	p.click("#sign-in button")
	p.text("h1", "Live test")

	// Signed out elsewhere: the page says so, and where to go.
	p.send()
	eval[int](p, `fetch('/console/sign-out', {method: 'POST'}).then((r) => r.status)`)
	p.text("#action-problem", "You are signed out")
	p.fill("#otp", "000000\r")
	p.text("#verify-problem", "Sign in again")
	p.click("#verify-problem a")
	p.text("h1", "Sign in to the console")
}

func (p *tab) playPages() {
	t, b := p.t, p.b
	p.signIn()
	p.click(`nav a[href="/console/integration"]`)
	p.text("#base", b.server.URL)
	require.Equal(t, "API integration", strings.TrimSpace(eval[string](p, `document.querySelector('nav [aria-current]').innerText`)))
	p.inspect("integration")
	p.text("#snippet-0", "url=${WABEK_URL:-"+b.server.URL+"}")
	_, err := chromedp.CallBrowser(p.ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "clipboard-read"}, Setting: browser.PermissionSettingGranted, Origin: b.server.URL,
		BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID,
	})
	require.NoError(t, err)
	p.click("#panel-0 .copy")
	p.text("#panel-0 .copy", "Copied")
	require.Equal(t, eval[string](p, `document.querySelector('#snippet-0').textContent`), eval[string](p, `navigator.clipboard.readText()`))
	p.click("#panel-0-tab")
	p.do(chromedp.KeyEvent(kb.ArrowRight))
	require.Contains(t, p.text("#snippet-1", "<?php"), b.server.URL)
	require.Equal(t, "panel-1-tab", eval[string](p, `document.activeElement.id`))
	require.False(t, eval[bool](p, `document.querySelector('#snippet-0').checkVisibility()`))
	p.inspect("integration-php")

	p.click(`nav a[href="/console/settings"]`)
	p.text(".settings", "OTP_LENGTH")
	p.inspect("settings")
	p.open("/console/nothing")
	p.text("h1", "No such page")
	p.inspect("not-found")
}

// Over plain HTTP by a name, browsers send no Sec-Fetch-Site, and scripts have no clipboard.
func (p *tab) playPlainHTTP() {
	t, b := p.t, p.b
	p.do(chromedp.Navigate(strings.Replace(b.console.NewSignIn(), "127.0.0.1", "otp.test", 1)))
	require.False(t, eval[bool](p, `isSecureContext`))
	p.click("#sign-in button")
	p.text("h1", "Live test")
	require.Contains(t, p.text("#curl", "curl"), strings.Replace(b.server.URL, "127.0.0.1", "otp.test", 1))
	id := p.send()
	b.api.Say(id, job.Sending)
	p.step("sending")
	p.click(`[data-copy="curl"]`)
	p.text(`[data-copy="curl"]`, "Copied")
}
