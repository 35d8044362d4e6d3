package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// passedOn lists what the live test may ask the API for: the API's own addresses under /console. Everything else of the
// API, the admin's part above all, is out of a browser's reach.
func passedOn() []string {
	return []string{
		"POST /console/api/v1/otp",
		"POST /console/api/v1/otp-verify",
		"POST /console/api/v1/otp/{id}/resend",
		"POST /console/api/v1/otp/{id}/cancel",
		"GET /console/api/v1/otp/{id}",
		"GET /console/api/v1/otp/{id}/events",
	}
}

// signedOut is the answer to a script whose session has ended, in the form of the API's problems (RFC 9457).
const signedOut = `{"type":"about:blank","title":"You are signed out","status":401,"success":false,"code":"signed_out",` +
	`"detail":"Sign in to the console again."}` + "\n"

// passOn has the API answer a request of a script of ours. Of its headers only those that mean something to the API go
// along: no cookie, and no key.
func (c *Console) passOn(w http.ResponseWriter, r *http.Request) {
	s := c.session(r)
	if s == nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(signedOut)) // who asked has gone, then
		return
	}
	ctx := r.Context()
	if r.Method == http.MethodGet { // a stream, which would outlive its session
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.ends.Sub(c.o.Now()))
		defer cancel()
		defer context.AfterFunc(s.over, cancel)()
	}
	inner := r.Clone(ctx)
	inner.Header = http.Header{}
	for _, name := range []string{"Accept", "Content-Type", "Content-Encoding", "Idempotency-Key", "Last-Event-Id", "X-Request-Id"} {
		if sent := r.Header[name]; sent != nil {
			inner.Header[name] = sent
		}
	}
	path := strings.TrimPrefix(r.URL.Path, "/console")
	inner.URL = &url.URL{Path: path, RawQuery: r.URL.RawQuery}
	inner.RequestURI = inner.URL.RequestURI()
	c.o.API.ServeHTTP(w, inner)
}
