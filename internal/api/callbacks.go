package api

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/callback"
	"wabek/internal/job"
)

// CallbackView is where an app's callbacks go, and what they are signed with.
type CallbackView struct {
	URL            string `json:"url"`                      // empty: nowhere
	Secret         string `json:"secret,omitempty"`         // whsec_…, by Standard Webhooks
	PreviousSecret string `json:"previousSecret,omitempty"` // signs too
	PreviousUntil  string `json:"previousUntil,omitempty"`  // until then
}

// LetterView is a callback that was given up.
type LetterView struct {
	Place  uint64 `json:"place"` // list on from here with after
	ID     string `json:"id"`
	Reason string `json:"reason"`
	Last   string `json:"last,omitempty"` // how the latest try ended
	Tries  int    `json:"tries"`
	First  string `json:"firstAt"`
	At     string `json:"givenUpAt"`
}

func (s *Server) callbackRoutes(e *echo.Echo) {
	const at = "/api/v1/admin/apps/:app/callback"
	for path, r := range map[string]struct {
		method string
		handle func(echo.Context, apps.Caller) error
	}{
		at:                   {http.MethodGet, s.showCallback},
		at + "/rotate":       {http.MethodPost, s.rotateCallback},
		at + "/dead":         {http.MethodGet, s.listLetters},
		at + "/dead/replay":  {http.MethodPost, s.replayLetters},
		at + "/dead/discard": {http.MethodPost, s.discardLetters},
	} {
		e.Add(r.method, path, s.guarded(apps.ScopeAdmin, s.audited(r.handle)))
	}
}

func (s *Server) callbackView(a *apps.App) CallbackView {
	v := CallbackView{URL: a.CallbackURL}
	if a.Callback.Salt != "" {
		v.Secret = callback.SecretOf(s.o.Callers.CallbackSecret(a.Name, a.Callback.Salt)).Reveal()
	}
	if a.Callback.Previous != "" && s.o.Now().Before(a.Callback.Until) {
		v.PreviousSecret = callback.SecretOf(s.o.Callers.CallbackSecret(a.Name, a.Callback.Previous)).Reveal()
		v.PreviousUntil = when(a.Callback.Until)
	}
	return v
}

func (s *Server) showCallback(c echo.Context, _ apps.Caller) error {
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.json(c, http.StatusOK, s.callbackView(a))
}

func (s *Server) rotateCallback(c echo.Context, _ apps.Caller) error {
	a, err := s.o.Callers.RotateCallbackSecret(c.Request().Context(), c.Param("app"))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.json(c, http.StatusOK, s.callbackView(a))
}

// letterPage is how many letters are listed at once.
const letterPage = 100

func (s *Server) listLetters(c echo.Context, _ apps.Caller) error {
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	var after uint64
	if text := c.QueryParam("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return invalid("after", "after must be the place of a letter.")
		}
	}
	letters, err := s.o.Callbacks.Dead(c.Request().Context(), a.Name, after, letterPage)
	if err != nil {
		return lettersAway(err)
	}
	list := []LetterView{}
	for _, l := range letters {
		list = append(list, LetterView{
			Place: l.Place, ID: l.ID, Reason: l.Reason, Last: l.Last, Tries: l.Tries, First: when(l.First), At: when(l.At),
		})
	}
	return s.json(c, http.StatusOK, map[string]any{"letters": list})
}

// which reads the id of one letter; empty for all of the app's.
func (s *Server) which(c echo.Context) (app, id string, err error) {
	var q struct {
		ID string `json:"id"`
	}
	if err := s.bindStrictly(c, &q); err != nil {
		return "", "", err
	}
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return "", "", err
	}
	return a.Name, q.ID, nil
}

func (s *Server) replayLetters(c echo.Context, _ apps.Caller) error {
	app, id, err := s.which(c)
	if err != nil {
		return err
	}
	n := 1
	if id != "" {
		err = s.o.Callbacks.Replay(c.Request().Context(), app, id)
	} else {
		n, err = s.o.Callbacks.ReplayAll(c.Request().Context(), app)
	}
	return s.counted(c, n, err)
}

func (s *Server) discardLetters(c echo.Context, _ apps.Caller) error {
	app, id, err := s.which(c)
	if err != nil {
		return err
	}
	n, err := s.o.Callbacks.Purge(c.Request().Context(), app, id)
	return s.counted(c, n, err)
}

// lettersAway is the problem where the queue, which keeps the letters, doesn't answer.
func lettersAway(err error) error {
	return &problem{code: CodeQueueUnavailable, detail: "Dead letters are in the queue, which can't be reached: no API runs, or NATS is away.", cause: err}
}

func (s *Server) counted(c echo.Context, n int, err error) error {
	switch {
	case errors.Is(err, callback.ErrNoLetter), errors.Is(err, job.ErrName):
		return &problem{code: CodeNotFound, detail: "There is no such dead letter."}
	case errors.Is(err, callback.ErrWaits):
		return &problem{code: CodeConflict, detail: "The callback of this letter waits to be posted already."}
	case errors.Is(err, callback.ErrBacklog):
		return &problem{code: CodeConflict, detail: "Too many callbacks of the app wait to be posted; replay when there are less."}
	case err != nil:
		return lettersAway(err)
	}
	return s.json(c, http.StatusOK, map[string]any{"success": true, "count": n})
}
