// Package console serves wabek's pages: sign-in, live test, API integration and OTP settings.
//
// In: a browser that a one-use link let in. Out: pages, and calls of the HTTP API within this process, for one app and
// without a key in the browser. On failure: the API's own problem documents, passed on as they are, and pages that say
// how to go on.
package console

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Options is what a Console needs; API, Settings, URL, Now and Logger must be set.
type Options struct {
	// API is the HTTP API as a caller of App sees it who showed a good key; it must not ask the console for one. The
	// console passes on requests under /api/v1/otp alone, and the answer as it is, so that what the live test shows is
	// what every caller gets.
	API http.Handler
	App string // as pages name it; empty for "default"

	Settings func() []Group             // in force now; called for each view of their page
	Snippets func(url string) []Snippet // for an API at that address; nil for none
	Locales  []string                   // tags of the languages that there are texts in
	Links    []Link                     // to documentation
	Version  string                     // of wabek; empty for none

	// URL is where this machine reaches the server, like http://127.0.0.1:8080: for sign-in links without PublicURL.
	URL string
	// PublicURL is where everybody else reaches it, scheme and host. Empty: pages show the address that they were asked
	// for under.
	PublicURL string
	SignIn    string // the command that prints another sign-in link
	NewKey    string // the command that makes an API key; empty for none
	// Remote is the address of a client, proxies considered; nil: that of the connection.
	Remote func(*http.Request) netip.Addr
	Now    func() time.Time
	Logger *slog.Logger
}

// Console is the pages. All of its state, links and sessions, is in memory and bounded: a restart signs everybody out.
type Console struct {
	o        Options
	public   string // PublicURL without a slash at its end
	host     string // of it
	assets   *assets
	pages    map[string]*page
	order    []*page // as the navigation lists them
	links    *links
	sessions *sessions
	attempts *attempts
	handler  http.Handler
}

// New makes a Console. An error names the option that can't be used.
func New(o Options) (*Console, error) {
	if o.API == nil || o.Settings == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("console: an option is missing")
	}
	if o.App == "" {
		o.App = "default"
	}
	if o.Remote == nil {
		o.Remote = connection
	}
	c := &Console{o: o, links: newLinks(o.Now), sessions: newSessions(o.Now), attempts: newAttempts(o.Now)}
	var err error
	if c.o.URL, _, err = origin(o.URL); err != nil {
		return nil, fmt.Errorf("console: URL: %w", err)
	}
	if o.PublicURL != "" {
		if c.public, c.host, err = origin(o.PublicURL); err != nil {
			return nil, fmt.Errorf("console: PublicURL: %w", err)
		}
	}
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: assets: %w", err)
	}
	if err := c.loadPages(); err != nil {
		return nil, fmt.Errorf("console: pages: %w", err)
	}
	if c.handler, err = c.routes(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return c, nil
}

// Handler serves /, /console and everything under /console/. Other paths get 404. It sets no deadlines of its own and
// may be mounted in any server whose ResponseWriter can flush.
func (c *Console) Handler() http.Handler { return c.handler }

func (c *Console) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("GET "+assetsPath+"{file...}", c.assets)
	mux.HandleFunc("GET "+signInPath, c.showSignIn)
	mux.HandleFunc("POST "+signInPath, c.signIn)
	mux.HandleFunc("POST "+signOutPath, c.signOut)
	for _, p := range c.order {
		mux.HandleFunc("GET "+p.Path, c.signedIn(c.showPage))
	}
	for _, root := range []string{"/{$}", "/console", "/console/{$}"} {
		mux.HandleFunc("GET "+root, c.signedIn(c.goHome))
	}
	mux.HandleFunc("GET /console/", c.signedIn(c.notFound))
	for _, pattern := range passedOn() {
		mux.HandleFunc(pattern, c.passOn)
	}
	// A form or a script of another site is refused here whatever cookie comes with it. Browsers say where a request is
	// from in Sec-Fetch-Site, or over plain HTTP in Origin alone.
	guard := http.NewCrossOriginProtection()
	if c.public != "" {
		if err := guard.AddTrustedOrigin(c.public); err != nil {
			return nil, fmt.Errorf("PublicURL: %w", err)
		}
	}
	guard.SetDenyHandler(http.HandlerFunc(c.crossOrigin))
	return c.secured(guard.Handler(mux)), nil
}

// contentPolicy lets pages have scripts and styles of this server alone, and none within the page. Trusted types keep
// our own scripts from making markup out of text.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// secured sets the headers that every answer has.
func (c *Console) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Frame-Options", "DENY") // for browsers older than frame-ancestors
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that, forms are sent with "Origin: null", and over plain HTTP it is all that tells our own
		// forms from others'.
		h.Set("Referrer-Policy", "same-origin")
		if c.overTLS(r) { // browsers ignore it over plain HTTP, and complain
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// crossOrigin answers a request that another site made a browser send.
func (c *Console) crossOrigin(w http.ResponseWriter, r *http.Request) {
	c.o.Logger.WarnContext(r.Context(), "console refused a request of another site", "remote", c.o.Remote(r).String())
	http.Error(w, "This request came from another site. Open the console itself and try again there.\n", http.StatusForbidden)
}

// origin checks an address: scheme, host and port, nothing behind them.
func origin(address string) (base, host string, err error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", "", errors.New("it is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "", errors.New("it must begin with http:// or https://")
	case !usableHost(u.Host) || u.User != nil:
		return "", "", errors.New("it must name a host, like https://otp.example.com")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", "", errors.New("it must end behind the host, like https://otp.example.com")
	}
	return u.Scheme + "://" + u.Host, u.Host, nil
}
