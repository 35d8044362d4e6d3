package api

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/otp"
)

// issue is POST /api/v1/otp.
func (s *Server) issue(c echo.Context, by apps.Caller) error {
	x := s.scratch.Get().(*scratch) //nolint:forcetypeassert // its New makes nothing else
	defer s.scratch.Put(x)
	q := &x.issue
	*q = issueRequest{}
	if err := x.bind(c.Request(), q); err != nil {
		return err
	}
	request, err := s.requestOf(q, by.App)
	if err != nil {
		return err
	}
	once, done, err := s.idempotency(c, by, otp.OpIssue, q)
	if err != nil {
		return err
	}
	defer done()
	request.Once, request.Answer = once, answerIssued
	if !request.Test {
		if err := s.admit(&request, q, by.App); err != nil {
			return s.refuse(c, by, otp.OpIssue, once, err)
		}
	}
	issued, err := s.o.OTPs.Issue(c.Request().Context(), request)
	if err != nil {
		return s.answered(c, err)
	}
	s.trace(c, "otp issued", issued.ID)
	if request.Resend { // it may be one that somebody follows
		s.o.Live.Nudge(issued.ID.String())
	}
	x.answer = appendIssued(x.answer[:0], issued)
	return s.ok(c, x.answer)
}

// admit holds a request against all limits that don't hang on its phone.
func (s *Server) admit(r *otp.Request, q *issueRequest, app *apps.App) error {
	if (len(app.Allow) > 0 || len(app.Deny) > 0) && !app.SendsTo(r.Phone.Region()) {
		return &problem{code: CodeCountry, field: "phone"}
	}
	if err := s.o.Admission.Admit(r.Pool); err != nil {
		return err
	}
	return s.o.Limiter.Admit(app, q.address) // last: it counts
}

// verify is POST /api/v1/otp-verify.
func (s *Server) verify(c echo.Context, by apps.Caller) error {
	x := s.scratch.Get().(*scratch) //nolint:forcetypeassert // its New makes nothing else
	defer s.scratch.Put(x)
	q := &x.verify
	*q = verifyRequest{}
	if err := x.bind(c.Request(), q); err != nil {
		return err
	}
	try, err := q.parse(by.App)
	if err != nil {
		return err
	}
	once, done, err := s.idempotency(c, by, otp.OpVerify, q)
	if err != nil {
		return err
	}
	defer done()
	try.Once, try.Answer = once, answerTried
	tried, err := s.o.OTPs.Verify(c.Request().Context(), try)
	if err != nil {
		return s.answered(c, err)
	}
	if tried.ID != (otp.ID{}) {
		s.trace(c, "otp tried", tried.ID)
		s.o.Live.Nudge(tried.ID.String())
	}
	x.answer = appendTried(x.answer[:0], tried)
	return s.ok(c, x.answer)
}

// resend is POST /api/v1/otp/{id}/resend.
func (s *Server) resend(c echo.Context, by apps.Caller) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	once, done, err := s.idempotency(c, by, otp.OpResend, id)
	if err != nil {
		return err
	}
	defer done()
	record, err := s.o.OTPs.Find(c.Request().Context(), by.App.Name, id)
	if err == nil && !record.Test() {
		err = s.o.Admission.Admit(record.Pool) // which may be another than the app's by now
	}
	if err != nil {
		return s.refuse(c, by, otp.OpResend, once, err)
	}
	issued, err := s.o.OTPs.Resend(c.Request().Context(), otp.Again{App: by.App.Name, ID: id, Limits: by.App.Limits, Once: once, Answer: answerIssued})
	if err != nil {
		return s.answered(c, err)
	}
	s.trace(c, "otp sent again", id)
	s.o.Live.Nudge(id.String())
	return s.ok(c, answerIssued(issued))
}

// cancel is POST /api/v1/otp/{id}/cancel.
func (s *Server) cancel(c echo.Context, by apps.Caller) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	record, err := s.o.OTPs.Cancel(c.Request().Context(), by.App.Name, id)
	if err != nil {
		return err
	}
	s.trace(c, "otp cancelled", id)
	s.o.Live.Nudge(id.String())
	return s.json(c, http.StatusOK, s.viewOf(c.Request().Context(), record))
}

// show is GET /api/v1/otp/{id}.
func (s *Server) show(c echo.Context, by apps.Caller) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	record, err := s.o.OTPs.Find(c.Request().Context(), by.App.Name, id)
	if err != nil {
		return err
	}
	return s.json(c, http.StatusOK, s.viewOf(c.Request().Context(), record))
}

// pathID is the id in the path. What can't be one is no OTP's.
func pathID(c echo.Context) (otp.ID, error) {
	id, ok := parseID(c.Param("id"))
	if !ok {
		return otp.ID{}, &problem{code: CodeOTPNotFound}
	}
	return id, nil
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
	return s.json(c, status, report)
}

// docs is GET /docs/errors, where the type of every problem leads.
func (s *Server) docs(c echo.Context) error {
	return c.Blob(http.StatusOK, "text/markdown; charset=utf-8", []byte(Markdown()))
}

// json answers with a value as JSON.
func (s *Server) json(c echo.Context, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return s.write(c, status, append(text, '\n'))
}

func (s *Server) ok(c echo.Context, body []byte) error { return s.write(c, http.StatusOK, body) }

// write answers with JSON. A failed write means that the client left, which is no error of ours.
func (s *Server) write(c echo.Context, status int, body []byte) error {
	c.Response().Header()[echo.HeaderContentType] = s.jsonType
	c.Response().WriteHeader(status)
	_, _ = c.Response().Write(body)
	return nil
}
