package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
)

// callerKey marks the context of a request of this process's own.
type callerKey struct{}

// As is the API as a caller of an app sees it who showed a good key for its OTPs; for the pages of this process, which
// know by other means who asks.
func (s *Server) As(app string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.echo.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, app)))
	})
}

// Mount serves pages at / and under /console/. newLink makes a link that lets a browser in, which the admin API gives.
// It must be called before the server serves.
func (s *Server) Mount(pages http.Handler, newLink func() string) {
	s.newLink = newLink
	show := echo.WrapHandler(pages)
	for _, path := range []string{"/", "/console"} { // whoever posts here meant the API, and is told so as it does
		s.echo.GET(path, show)
		s.echo.HEAD(path, show)
	}
	s.echo.Any("/console/*", show)
}

// signIn is POST /api/v1/admin/sign-in.
func (s *Server) signIn(c echo.Context, _ apps.Caller) error {
	if s.newLink == nil {
		return &problem{code: CodeConflict, detail: "No server runs that a link could lead to; start the API."}
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.json(c, http.StatusOK, map[string]string{"url": s.newLink()})
}

// known is the caller of a request of this process's own.
func (s *Server) known(r *http.Request) (apps.Caller, bool) {
	app, ok := r.Context().Value(callerKey{}).(string)
	if !ok {
		return apps.Caller{}, false
	}
	a, err := s.o.Callers.App(app)
	if err != nil {
		return apps.Caller{}, false
	}
	return apps.Caller{App: a, Key: &apps.Key{ID: "console", App: app, Scopes: []apps.Scope{apps.ScopeOTP, apps.ScopeRead}}}, true
}
