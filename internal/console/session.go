package console

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	sessionLife  = 12 * time.Hour // from the sign-in on, however busy: who stays longer signs in again
	mostSessions = 64             // at once: one more ends the oldest
	plainCookie  = "wabek-console"
	// secureCookie is the name over https. Browsers take a cookie named so only from the host itself over https and for
	// no other (RFC 6265bis section 4.1.3.2), so a neighbour under the same domain can't plant one.
	secureCookie = "__Host-" + plainCookie
)

// session is a browser that was let in.
type session struct {
	ends time.Time
	over context.Context //nolint:containedctx // ends with the session; streams of events hang on it
	end  context.CancelFunc
}

// sessions are those that are open, by the digest of what the cookie holds.
type sessions struct {
	now func() time.Time

	mu   sync.Mutex
	open map[digest]*session
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, open: map[digest]*session{}}
}

// create lets a browser in; the text goes into its cookie.
func (s *sessions) create() string {
	text, kept := newSecret()
	over, end := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var oldest digest
	for d, have := range s.open {
		if !now.Before(have.ends) {
			s.drop(d)
		} else if first := s.open[oldest]; first == nil || have.ends.Before(first.ends) {
			oldest = d
		}
	}
	if len(s.open) >= mostSessions {
		s.drop(oldest)
	}
	s.open[kept] = &session{ends: now.Add(sessionLife), over: over, end: end}
	return text
}

// drop is called with mu held.
func (s *sessions) drop(d digest) {
	if have := s.open[d]; have != nil {
		have.end()
		delete(s.open, d)
	}
}

// find is the open session of a cookie, nil where there is none.
func (s *sessions) find(text string) *session {
	d := digestOf(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.open[d]
	if have != nil && !s.now().Before(have.ends) {
		s.drop(d)
		return nil
	}
	return have
}

func (s *sessions) end(text string) {
	d := digestOf(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(d)
}

func (c *Console) cookieName(r *http.Request) string {
	if c.overTLS(r) {
		return secureCookie
	}
	return plainCookie
}

// cookie is what a request's cookie holds; empty where it has none.
func (c *Console) cookie(r *http.Request) string {
	if k, err := r.Cookie(c.cookieName(r)); err == nil {
		return k.Value
	}
	return ""
}

// setCookie gives a browser its session, or with an empty value takes it away.
func (c *Console) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	life := int(sessionLife.Seconds())
	if value == "" {
		life = -1
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS; over plain HTTP browsers would drop it
		Name: c.cookieName(r), Value: value, Path: "/", MaxAge: life,
		HttpOnly: true, Secure: c.overTLS(r), SameSite: http.SameSiteStrictMode,
	})
}

// session is the open one of a request, nil where it has none.
func (c *Console) session(r *http.Request) *session {
	text := c.cookie(r)
	if text == "" {
		return nil
	}
	return c.sessions.find(text)
}

// signedIn lets those in who have a session, and shows everybody else where to get one.
func (c *Console) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c.session(r) == nil {
			http.Redirect(w, r, signInPath, http.StatusSeeOther)
			return
		}
		next(w, r)
	}
}
