package console_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/docs/snippets"
	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/console"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/record/bolt"
	"wabek/internal/status"
	"wabek/internal/text"
)

// apiKey opens the API to the console, and must never be seen in a browser.
const apiKey = "key-of-the-console-0001"

const number = "+905551234567"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a console over the real API, domain and record store, with the clock, the phone and the sender in the test's
// hand.
type bundle struct {
	t       *testing.T
	console *console.Console
	server  *httptest.Server
	log     *syncBuffer
	store   *bolt.Store
	hub     *status.Hub

	mu       sync.Mutex
	clock    func() time.Time
	refusal  error
	messages []string // what the phone would show
	stream   []job.Status
}

type option func(*console.Options)

// setup starts a console whose clock stands still unless after moves it.
func setup(t *testing.T, options ...option) *bundle {
	t.Helper()
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	return setupAt(t, func() time.Time { return at }, options...)
}

func setupAt(t *testing.T, clock func() time.Time, options ...option) *bundle {
	t.Helper()
	b := &bundle{t: t, log: &syncBuffer{}, clock: clock, hub: status.NewHub(8, func(id job.ID) string { return string(id)[:36] })}
	secret, err := keys.NewSecret("a-secret-of-some-thirty-six-characters")
	require.NoError(t, err)
	ring, _, err := keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(t, err)
	seal := keys.DeriveSealKeys(secret, keys.Secret{})
	logger := slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.store, err = bolt.Open(bolt.Options{
		Path: filepath.Join(t.TempDir(), "records.db"), Now: b.now, Logger: logger,
		Committed: func(e job.Envelope) {
			body, err := job.Open(seal, e)
			if err != nil {
				t.Errorf("open job: %v", err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.messages = append(b.messages, body.Text)
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.store.Close() })
	service, err := otp.NewService(b.store, ring, seal, otp.Policy{Length: 6, Expiry: 10 * time.Minute, MaxAttempts: 3}, rand.Reader, b.now)
	require.NoError(t, err)
	registry, err := apps.Open(t.Context(), apps.Config{
		Documents: b.store, Fixed: []apps.FixedKey{{ID: "console", Digest: apps.DigestOf(apiKey), Scopes: []apps.Scope{apps.ScopeOTP, apps.ScopeRead}}},
		PhoneKey: ring.PhoneHashKey(), Now: b.now, Logger: logger,
		Default: apps.Settings{
			Title: new("wabek"), Pool: new(job.DefaultPool), Length: new(6), ExpirySeconds: new(600), Attempts: new(3), Reissue: new(apps.Supersede),
			CooldownSeconds: new(30), WrongTries: new(100),
		},
	})
	require.NoError(t, err)
	texts, err := text.Load("")
	require.NoError(t, err)
	backend, err := api.New(api.Options{
		OTPs: service, Callers: registry, Limiter: apps.NewLimiter(b.now), Texts: texts, Deliveries: b, Live: b.hub, Admission: b, Health: b,
		Now: b.now, Logger: logger,
	})
	require.NoError(t, err)

	mux := http.NewServeMux()
	mux.Handle("/", backend.Handler())
	b.server = httptest.NewUnstartedServer(mux)
	// As the API has them; a stream of events must outlive both.
	b.server.Config.ReadTimeout, b.server.Config.WriteTimeout = 10*time.Second, 30*time.Second
	b.server.Start()
	t.Cleanup(func() {
		require.NoError(t, backend.Shutdown(context.WithoutCancel(t.Context()))) // ends the streams
		b.server.Close()
	})

	o := console.Options{
		API: console.WithKey(backend.Handler(), apiKey), Settings: someSettings, Snippets: someSnippets,
		Locales: texts.Locales(), Version: "test", URL: b.server.URL, SignIn: "api sign-in", NewKey: "api key create --app default --scope otp",
		Links: []console.Link{{Title: "Errors", URL: "/docs/errors"}}, Now: b.now, Logger: logger,
	}
	for _, change := range options {
		change(&o)
	}
	b.console, err = console.New(o)
	require.NoError(t, err)
	for _, path := range []string{"/{$}", "/console", "/console/"} {
		mux.Handle(path, b.console.Handler())
	}
	return b
}

func (b *bundle) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock()
}

// after moves the clock on.
func (b *bundle) after(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.clock
	b.clock = func() time.Time { return before().Add(d) }
}

// refuse makes the API refuse OTPs; nil accepts them again.
func (b *bundle) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusal = err
}

// Admit is whether an OTP may be taken now.
func (b *bundle) Admit(string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusal
}

func (b *bundle) Health() api.Report { return api.Report{Ready: true} }

// Last is what the queue knows of a job.
func (b *bundle) Last(_ context.Context, _ string, id job.ID) (last job.Status, seq uint64, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.stream {
		if s.Job == id {
			last, seq = s, s.Seq
		}
	}
	return last, seq, nil
}

// History is what the queue has of a job.
func (b *bundle) History(_ context.Context, _ string, id job.ID, after uint64) (all []job.Status, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.stream {
		if s.Job == id && s.Seq > after {
			all = append(all, s)
		}
	}
	return all, nil
}

// says lets a sender say how far a job is.
func (b *bundle) says(s job.Status) {
	at := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.At, s.Seq = at, uint64(len(b.stream)+1)
	b.stream = append(b.stream, s)
	_ = b.hub.Apply(context.Background(), []job.Status{s}) // never fails
}

// code is the one in the latest message.
func (b *bundle) code() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return regexp.MustCompile(`(?m)^\d{6}$`).FindString(b.messages[len(b.messages)-1])
}

func (b *bundle) sent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages)
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
