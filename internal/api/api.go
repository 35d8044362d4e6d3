// Package api is the HTTP side of wabek: routes, authentication, binding and errors. It holds no rules.
//
// In: requests to issue and to verify an OTP. Out: calls of package otp, and their outcome as JSON.
// On failure: a problem document (RFC 9457) from the one catalogue in problem.go, with no secret in it.
package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"wabek/internal/otp"
)

// Limits of what a client may send and how long it may take.
const (
	maxBody           = 16 << 10 // bytes
	maxHeader         = 16 << 10 // bytes
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
)

// OTPs issues and verifies; otp.Service does. Its errors never hold a number, a code or a key: they are logged.
type OTPs interface {
	// Issue returns once the OTP is durable and will be delivered. Errors as otp.Store.Issue says.
	Issue(ctx context.Context, r otp.Request) (otp.Issued, error)
	// Verify returns once the verdict is durable. Errors as otp.Store.Update says, without otp.ErrNoRecord.
	Verify(ctx context.Context, t otp.Try) (otp.Tried, error)
}

var _ OTPs = (*otp.Service)(nil)

// Admission says whether an OTP may be taken now.
type Admission interface {
	// Admit returns nil, or a *Refusal. It is asked on every request, so it must be cheap and never block.
	Admit(pool string) error
}

// Health says how the node is.
type Health interface {
	Health() Report
}

// Report is the answer of /readyz.
type Report struct {
	Ready    bool         `json:"ready"`    // requests can be accepted
	Degraded []string     `json:"degraded"` // names of what isn't as it should be
	Sessions SessionCount `json:"sessions"`
	Relay    RelayCount   `json:"relay"`
}

// SessionCount counts WhatsApp sessions.
type SessionCount struct {
	Up    int `json:"up"` // may send now
	Total int `json:"total"`
}

// RelayCount counts jobs on their way to the queue.
type RelayCount struct {
	Pending     int64 `json:"pending"`     // without an outcome yet
	Republished int64 `json:"republished"` // published again since the start
}

// Options is what a Server needs; all of it.
type Options struct {
	OTPs      OTPs
	Admission Admission
	Health    Health
	KeyDigest [sha256.Size]byte // SHA-256 of the key that callers send in X-API-Key
	Pool      string            // whose sessions deliver the OTPs
	Logger    *slog.Logger
}

// Server is the HTTP server of an API node.
type Server struct {
	o        Options
	echo     *echo.Echo
	http     *http.Server
	draining atomic.Bool
	ids      requestIDs
	scratch  sync.Pool // of *scratch

	jsonType []string // the value of Content-Type, shared by all answers
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.OTPs == nil || o.Admission == nil || o.Health == nil || o.Logger == nil || o.Pool == "" || o.KeyDigest == [sha256.Size]byte{} {
		return nil, errors.New("api: an option is missing")
	}
	s := &Server{o: o, echo: echo.New(), ids: newRequestIDs(), jsonType: []string{echo.MIMEApplicationJSON}}
	s.scratch.New = func() any { return &scratch{buf: make([]byte, maxBody+1)} }
	s.routes()
	s.http = &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s, nil
}

func (s *Server) routes() {
	e := s.echo
	e.HTTPErrorHandler = s.answerError
	e.Use(s.around)
	e.POST("/api/v1/otp", s.guarded(s.issue))
	e.POST("/api/v1/otp-verify", s.guarded(s.verify))
	for path, handle := range map[string]echo.HandlerFunc{
		"/healthz": s.healthz, "/readyz": s.readyz, docsPath: s.docs,
	} {
		e.GET(path, handle)
		e.HEAD(path, handle)
	}
}

// Handler is the server's handler, for a server of one's own.
func (s *Server) Handler() http.Handler { return s.echo }

// Serve answers on l until Shutdown, and closes l. It returns nil after Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Drain refuses new OTPs and verifications with shutting_down from now on, and /readyz says so, while
// connections go on being accepted: time for a load balancer to look elsewhere.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown drains, stops accepting and waits for the requests under way. Where ctx ends first it cuts them
// off and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// retrySeconds is a duration as Retry-After has it: whole seconds, at least one.
func retrySeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
