package console_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/console"
)

func TestSignIn_ALinkLetsOneBrowserInOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		link func(b *bundle) string // what is pasted, after whatever happened before
		want int
	}{
		{"a fresh link", func(b *bundle) string { return b.console.NewSignIn() }, http.StatusSeeOther},
		{"its secret alone, as a page's script fills it in", func(b *bundle) string { return secretOf(b.console.NewSignIn()) }, http.StatusSeeOther},
		{"with a line break around it, as terminals copy it", func(b *bundle) string { return "  " + b.console.NewSignIn() + "\n" }, http.StatusSeeOther},
		{"in its last second", func(b *bundle) string {
			link := b.console.NewSignIn()
			b.after(15*time.Minute - time.Second)
			return link
		}, http.StatusSeeOther},
		{"after its 15 minutes", func(b *bundle) string {
			link := b.console.NewSignIn()
			b.after(15 * time.Minute)
			return link
		}, http.StatusForbidden},
		{"a second time", func(b *bundle) string {
			link := b.console.NewSignIn()
			require.Equal(b.t, http.StatusSeeOther, b.visitor().signIn(link).status)
			return link
		}, http.StatusForbidden},
		{"after the page behind it was looked at, by people or by previews of links", func(b *bundle) string {
			link := b.console.NewSignIn()
			for range 3 {
				require.Equal(b.t, http.StatusOK, b.visitor().get("/console/sign-in").status)
				require.Equal(b.t, http.StatusOK, b.visitor().get("/console/sign-in?link="+secretOf(link)).status)
			}
			return link
		}, http.StatusSeeOther},
		{"beside newer ones", func(b *bundle) string {
			link := b.console.NewSignIn()
			for range 15 {
				b.console.NewSignIn()
			}
			return link
		}, http.StatusSeeOther},
		{"the oldest of more than may be open", func(b *bundle) string {
			link := b.console.NewSignIn()
			for range 16 {
				b.console.NewSignIn()
			}
			return link
		}, http.StatusForbidden},
		{"one of another start", func(b *bundle) string { return setup(b.t).console.NewSignIn() }, http.StatusForbidden},
		{"one changed in its last character", func(b *bundle) string {
			link := b.console.NewSignIn()
			return link[:len(link)-1] + string(link[len(link)-1]^1)
		}, http.StatusForbidden},
		{"nothing", func(*bundle) string { return "" }, http.StatusForbidden},
		{"the API key", func(*bundle) string { return apiKey }, http.StatusForbidden},
		{"more than a form may hold", func(*bundle) string { return strings.Repeat("x", 10_000) }, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			link := c.link(b)
			v := b.visitor()
			a := v.signIn(link)
			require.Equal(t, c.want, a.status, a.body)
			home := v.get("/console/live")
			if c.want == http.StatusSeeOther {
				require.Equal(t, "/console/live", a.header.Get("Location"))
				require.Equal(t, http.StatusOK, home.status)
				return
			}
			require.Empty(t, a.header["Set-Cookie"])
			require.Contains(t, a.body, "This link can’t be used")
			require.Equal(t, http.StatusSeeOther, home.status)
		})
	}
}

func secretOf(link string) string { return link[strings.IndexByte(link, '#')+1:] }

func TestSignIn_OfManyAtOnceOneIsLetIn(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *console.Options) { // each from an address of its own
		var n atomic.Uint32
		o.Remote = func(*http.Request) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n.Add(1))}) }
	})
	link := b.console.NewSignIn()
	var in atomic.Int32
	var all sync.WaitGroup
	for range 32 {
		v := b.visitor()
		all.Go(func() {
			if v.signIn(link).status == http.StatusSeeOther {
				in.Add(1)
			}
		})
	}
	all.Wait()
	require.Equal(t, int32(1), in.Load())
}

func TestSignIn_TheSecretStandsWhereBrowsersDontSendIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	link := b.console.NewSignIn()
	require.Regexp(t, `^http://127\.0\.0\.1:\d+/console/sign-in#[A-Za-z0-9_-]{43}$`, link)
	require.NotEqual(t, link, b.console.NewSignIn())
	b.user()
	require.NotContains(t, b.log.String(), secretOf(link))
	b = setup(t, func(o *console.Options) { o.PublicURL = "https://otp.example.com/" })
	require.True(t, strings.HasPrefix(b.console.NewSignIn(), "https://otp.example.com/console/sign-in#"))
}

func TestSignIn_TooManyFailuresOfOneAddress(t *testing.T) {
	t.Parallel()
	from := netip.MustParseAddr("192.0.2.1")
	b := setup(t, func(o *console.Options) { o.Remote = func(*http.Request) netip.Addr { return from } })
	for range 20 { // good ones don't count
		b.user()
	}
	try := func(address string) answer {
		from = netip.MustParseAddr(address)
		return b.visitor().signIn("wrong")
	}
	for range 10 {
		require.Equal(t, http.StatusForbidden, try("192.0.2.1").status)
	}
	a := try("192.0.2.1")
	require.Equal(t, http.StatusTooManyRequests, a.status)
	require.Equal(t, "900", a.header.Get("Retry-After"))
	require.Contains(t, a.body, "Too many tries")
	link := b.console.NewSignIn()
	require.Equal(t, http.StatusSeeOther, b.visitor().signIn(link).status, "a good link doesn't wait: else strangers behind one proxy could keep everybody out")
	require.Equal(t, http.StatusTooManyRequests, try("192.0.2.1").status, "and forgives nothing")
	require.Equal(t, http.StatusForbidden, try("192.0.2.2").status, "another address doesn't")

	for i := range 10 { // one household
		require.Equal(t, http.StatusForbidden, try(fmt.Sprintf("2001:db8:1:2::%d", i+1)).status)
	}
	require.Equal(t, http.StatusTooManyRequests, try("2001:db8:1:2:ffff::1").status)
	require.Equal(t, http.StatusForbidden, try("2001:db8:1:3::1").status)

	b.after(14*time.Minute + 59*time.Second)
	require.Equal(t, "1", try("192.0.2.1").header.Get("Retry-After"))
	b.after(time.Second)
	require.Equal(t, http.StatusForbidden, try("192.0.2.1").status)
}

func TestSession_Cookie(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		public  string
		headers []string
		want    string // behind the value
	}{
		{"over http", "", nil, "wabek-console=…; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"},
		{
			"behind a proxy that says https", "",
			[]string{"X-Forwarded-Proto", "https"},
			"__Host-wabek-console=…; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict",
		},
		{
			"under a public https address", "https://otp.example.com",
			[]string{"Host", "otp.example.com"},
			"__Host-wabek-console=…; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict",
		},
		{
			"beside a public https address, on the machine itself", "https://otp.example.com", nil,
			"wabek-console=…; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict",
		},
		{
			"behind a proxy that says http after a client said https", "",
			[]string{"X-Forwarded-Proto", "https, http"},
			"wabek-console=…; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(o *console.Options) { o.PublicURL = c.public })
			a := b.visitor().signIn(b.console.NewSignIn(), c.headers...)
			require.Len(t, a.header["Set-Cookie"], 1, a.body)
			cookie, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
			require.NoError(t, err)
			require.Len(t, cookie.Value, 43)
			require.Equal(t, c.want, strings.Replace(a.header.Get("Set-Cookie"), cookie.Value, "…", 1))
			require.NotContains(t, b.log.String(), cookie.Value)

			page := b.visitor().get("/console/live", append(c.headers, "Cookie", cookie.Name+"="+cookie.Value)...)
			require.Equal(t, http.StatusOK, page.status)
		})
	}
}

func TestSession_Ends(t *testing.T) {
	t.Parallel()
	in := func(c *client) bool { return c.get("/console/settings").status == http.StatusOK }
	t.Run("after twelve hours, however busy", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		u := b.user()
		for range 11 {
			b.after(time.Hour)
			require.True(t, in(u))
		}
		b.after(time.Hour - time.Second)
		require.True(t, in(u))
		b.after(time.Second)
		require.False(t, in(u))
	})
	t.Run("by signing out, and a copy of the cookie is worth nothing then", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		u := b.visitor()
		a := u.signIn(b.console.NewSignIn())
		stolen := a.cookie()
		require.Equal(t, http.StatusOK, b.visitor().get("/console/live", "Cookie", stolen).status)
		other := b.user()
		out := u.form("/console/sign-out", nil)
		require.Equal(t, []any{http.StatusSeeOther, "/console/sign-in"}, []any{out.status, out.header.Get("Location")})
		require.Contains(t, out.header.Get("Set-Cookie"), "Max-Age=0")
		require.False(t, in(u))
		require.Equal(t, http.StatusSeeOther, b.visitor().get("/console/live", "Cookie", stolen).status)
		require.True(t, in(other), "others stay")
	})
	t.Run("by signing in anew", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		u := b.visitor()
		first := u.signIn(b.console.NewSignIn()).cookie()
		second := u.signIn(b.console.NewSignIn()).cookie()
		require.NotEqual(t, first, second)
		require.True(t, in(u))
		require.Equal(t, http.StatusSeeOther, b.visitor().get("/console/live", "Cookie", first).status)
	})
	t.Run("when there are more than may be, the oldest", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		first := b.user()
		b.after(time.Second)
		second := b.user()
		for range 62 {
			b.after(time.Second)
			b.user()
		}
		require.True(t, in(first))
		b.after(time.Second)
		last := b.user()
		require.False(t, in(first))
		require.True(t, in(second))
		require.True(t, in(last))
	})
	t.Run("and one that was made up never began", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, made := range []string{"", "x", strings.Repeat("A", 43)} {
			require.Equal(t, http.StatusSeeOther, b.visitor().get("/console/live", "Cookie", "wabek-console="+made).status)
		}
		planted := b.visitor().signIn(b.console.NewSignIn(), "Cookie", "wabek-console="+strings.Repeat("A", 43))
		require.NotContains(t, planted.header.Get("Set-Cookie"), "AAAA", "whoever planted it would know the session")
	})
}

func TestSignIn_TheRequestsOfOtherSites(t *testing.T) {
	t.Parallel()
	own := func(b *bundle) string { return b.server.URL }
	for _, c := range []struct {
		name    string
		headers func(b *bundle) []string
		refused bool
	}{
		{"a form of ours", func(b *bundle) []string { return []string{"Sec-Fetch-Site", "same-origin", "Origin", own(b)} }, false},
		{"a form of ours over plain http, where browsers send the origin alone", func(b *bundle) []string { return []string{"Origin", own(b)} }, false},
		{"no browser", func(*bundle) []string { return nil }, false},
		{"another site", func(*bundle) []string {
			return []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}
		}, true},
		{"another site, over plain http", func(*bundle) []string { return []string{"Origin", "http://evil.example"} }, true},
		{"another port of this machine", func(*bundle) []string { return []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"} }, true},
		{"another port, over plain http", func(*bundle) []string { return []string{"Origin", "http://127.0.0.1:1"} }, true},
		{"a frame without an origin", func(*bundle) []string { return []string{"Origin", "null"} }, true},
		{"a name that was made to point here", func(b *bundle) []string {
			return []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example", "Host", "evil.example"}
		}, true},
		{"the public address, with a proxy that changes Host", func(*bundle) []string {
			return []string{"Origin", "https://otp.example.com", "Host", "internal:8080"}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(o *console.Options) { o.PublicURL = "https://otp.example.com" })
			headers := c.headers(b)
			u := b.user()
			issue := u.do(http.MethodPost, "/console/api/v1/otp", `{"phone":"`+number+`","purpose":"login"}`, headers...)
			out := u.form("/console/sign-out", nil, headers...)
			in := b.visitor().signIn(b.console.NewSignIn(), headers...)
			if c.refused {
				require.Equal(t, []int{403, 403, 403}, []int{issue.status, out.status, in.status})
				require.Empty(t, b.api.Messages())
				require.Equal(t, http.StatusOK, u.get("/console/live").status, "still signed in")
				return
			}
			// With another Host the cookie isn't sent, so only signing in and out can be looked at.
			require.Equal(t, []int{303, 303}, []int{out.status, in.status})
		})
	}
}
