// Package api is the HTTP side of wabek: routes, authentication, binding and errors. It holds no rules.
//
// In: requests to issue and to verify an OTP. Out: calls of package otp, and their outcome as JSON.
// On failure: a problem document (RFC 9457) from the one catalogue in problem.go, with no secret in it.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/callback"
	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/status"
	"wabek/internal/text"
)

// Limits of what a client may send and how long it may take.
const (
	maxBody           = 16 << 10 // bytes
	maxHeader         = 16 << 10 // bytes
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	// mostBusy is how many requests may be under way. Above what the machine can do they would only wait for each
	// other, so one more is refused at once.
	mostBusy = 2048
)

// OTPs issues and verifies; otp.Service does, and says which errors there are. They never hold a number, a code or a key:
// they are logged.
type OTPs interface {
	Issue(ctx context.Context, r otp.Request) (otp.Issued, error)
	Verify(ctx context.Context, t otp.Try) (otp.Tried, error)
	Resend(ctx context.Context, a otp.Again) (otp.Issued, error)
	Cancel(ctx context.Context, app string, id otp.ID) (otp.Record, error)
	Find(ctx context.Context, app string, id otp.ID) (otp.Record, error)
	Unlock(ctx context.Context, app string, number phone.Number) error
	Answered(ctx context.Context, app, operation string, once *otp.Idempotency) error
}

// Callers knows apps and keys; apps.Registry does.
type Callers interface {
	// Authenticate says whose key it is. Errors: apps.ErrWrongKey, apps.ErrKeyExpired, apps.ErrWrongNetwork.
	Authenticate(key string, from netip.Addr) (apps.Caller, error)
	// TestNumber is the fixed code of a test number of the app.
	TestNumber(a *apps.App, n phone.Number) (code string, ok bool)

	// The rest is for the admin API, and says itself which errors there are.
	App(name string) (*apps.App, error)
	Apps() []*apps.App
	SaveApp(ctx context.Context, name string, own apps.Settings, create bool) (*apps.App, error)
	DeleteApp(ctx context.Context, name string) error
	SetTestNumber(ctx context.Context, app string, n phone.Number, code string) (*apps.App, error)
	Keys(app string) []apps.Key
	CreateKey(ctx context.Context, n apps.NewKey) (apps.Key, string, error)
	RevokeKey(ctx context.Context, id string) error
	RotateCallbackSecret(ctx context.Context, app string) (*apps.App, error)
	CallbackSecret(app, salt string) []byte
}

// Texts writes messages; text.Texts does.
type Texts interface {
	// Check says what is wrong with a request for a message, but for its code: *text.ParamError,
	// *text.UnknownTemplateError or *text.MissingParamError.
	Check(r text.Request) error
	Render(r text.Request) (string, error)
}

// Deliveries knows how far a message has come, ahead of the record; queue.Broker does.
type Deliveries interface {
	// Last is the latest status of a job, and where it stands in the stream; 0 where there is none.
	Last(ctx context.Context, pool string, id job.ID) (job.Status, uint64, error)
	// History are the statuses of a job that stand behind after in the stream.
	History(ctx context.Context, pool string, id job.ID, after uint64) ([]job.Status, error)
}

// Callbacks posts to apps what becomes of their OTPs; callback.Service does. Errors but for callback.ErrNoLetter are the
// queue's.
type Callbacks interface {
	CheckURL(url string) error // says why an address can't be posted to, as far as it shows
	Dead(ctx context.Context, app string, after uint64, limit int) ([]callback.Letter, error)
	Replay(ctx context.Context, app, id string) error
	ReplayAll(ctx context.Context, app string) (int, error)
	Purge(ctx context.Context, app, id string) (int, error)
	Forget(ctx context.Context, app string) error // all that waits and all that was given up
}

// Live tells of changes as they happen; status.Hub does, by the id of an OTP.
type Live interface {
	Follow(key string) (news <-chan status.News, stop func(), err error)
	Nudge(key string)
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
	Notices  NoticeCount  `json:"notices"`
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

// NoticeCount counts notices of WHMCS events.
type NoticeCount struct {
	Waiting int64 `json:"waiting"` // events that aren't resolved yet
	Pending int64 `json:"pending"` // released, without an outcome yet
}

// Options is what a Server needs; all of it but Proxies.
type Options struct {
	OTPs       OTPs
	Callers    Callers
	Limiter    *apps.Limiter
	Texts      Texts
	Deliveries Deliveries
	Live       Live
	Callbacks  Callbacks
	Hooks      Hooks
	Admission  Admission
	Health     Health
	Proxies    []netip.Prefix // whose X-Forwarded-For is believed
	Now        func() time.Time
	Logger     *slog.Logger
}

// Server is the HTTP server of an API node.
type Server struct {
	o         Options
	echo      *echo.Echo
	http      *http.Server
	draining  atomic.Bool
	busy      atomic.Int64    // requests under way
	quit      context.Context //nolint:containedctx // ends when the server drains; streams of events hang on it
	stop      context.CancelFunc
	following sync.WaitGroup // streams of events
	once      onceKeys
	newLink   func() string // into the pages; nil where there are none
	ids       requestIDs
	scratch   sync.Pool // of *scratch

	jsonType []string // the value of Content-Type, shared by all answers
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.OTPs == nil || o.Callers == nil || o.Limiter == nil || o.Texts == nil || o.Deliveries == nil || o.Live == nil || o.Callbacks == nil || o.Hooks == nil || o.Admission == nil || o.Health == nil ||
		o.Now == nil || o.Logger == nil {
		return nil, errors.New("api: an option is missing")
	}
	s := &Server{o: o, echo: echo.New(), ids: newRequestIDs(), jsonType: []string{echo.MIMEApplicationJSON}}
	s.quit, s.stop = context.WithCancel(context.Background())
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
	e.POST("/api/v1/otp", s.guarded(apps.ScopeOTP, s.issue))
	e.POST("/api/v1/otp-verify", s.guarded(apps.ScopeOTP, s.verify))
	e.POST("/api/v1/otp/:id/resend", s.guarded(apps.ScopeOTP, s.resend))
	e.POST("/api/v1/otp/:id/cancel", s.guarded(apps.ScopeOTP, s.cancel))
	e.GET("/api/v1/otp/:id", s.guarded(apps.ScopeRead, s.show))
	e.GET("/api/v1/otp/:id/events", s.guarded(apps.ScopeRead, s.events))
	s.adminRoutes(e)
	s.callbackRoutes(e)
	s.whmcsRoutes(e)
	s.docRoutes(e)
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
func (s *Server) Drain() {
	s.draining.Store(true)
	s.stop()
}

// Shutdown drains, stops accepting and waits for the requests under way. Where ctx ends first it cuts them
// off and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.following.Wait()
	return err
}

// retrySeconds is a duration as Retry-After has it: whole seconds, at least one.
func retrySeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
