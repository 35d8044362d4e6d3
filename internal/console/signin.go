package console

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	signInPath  = "/console/sign-in"
	signOutPath = "/console/sign-out"
	maxForm     = 4 << 10 // bytes
)

// NewSignIn makes a link that lets one browser in, once, within 15 minutes. Its secret stands behind the #, which
// browsers don't send: it is in no log of a proxy and no Referer, and whatever looks at links before people do can't use
// it up.
func (c *Console) NewSignIn() string {
	base := c.public
	if base == "" {
		base = c.o.URL
	}
	return base + signInPath + "#" + c.links.create()
}

// signInView is what the sign-in page shows.
type signInView struct {
	Failed  bool          // the link was no good
	Wait    time.Duration // above 0: too many tries
	Already bool          // this browser is signed in
	Command string
	Minutes int // that a link lives
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request) {
	c.renderSignIn(w, r, http.StatusOK, signInView{Already: c.session(r) != nil})
}

func (c *Console) renderSignIn(w http.ResponseWriter, r *http.Request, status int, v signInView) {
	v.Command, v.Minutes = c.o.SignIn, int(linkLife.Minutes())
	c.render(w, r, status, c.pages[signInPath], v)
}

// signIn exchanges a link's secret for a session. A good link never waits: it can't be guessed, and whoever shares an
// address with strangers, as behind a proxy that isn't trusted, could be kept out by them.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	from := c.o.Remote(r)
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !c.links.use(secretOf(r.PostFormValue("link"))) {
		c.refuseSignIn(w, r, from)
		return
	}
	c.sessions.end(c.cookie(r)) // a browser has one session, and never one that it had before
	c.setCookie(w, r, c.sessions.create())
	c.o.Logger.InfoContext(r.Context(), "console signed in", "remote", from.String())
	http.Redirect(w, r, homePath, http.StatusSeeOther)
}

func (c *Console) refuseSignIn(w http.ResponseWriter, r *http.Request, from netip.Addr) {
	wait := c.attempts.fail(from)
	if wait == 0 {
		c.o.Logger.WarnContext(r.Context(), "console sign-in refused: no such link", "remote", from.String())
		c.renderSignIn(w, r, http.StatusForbidden, signInView{Failed: true})
		return
	}
	c.o.Logger.DebugContext(r.Context(), "console sign-in refused: too many tries", "remote", from.String())
	wait = max(wait.Round(time.Second), time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
	c.renderSignIn(w, r, http.StatusTooManyRequests, signInView{Wait: wait})
}

// secretOf takes a link's secret from what was pasted: the whole link, or what stands behind its #.
func secretOf(pasted string) string {
	pasted = strings.TrimSpace(pasted)
	if i := strings.LastIndexByte(pasted, '#'); i >= 0 {
		return pasted[i+1:]
	}
	return pasted
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	c.sessions.end(c.cookie(r))
	c.setCookie(w, r, "")
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}
