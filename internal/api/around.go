package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// Headers in the form in which net/http keys them.
const (
	headerKey       = "X-Api-Key"
	headerRequestID = "X-Request-Id"
	headerOnce      = "Idempotency-Key"
	headerForwarded = "X-Forwarded-For"
)

// statusGone is what the log says of a request whose client didn't wait for the answer.
const statusGone = 499

// around is the one middleware: request id, panics, errors, log. What it does on the way of a 200 is counted:
// two clock readings, one id.
func (s *Server) around(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		id := s.ids.of(c.Request())
		c.Response().Header()[headerRequestID] = id
		err := s.recovered(c, next, id[0])
		if err != nil {
			s.answerError(err, c)
		}
		s.log(c, err, id[0], start)
		return nil
	}
}

// recovered runs a handler and turns its panic into an error. The panic's own text isn't logged unless it is
// the runtime's: it might hold what the request held.
func (s *Server) recovered(c echo.Context, next echo.HandlerFunc, id string) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler { //nolint:errorlint // the very value
			panic(p)
		}
		what := fmt.Sprintf("%T", p)
		if re, ok := p.(runtime.Error); ok {
			what = re.Error()
		}
		s.o.Logger.LogAttrs(c.Request().Context(), slog.LevelError, "handler panicked",
			slog.String("request_id", id), slog.String("panic", what), slog.String("stack", string(debug.Stack())))
		err = &problem{code: CodeInternal, cause: errors.New("handler panicked"), close: true}
	}()
	return next(c)
}

// answerError writes the problem behind an error, unless the answer has begun.
func (s *Server) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if gone(c, err) { // net/http would answer 200, which a half-closed connection could still read
		c.Response().Header().Set(echo.HeaderConnection, "close")
		c.Response().WriteHeader(statusGone)
		return
	}
	_ = problemOf(err).write(c) // the client's connection is gone, then
}

// gone says that a request failed because its client left.
func gone(c echo.Context, err error) bool {
	return errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil
}

func (s *Server) log(c echo.Context, err error, id string, start time.Time) {
	ctx, status, level := c.Request().Context(), c.Response().Status, slog.LevelDebug
	var p *problem
	if err != nil {
		p = problemOf(err)
	}
	switch {
	case p == nil, gone(c, err):
	case status >= http.StatusInternalServerError && p.kind().code == CodeInternal:
		level = slog.LevelError
	case status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	if !s.o.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		// The route, not the path: people put numbers into paths.
		slog.String("method", c.Request().Method), slog.String("route", c.Path()), slog.Int("status", status),
		slog.Duration("took", time.Since(start)), slog.String("request_id", id),
	}
	if p != nil {
		attrs = append(attrs, slog.String("code", string(p.kind().code)), slog.Any("remote", s.remote(c.Request())))
		if p.field != "" {
			attrs = append(attrs, slog.String("field", p.field))
		}
		if p.cause != nil {
			attrs = append(attrs, slog.Any("err", p.cause))
		}
	}
	s.o.Logger.LogAttrs(ctx, level, "request", attrs...)
}

// requestIDs gives each request an id: its own, or one that is unique over restarts and cheap to make.
type requestIDs struct {
	prefix string // random, of this process
	last   *atomic.Uint64
}

func newRequestIDs() requestIDs {
	var raw [6]byte
	_, _ = rand.Read(raw[:]) // never fails
	return requestIDs{prefix: hex.EncodeToString(raw[:]) + "-", last: new(atomic.Uint64)}
}

// of returns the id as the value of a header.
func (ids requestIDs) of(r *http.Request) []string {
	if sent := r.Header[headerRequestID]; len(sent) == 1 && usableID(sent[0]) {
		return sent
	}
	var buf [36]byte
	return []string{string(strconv.AppendUint(append(buf[:0], ids.prefix...), ids.last.Add(1), 36))}
}

func usableID(id string) bool {
	const longest = 64
	if id == "" || len(id) > longest {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
