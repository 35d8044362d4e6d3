package console_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/docs/snippets"
	"wabek/internal/api/apitest"
	"wabek/internal/apps"
	"wabek/internal/console"
	"wabek/internal/otp"
)

// apiKey opens the API to the console, and must never be seen in a browser.
const apiKey = apitest.Key

const number = "+905551234567"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a console over the real API, domain and record store, with the console's clock, the phone and the sender in the
// test's hand.
type bundle struct {
	t       *testing.T
	console *console.Console
	api     *apitest.Server
	server  *httptest.Server
	log     *syncBuffer

	mu    sync.Mutex
	clock time.Time // zero: the time of day
}

type option func(*console.Options)

// setup starts a console whose clock stands still unless after moves it.
func setup(t *testing.T, options ...option) *bundle {
	t.Helper()
	return setupAt(t, time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), options...)
}

func setupAt(t *testing.T, clock time.Time, options ...option) *bundle {
	t.Helper()
	b := &bundle{t: t, log: &syncBuffer{}, clock: clock}
	var handler http.Handler
	b.api = apitest.New(t, func(h http.Handler) http.Handler {
		handler = h
		return h
	})
	b.cooldown(30)

	mux := http.NewServeMux()
	mux.Handle("/", handler)
	b.server = httptest.NewUnstartedServer(mux)
	// As the API has them; a stream of events must outlive both.
	b.server.Config.ReadTimeout, b.server.Config.WriteTimeout = 10*time.Second, 30*time.Second
	b.server.Start()
	t.Cleanup(func() {
		b.server.CloseClientConnections() // ends the streams
		b.server.Close()
	})

	o := console.Options{
		API: withKey(handler), Settings: someSettings, Snippets: someSnippets,
		Locales: []string{"ar", "de", "en", "pt-BR", "tr"}, Version: "test", URL: b.server.URL,
		SignIn: "api sign-in", NewKey: "api key create --app default --scope otp",
		Links: []console.Link{{Title: "Errors", URL: "/docs/errors"}}, Now: b.now, Logger: slog.New(slog.NewJSONHandler(b.log, nil)),
	}
	for _, change := range options {
		change(&o)
	}
	var err error
	b.console, err = console.New(o)
	require.NoError(t, err)
	for _, path := range []string{"/{$}", "/console", "/console/"} {
		mux.Handle(path, b.console.Handler())
	}
	return b
}

// withKey shows an API a key that no browser has.
func withKey(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-API-Key", apiKey)
		api.ServeHTTP(w, r)
	})
}

func (b *bundle) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.clock.IsZero() {
		return time.Now()
	}
	return b.clock
}

// after moves the console's clock on.
func (b *bundle) after(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

// cooldown sets the pause between two messages to a phone.
func (b *bundle) cooldown(seconds int) {
	b.t.Helper()
	_, err := b.api.Apps.SaveApp(b.t.Context(), otp.DefaultApp, apps.Settings{CooldownSeconds: &seconds}, false)
	require.NoError(b.t, err)
}

// code is the one in the latest message.
func (b *bundle) code() string {
	all := b.api.Messages()
	return all[len(all)-1].Code()
}

type answer struct {
	status int
	header http.Header
	body   string
}

// cookie is the one that an answer sets, as a browser sends it.
func (a answer) cookie() string {
	pair, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return pair
}

// client is a browser without scripts.
type client struct {
	b    *bundle
	http *http.Client
}

// visitor is a client that isn't signed in.
func (b *bundle) visitor() *client {
	jar, err := cookiejar.New(nil)
	require.NoError(b.t, err)
	return &client{b: b, http: &http.Client{
		Transport: b.server.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// user is a client that is signed in.
func (b *bundle) user() *client {
	c := b.visitor()
	a := c.signIn(b.console.NewSignIn())
	require.Equal(b.t, http.StatusSeeOther, a.status, a.body)
	return c
}

func (c *client) signIn(link string, headers ...string) answer {
	c.b.t.Helper()
	return c.form("/console/sign-in", url.Values{"link": {link}}, headers...)
}

func (c *client) form(path string, form url.Values, headers ...string) answer {
	c.b.t.Helper()
	return c.do(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

func (c *client) get(path string, headers ...string) answer {
	c.b.t.Helper()
	return c.do(http.MethodGet, path, "", headers...)
}

func (c *client) do(method, path, body string, headers ...string) answer {
	c.b.t.Helper()
	resp, err := c.http.Do(c.request(method, path, body, headers...))
	require.NoError(c.b.t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(c.b.t, err)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(data)}
}

func (c *client) request(method, path, body string, headers ...string) *http.Request {
	c.b.t.Helper()
	req, err := http.NewRequestWithContext(c.b.t.Context(), method, c.b.server.URL+path, strings.NewReader(body))
	require.NoError(c.b.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// someSnippets are those of the documentation, which its own tests run.
func someSnippets(url string) (all []console.Snippet) {
	for _, s := range snippets.All(url) {
		all = append(all, console.Snippet{Title: s.Language, Run: s.Run, Needs: s.Needs, Text: s.Text})
	}
	return all
}

func someSettings() []console.Group {
	return []console.Group{
		{Title: "Code", Settings: []console.Setting{
			{Name: "Length", Value: "6", Unit: "digits", Source: console.FromDefault, From: "OTP_LENGTH", Doc: "6 to 10. Each digit is equally likely; leading zeros count."},
			{Name: "Expiry", Value: "10", Unit: "minutes", Source: console.FromEnvironment, From: "OTP_EXPIRY_MINUTES", Doc: "NIST SP 800-63B allows 10 minutes at most; more is possible and warned of."},
			{Name: "Attempts", Value: "3", Unit: "wrong codes", Source: console.FromApp, From: "attempts", Doc: "After them the OTP is locked."},
			{Name: "One-time use", Value: "yes", Source: console.Fixed, Doc: "Of any number of right tries exactly one is valid, also across crashes."},
			{Name: "While one is open", Value: "supersede", Source: console.FromDefault, From: "OTP_REISSUE", Doc: "A new code takes the place of the open one."},
		}},
		{Title: "Storage", Settings: []console.Setting{
			{Name: "Code", Value: "keyed digest only", Source: console.Fixed, Doc: "HMAC-SHA-256 under a key that is itself encrypted."},
			{Name: "Records", Value: "./data/records.db", Source: console.FromDefault, From: "WABEK_DATA_DIR"},
		}},
		{Title: "Limits", Settings: []console.Setting{
			{Name: "Cooldown", Value: "30", Unit: "seconds", Source: console.FromDefault, From: "OTP_COOLDOWN_SECONDS", Doc: "Pause between two messages to one phone."},
			{Name: "Countries", Value: "all", Source: console.FromDefault, From: "WABEK_ALLOW_COUNTRIES"},
		}},
	}
}
