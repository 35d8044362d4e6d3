package api

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"wabek/internal/otp"
)

// issue is POST /api/v1/otp.
func (s *Server) issue(c echo.Context) error {
	x := s.scratch.Get().(*scratch) //nolint:forcetypeassert // its New makes nothing else
	defer s.scratch.Put(x)
	q := &x.issue
	*q = issueRequest{}
	if err := x.bind(c.Request(), q); err != nil {
		return err
	}
	number, err := q.parse()
	if err != nil {
		return err
	}
	if err := s.o.Admission.Admit(s.o.Pool); err != nil {
		return err
	}
	issued, err := s.o.OTPs.Issue(c.Request().Context(), otp.Request{
		App: otp.DefaultApp, Pool: s.o.Pool, Phone: number, Purpose: q.Purpose,
	})
	if err != nil {
		return err
	}
	s.trace(c, "otp issued", issued.ID)
	x.answer = append(x.answer[:0], `{"success":true,"otpId":"`...)
	x.answer = append(x.answer, issued.ID.String()...)
	x.answer = append(x.answer, "\"}\n"...)
	return s.ok(c, x.answer)
}

// verify is POST /api/v1/otp-verify.
func (s *Server) verify(c echo.Context) error {
	x := s.scratch.Get().(*scratch) //nolint:forcetypeassert // its New makes nothing else
	defer s.scratch.Put(x)
	q := &x.verify
	*q = verifyRequest{}
	if err := x.bind(c.Request(), q); err != nil {
		return err
	}
	id, err := q.parse()
	if err != nil {
		return err
	}
	tried, err := s.o.OTPs.Verify(c.Request().Context(), otp.Try{App: otp.DefaultApp, ID: id, Code: q.Code})
	if err != nil {
		return err
	}
	s.trace(c, "otp tried", id)
	if tried.Verdict == otp.Valid {
		x.answer = append(x.answer[:0], "{\"valid\":true}\n"...)
		return s.ok(c, x.answer)
	}
	x.answer = append(x.answer[:0], `{"valid":false,"reason":"`...)
	x.answer = append(x.answer, tried.Verdict.Reason()...) // fixed sentences, with nothing to escape in them
	x.answer = append(x.answer, "\"}\n"...)
	return s.ok(c, x.answer)
}

// trace logs a step of an OTP under the id that every step of its job is logged with. It must cost nothing unless
// somebody looks.
func (s *Server) trace(c echo.Context, step string, id otp.ID) {
	if ctx := c.Request().Context(); s.o.Logger.Enabled(ctx, slog.LevelDebug) {
		s.o.Logger.LogAttrs(ctx, slog.LevelDebug, step, slog.String("job", id.String())) //nolint:sloglint // both callers pass a literal
	}
}

// healthz is GET /healthz: the process is alive.
func (s *Server) healthz(c echo.Context) error { return s.ok(c, []byte("{\"status\":\"ok\"}\n")) }

// readyz is GET /readyz: 200 while requests can be accepted; with ?strict only while nothing is degraded.
func (s *Server) readyz(c echo.Context) error {
	report := s.o.Health.Health()
	if s.draining.Load() {
		report.Ready = false
		report.Degraded = append(report.Degraded, string(CodeShuttingDown))
	}
	if report.Degraded == nil {
		report.Degraded = []string{}
	}
	status := http.StatusOK
	if !report.Ready || c.Request().URL.Query().Has("strict") && len(report.Degraded) > 0 {
		status = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return s.write(c, status, append(body, '\n'))
}

// docs is GET /docs/errors, where the type of every problem leads.
func (s *Server) docs(c echo.Context) error {
	return c.Blob(http.StatusOK, "text/markdown; charset=utf-8", []byte(Markdown()))
}

func (s *Server) ok(c echo.Context, body []byte) error { return s.write(c, http.StatusOK, body) }

// write answers with JSON. A failed write means that the client left, which is no error of ours.
func (s *Server) write(c echo.Context, status int, body []byte) error {
	c.Response().Header()[echo.HeaderContentType] = s.jsonType
	c.Response().WriteHeader(status)
	_, _ = c.Response().Write(body)
	return nil
}
