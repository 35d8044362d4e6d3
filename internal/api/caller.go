package api

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
)

// guarded lets a request through to h whose key is good for scope, or for one of or, while the server isn't draining or full. Nothing of
// the body has been read by then.
func (s *Server) guarded(scope apps.Scope, h func(echo.Context, apps.Caller) error, or ...apps.Scope) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		caller, err := s.authenticate(r)
		switch {
		case errors.Is(err, errNoKey):
			return &problem{code: CodeUnauthorized}
		case errors.Is(err, apps.ErrWrongNetwork):
			return &problem{code: CodeForbidden, detail: "The API key may not be used from this address."}
		case errors.Is(err, apps.ErrKeyExpired):
			return &problem{code: CodeUnauthorized, detail: "The API key has expired; make another one."}
		case err != nil:
			return &problem{code: CodeUnauthorized, detail: "The API key in the header X-API-Key is wrong or was revoked."}
		case !caller.Key.Has(scope) && !slices.ContainsFunc(or, caller.Key.Has):
			return &problem{code: CodeForbidden, detail: "The API key lacks the scope " + string(scope) + "."}
		case s.draining.Load():
			return &problem{code: CodeShuttingDown, close: true}
		}
		if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
			c.Response().Header().Set("Accept-Encoding", "identity") // RFC 9110 section 12.5.3
			return &problem{code: CodeUnsupported}
		}
		defer s.busy.Add(-1)
		if s.busy.Add(1) > mostBusy {
			return &problem{code: CodeBusy}
		}
		return h(c, caller)
	}
}

// errNoKey says that a request shows no key, or several.
var errNoKey = errors.New("no API key")

func (s *Server) authenticate(r *http.Request) (apps.Caller, error) {
	if caller, ok := s.known(r); ok {
		return caller, nil
	}
	presented := r.Header[headerKey]
	if len(presented) != 1 {
		return apps.Caller{}, errNoKey
	}
	return s.o.Callers.Authenticate(presented[0], s.remote(r))
}

// Remote is the address of the client: see remote.
func (s *Server) Remote(r *http.Request) netip.Addr { return s.remote(r) }

// remote is the address of the client: that of the connection, or what a trusted proxy says of it. Of several forwarded
// ones the last that isn't a trusted proxy's counts: what stands before it anybody could have written.
func (s *Server) remote(r *http.Request) netip.Addr {
	port, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := port.Addr().Unmap()
	if !s.proxy(addr) {
		return addr
	}
	forwarded := strings.Split(strings.Join(r.Header[headerForwarded], ","), ",")
	for _, text := range slices.Backward(forwarded) {
		next, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return addr
		}
		if addr = next.Unmap(); !s.proxy(addr) {
			return addr
		}
	}
	return addr
}

func (s *Server) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.o.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
