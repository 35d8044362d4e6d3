package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/phone"
	"wabek/internal/whmcs"
)

// headerSignature signs the data that a hook brings along.
const headerSignature = "X-Wabek-Signature"

// Hooks takes events of WHMCS, and knows what became of them; whmcs.Service does. Errors but for those of package whmcs are
// the record store's.
type Hooks interface {
	Actions() []string
	Accept(ctx context.Context, app string, h whmcs.Hook) (id whmcs.ID, known bool, err error)
	Find(ctx context.Context, app string, id whmcs.ID) (whmcs.Notice, error)
	List(ctx context.Context, q whmcs.Query) (list []whmcs.Notice, next whmcs.ID, err error)
	Resend(ctx context.Context, app string, id whmcs.ID) (whmcs.Notice, error)
	Access(app string) (whmcs.Access, error)
	SetAccess(ctx context.Context, app string, a whmcs.Access) error
	DropAccess(ctx context.Context, app string) error
	SetOptOut(ctx context.Context, pool string, number phone.Number, out bool, at time.Time) error
}

// NoticeView is a notice as the API shows it.
type NoticeView struct {
	ID          string      `json:"id"`
	Action      string      `json:"action"`
	State       whmcs.State `json:"state"`
	Reason      string      `json:"reason,omitempty"`
	To          string      `json:"to,omitempty"` // masked
	UserID      int64       `json:"userid,omitempty"`
	InvoiceID   int64       `json:"invoiceid,omitempty"`
	TicketID    int64       `json:"ticketid,omitempty"`
	ReplyID     int64       `json:"replyid,omitempty"`
	ServiceID   int64       `json:"serviceid,omitempty"`
	DomainID    int64       `json:"domainid,omitempty"`
	Type        string      `json:"type,omitempty"` // of a reminder
	Sends       int         `json:"sends"`
	CreatedAt   string      `json:"createdAt"`
	UpdatedAt   string      `json:"updatedAt,omitempty"`
	SentAt      string      `json:"sentAt,omitempty"`
	DeliveredAt string      `json:"deliveredAt,omitempty"`
	ReadAt      string      `json:"readAt,omitempty"`
}

func noticeView(n *whmcs.Notice) NoticeView {
	return NoticeView{
		ID: n.ID.String(), Action: n.Action, State: n.State, Reason: n.Reason, To: n.To, UserID: n.User, InvoiceID: n.Invoice, TicketID: n.Ticket,
		ReplyID: n.Reply, ServiceID: n.Service, DomainID: n.Domain, Type: n.Type, Sends: n.Sends, CreatedAt: when(n.ID.Time()), UpdatedAt: when(n.Updated),
		SentAt: when(n.SentAt), DeliveredAt: when(n.DeliveredAt), ReadAt: when(n.ReadAt),
	}
}

func (s *Server) whmcsRoutes(e *echo.Echo) {
	e.POST("/api/v1/whmcs-webhook", s.guarded(apps.ScopeWHMCS, s.hook))
	e.GET("/api/v1/notices", s.guarded(apps.ScopeRead, s.listNotices, apps.ScopeWHMCS))
	e.GET("/api/v1/notices/:id", s.guarded(apps.ScopeRead, s.showNotice, apps.ScopeWHMCS))
	e.POST("/api/v1/notices/:id/resend", s.guarded(apps.ScopeWHMCS, s.resendNotice))
	for _, r := range []struct {
		method, path string
		handle       func(echo.Context, apps.Caller) error
	}{
		{http.MethodGet, "/api/v1/admin/apps/:app/whmcs", s.showAccess},
		{http.MethodPut, "/api/v1/admin/apps/:app/whmcs", s.setAccess},
		{http.MethodDelete, "/api/v1/admin/apps/:app/whmcs", s.dropAccess},
		{http.MethodPost, "/api/v1/admin/apps/:app/opt-outs", s.setOptOut},
	} {
		e.Add(r.method, r.path, s.guarded(apps.ScopeAdmin, s.audited(r.handle)))
	}
}

// hook is POST /api/v1/whmcs-webhook.
func (s *Server) hook(c echo.Context, by apps.Caller) error {
	x := s.scratch.Get().(*scratch) //nolint:forcetypeassert // its New makes nothing else
	defer s.scratch.Put(x)
	body, err := x.object(c.Request())
	if err != nil {
		return err
	}
	h, err := whmcs.ParseHook(body, c.Request().Header.Get(headerSignature), by.Key.Digest, s.o.Hooks.Actions(), s.o.Now())
	if err != nil {
		return hookProblem(err)
	}
	id, known, err := s.o.Hooks.Accept(c.Request().Context(), by.App.Name, h)
	if err != nil {
		return err
	}
	x.answer = append(append(x.answer[:0], `{"success":true,"eventId":"`...), id.String()...)
	if known {
		x.answer = append(x.answer, `","duplicate":true}`+"\n"...)
	} else {
		x.answer = append(x.answer, "\"}\n"...)
	}
	return s.ok(c, x.answer)
}

// hookProblem finds the problem behind an error of whmcs.ParseHook.
func hookProblem(err error) error {
	var (
		field  *whmcs.FieldError
		action *whmcs.UnknownActionError
	)
	switch {
	case errors.As(err, &field):
		return invalid(field.Field, field.Text)
	case errors.As(err, &action):
		return &problem{code: CodeUnknownAction, field: "action", detail: "There is no text for this action; known are " + strings.Join(action.Known, ", ") + "."}
	case errors.Is(err, whmcs.ErrSignature):
		return &problem{code: CodeBadSignature}
	}
	return unreadable(err)
}

// Bounds of a list of notices.
const (
	noticePage = 50
	noticeMost = 200
)

// listNotices is GET /api/v1/notices.
func (s *Server) listNotices(c echo.Context, by apps.Caller) error {
	q := whmcs.Query{App: by.App.Name, Limit: noticePage, Action: c.QueryParam("action"), State: whmcs.State(c.QueryParam("state"))}
	if text := c.QueryParam("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > noticeMost {
			return invalid("limit", "limit must be 1 to 200.")
		}
		q.Limit = n
	}
	if text := c.QueryParam("userid"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return invalid("userid", "userid must be a whole number.")
		}
		q.User = n
	}
	if text := c.QueryParam("before"); text != "" {
		id, ok := whmcs.ParseID(text)
		if !ok {
			return invalid("before", "before must be the next of an earlier answer.")
		}
		q.Before = id
	}
	list, next, err := s.o.Hooks.List(c.Request().Context(), q)
	if err != nil {
		return err
	}
	answer := struct {
		Success bool         `json:"success"`
		Notices []NoticeView `json:"notices"`
		Next    string       `json:"next,omitempty"` // list on from here with before; there may be more even where notices is empty
	}{Success: true, Notices: make([]NoticeView, 0, len(list))}
	for i := range list {
		answer.Notices = append(answer.Notices, noticeView(&list[i]))
	}
	if next != (whmcs.ID{}) {
		answer.Next = next.String()
	}
	return s.json(c, http.StatusOK, answer)
}

// noticeAnswer is one notice.
type noticeAnswer struct {
	Success bool `json:"success"`
	NoticeView
}

// showNotice is GET /api/v1/notices/{id}.
func (s *Server) showNotice(c echo.Context, by apps.Caller) error {
	return s.answerNotice(c, by, s.o.Hooks.Find)
}

// resendNotice is POST /api/v1/notices/{id}/resend.
func (s *Server) resendNotice(c echo.Context, by apps.Caller) error {
	return s.answerNotice(c, by, s.o.Hooks.Resend)
}

func (s *Server) answerNotice(c echo.Context, by apps.Caller, do func(context.Context, string, whmcs.ID) (whmcs.Notice, error)) error {
	id, ok := whmcs.ParseID(c.Param("id"))
	if !ok {
		return &problem{code: CodeNoticeNotFound}
	}
	n, err := do(c.Request().Context(), by.App.Name, id)
	switch {
	case errors.Is(err, whmcs.ErrNoNotice):
		return &problem{code: CodeNoticeNotFound}
	case errors.Is(err, whmcs.ErrNotResendable):
		return &problem{code: CodeNotResendable, cause: err}
	case err != nil:
		return err
	}
	return s.json(c, http.StatusOK, noticeAnswer{true, noticeView(&n)})
}

// AccessView is how an app's WHMCS is asked. Its secrets are never shown.
type AccessView struct {
	URL        string `json:"url"`
	Identifier string `json:"identifier"`
	Secret     bool   `json:"secretSet"`
	AccessKey  bool   `json:"accessKeySet"`
}

func (s *Server) showAccess(c echo.Context, _ apps.Caller) error {
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	access, err := s.o.Hooks.Access(a.Name)
	if errors.Is(err, whmcs.ErrNoAccess) {
		return &problem{code: CodeNotFound, detail: "This app has no WHMCS that could be asked; set one with PUT."}
	}
	if err != nil {
		return err
	}
	return s.json(c, http.StatusOK, AccessView{access.URL, access.Identifier, access.Secret != "", access.AccessKey != ""})
}

// Bounds of an access.
const (
	longestURL    = 300
	longestSecret = 200
)

func (s *Server) setAccess(c echo.Context, _ apps.Caller) error {
	var q struct {
		URL        string `json:"url"`
		Identifier string `json:"identifier"`
		Secret     string `json:"secret"`
		AccessKey  string `json:"accessKey"`
	}
	if err := s.bindStrictly(c, &q); err != nil {
		return err
	}
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, value string
		most        int
		needed      bool
	}{{"url", q.URL, longestURL, true}, {"identifier", q.Identifier, longestSecret, true}, {"secret", q.Secret, longestSecret, true}, {"accessKey", q.AccessKey, longestSecret, false}} {
		switch {
		case f.needed && f.value == "":
			return invalid(f.name, f.name+" is missing.")
		case len(f.value) > f.most:
			return invalid(f.name, f.name+" is too long.")
		}
	}
	if err := s.o.Callbacks.CheckURL(q.URL); err != nil {
		return invalid("url", "url: "+err.Error()+".")
	}
	access := whmcs.Access{URL: q.URL, Identifier: q.Identifier, Secret: q.Secret, AccessKey: q.AccessKey}
	if err := s.o.Hooks.SetAccess(c.Request().Context(), a.Name, access); err != nil {
		return err
	}
	return s.json(c, http.StatusOK, AccessView{access.URL, access.Identifier, true, access.AccessKey != ""})
}

func (s *Server) dropAccess(c echo.Context, _ apps.Caller) error {
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	if err := s.o.Hooks.DropAccess(c.Request().Context(), a.Name); err != nil {
		return err
	}
	return s.json(c, http.StatusOK, map[string]bool{"success": true})
}

// setOptOut notes for somebody that they want no notices, or want them again: who says so otherwise writes STOP or START.
func (s *Server) setOptOut(c echo.Context, _ apps.Caller) error {
	var q struct {
		Phone string `json:"phone"`
		Out   *bool  `json:"out"`
	}
	number, err := s.bindPhone(c, &q, &q.Phone)
	if err != nil {
		return err
	}
	if q.Out == nil {
		return invalid("out", "out is missing; true for no more notices, false for notices again.")
	}
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	if err := s.o.Hooks.SetOptOut(c.Request().Context(), a.Pool, number, *q.Out, s.o.Now()); err != nil {
		return err
	}
	return s.json(c, http.StatusOK, map[string]bool{"success": true})
}
