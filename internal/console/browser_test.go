package console_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// With -screenshots DIR, pictures of all pages are written there, to be looked at.
var screenshots = flag.String("screenshots", "", "directory for pictures of the pages")

// long is how long anything in a browser may take on a busy machine; nothing waits for it to pass.
const long = time.Minute

// chromium starts a browser that finds otp.test on this machine. Where there is none the test is skipped.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		fmt.Fprintln(os.Stderr, "!!!!!! NO CHROMIUM: the console's pages were NOT tried in a browser (apt-get install chromium) !!!!!!")
		t.Skip("no chromium")
	}
	ctx, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.Flag("host-resolver-rules", "MAP otp.test 127.0.0.1"), chromedp.Flag("disable-gpu", true),
		chromedp.WSURLReadTimeout(long))...)
	t.Cleanup(stop)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) })
	require.NoError(t, chromedp.Do(ctx), "start chromium")
	return ctx
}

// tab is a page in a browser of its own: no other has its cookies.
type tab struct {
	t   *testing.T
	b   *bundle
	ctx context.Context //nolint:containedctx // chromedp keeps a tab in one

	mu     sync.Mutex
	faults []string // what the page's console complained about
}

// look is how somebody looks at a page.
type look struct {
	name          string
	width, height int64
	dark          bool
}

func looks() []look {
	return []look{
		{"light-1280", 1280, 800, false},
		{"dark-1280", 1280, 800, true},
		{"light-390", 390, 844, false},
		{"dark-390", 390, 844, true},
		{"light-800", 800, 1000, false},
		{"dark-1920", 1920, 1080, true},
	}
}

func (b *bundle) tab(browser context.Context) *tab {
	b.t.Helper()
	p := &tab{t: b.t, b: b}
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	b.t.Cleanup(func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Empty(b.t, p.faults, "the page's console")
	})
	// Before anything else, and without a timeout: the tab lives as long as this context.
	require.NoError(b.t, chromedp.Do(p.ctx))
	p.view(looks()[0])
	return p
}

// listen notes exceptions, and violations of the content policy. That an answer was 4xx or 5xx is reported as well, and
// no fault.
//
//nolint:forbidigo // the protocol's part on logs happens to be called log
func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, fmt.Sprintf("%+v", e.ExceptionDetails))
	case *cdplog.EventEntryAdded:
		if e.Entry.Source != cdplog.EntrySourceNetwork {
			p.faults = append(p.faults, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
		}
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, long)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

// view looks at the page in another way.
func (p *tab) view(l look) {
	p.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	p.do(chromedp.EmulateViewport(l.width, l.height), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return chromedp.Void{}, err
	})
}

func (p *tab) open(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.b.server.URL + path))
}

// signIn opens a link and presses the button.
func (p *tab) signIn() {
	p.t.Helper()
	p.do(chromedp.Navigate(p.b.console.NewSignIn()))
	p.click("#sign-in button")
	p.until(`location.pathname === '/console/live' && document.readyState === 'complete'`)
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.readyState === 'complete' && document.querySelector(%q)?.checkVisibility()`, selector))
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// fill types into a field in place of what is there.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`!document.querySelector(%q).matches(':disabled')`, selector))
	eval[bool](p, fmt.Sprintf(`((field) => { field.focus(); field.select(); return true })(document.querySelector(%q))`, selector))
	p.do(chromedp.KeyEvent(kb.Delete), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// until waits until an expression is true in the page.
func (p *tab) until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, long)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// While a page goes and the next comes, there is nothing to ask.
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && yes {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.picture("timeout")
			require.FailNow(p.t, "never became true", "%s (%v)", expression, err)
		}
	}
}

// text waits until an element shows a text that contains want, and gives the whole of it.
func (p *tab) text(selector, want string) string {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.querySelector(%q)?.checkVisibility() && document.querySelector(%q).innerText.includes(%q)`, selector, selector, want))
	return eval[string](p, fmt.Sprintf(`document.querySelector(%q).innerText`, selector))
}

func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, long)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return v
}

// picture takes a picture of the whole page, if anybody wants to see some.
func (p *tab) picture(name string) {
	p.t.Helper()
	if *screenshots == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, long)
	defer cancel()
	eval[bool](p, `(scrollTo(0, 0), true)`)
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(*screenshots, 0o750))
	require.NoError(p.t, os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600))
}

// inspect looks at the page in every way: nothing may stick out, no field or button be without a name.
func (p *tab) inspect(name string) {
	p.t.Helper()
	for _, l := range looks() {
		p.view(l)
		require.LessOrEqual(p.t, eval[int64](p, `document.documentElement.scrollWidth`), l.width, "%s sticks out at %s", name, l.name)
		p.picture(name + "-" + l.name)
	}
	p.view(looks()[0])
	require.Empty(p.t, eval[[]string](p, `[...document.querySelectorAll('input, select, button, a, summary')].filter((e) => e.checkVisibility())
		.filter((e) => !(e.labels?.[0] ?? e).textContent.trim()).map((e) => e.outerHTML)`), "%s: without a name", name)
	require.Empty(p.t, eval[[]string](p, `[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`),
		"%s: the same id twice", name)
}
