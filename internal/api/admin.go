package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// The admin API: apps, their keys, and phones that are locked. Each change is one line of the log, with the key's id.

// AppView is an app as the admin API shows it.
type AppView struct {
	Name     string        `json:"name"`
	Settings apps.Settings `json:"settings"` // what is set for it
	InForce  InForce       `json:"inForce"`  // with what it inherits
}

// InForce are the settings that an app's requests are held to.
type InForce struct {
	Title           string       `json:"title"`
	Pool            string       `json:"pool"`
	Length          int          `json:"length"`
	ExpirySeconds   int          `json:"expirySeconds"`
	Attempts        int          `json:"attempts"`
	Reissue         apps.Reissue `json:"reissue"`
	CooldownSeconds int          `json:"cooldownSeconds"`
	PerHour         int          `json:"perHour"`
	PerDay          int          `json:"perDay"`
	WrongTries      int          `json:"wrongTries"`
	RatePerSecond   float64      `json:"ratePerSecond"`
	Burst           int          `json:"burst"`
	PerAddressHour  int          `json:"perAddressHour"`
	AllowCountries  []string     `json:"allowCountries"`
	DenyCountries   []string     `json:"denyCountries"`
	Country         string       `json:"country"`
	Locale          string       `json:"locale"`
	CustomCodes     bool         `json:"customCodes"`
	TestNumbers     int          `json:"testNumbers"` // how many
	NoticesPaused   bool         `json:"noticesPaused"`
	CallbackURL     string       `json:"callbackUrl"`
}

// InForceOf are the settings of an app.
func InForceOf(a *apps.App) InForce {
	return InForce{
		Title: a.Title, Pool: a.Pool, Length: a.Policy.Length, ExpirySeconds: int(a.Policy.Expiry.Seconds()), Attempts: a.Policy.MaxAttempts,
		Reissue: a.Reissue, CooldownSeconds: int(a.Limits.Cooldown.Seconds()), PerHour: a.Limits.PerHour, PerDay: a.Limits.PerDay,
		WrongTries: a.Limits.MaxGuesses, RatePerSecond: a.Rate, Burst: a.Burst, PerAddressHour: a.PerAddress,
		AllowCountries: some(a.Allow), DenyCountries: some(a.Deny), Country: a.Country, Locale: a.Locale, CustomCodes: a.CustomCodes,
		TestNumbers: len(a.TestNumbers), NoticesPaused: a.NoticesPaused, CallbackURL: a.CallbackURL,
	}
}

// some is a list that JSON writes as one, also where it is empty.
func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func appView(a *apps.App) AppView {
	own := a.Own
	own.TestNumbers = nil // hashes, which tell nobody anything; how many there are is in force
	return AppView{Name: a.Name, Settings: own, InForce: InForceOf(a)}
}

// KeyView is a key as the admin API shows it.
type KeyView struct {
	ID       string         `json:"id"`
	App      string         `json:"app"`
	Label    string         `json:"label,omitempty"`
	Scopes   []apps.Scope   `json:"scopes"`
	Networks []netip.Prefix `json:"networks,omitempty"`
	Created  string         `json:"createdAt"`
	Expires  string         `json:"expiresAt,omitempty"`
	LastUsed string         `json:"lastUsedAt,omitempty"` // to the minute
	Key      string         `json:"key,omitempty"`        // the key itself, in the answer that made it and nowhere else
}

func keyView(k apps.Key, text string) KeyView {
	return KeyView{
		ID: k.ID, App: k.App, Label: k.Label, Scopes: k.Scopes, Networks: k.Networks, Created: when(k.Created), Expires: when(k.Expires),
		LastUsed: when(k.LastUsed), Key: text,
	}
}

func (s *Server) adminRoutes(e *echo.Echo) {
	for _, r := range []struct {
		method, path string
		handle       func(echo.Context, apps.Caller) error
	}{
		{http.MethodGet, "/api/v1/admin/apps", s.listApps},
		{http.MethodPost, "/api/v1/admin/apps", s.createApp},
		{http.MethodGet, "/api/v1/admin/apps/:app", s.showApp},
		{http.MethodPut, "/api/v1/admin/apps/:app", s.changeApp},
		{http.MethodDelete, "/api/v1/admin/apps/:app", s.deleteApp},
		{http.MethodPost, "/api/v1/admin/apps/:app/test-numbers", s.setTestNumber},
		{http.MethodPost, "/api/v1/admin/apps/:app/unlock", s.unlock},
		{http.MethodPost, "/api/v1/admin/sign-in", s.signIn},
		{http.MethodGet, "/api/v1/admin/keys", s.listKeys},
		{http.MethodPost, "/api/v1/admin/keys", s.createKey},
		{http.MethodDelete, "/api/v1/admin/keys/:key", s.revokeKey},
	} {
		e.Add(r.method, r.path, s.guarded(apps.ScopeAdmin, s.audited(r.handle)))
	}
}

// audited logs who did what.
func (s *Server) audited(h func(echo.Context, apps.Caller) error) func(echo.Context, apps.Caller) error {
	return func(c echo.Context, by apps.Caller) error {
		err := h(c, by)
		if c.Request().Method != http.MethodGet {
			app, key := c.Param("app"), c.Param("key")
			if err != nil { // then it may be anything, like a whole key where its id belongs
				app, key = "", ""
			}
			s.o.Logger.InfoContext(c.Request().Context(), "administration", "method", c.Request().Method, "route", c.Path(),
				"app", app, "key", key, "by", by.Key.ID, "done", err == nil)
		}
		return adminProblem(err)
	}
}

// adminProblem finds the problem behind an error of package apps.
func adminProblem(err error) error {
	var wrong *apps.SettingError
	switch {
	case errors.As(err, &wrong):
		return invalid(wrong.Field, wrong.Text+".")
	case errors.Is(err, apps.ErrMalformed):
		return invalid("name", err.Error()+".")
	case errors.Is(err, apps.ErrNoApp), errors.Is(err, apps.ErrNoKey):
		return &problem{code: CodeNotFound, detail: "There is none of this name."}
	case errors.Is(err, apps.ErrExists):
		return &problem{code: CodeConflict, field: "name", detail: "There is an app of this name already."}
	case errors.Is(err, apps.ErrDefault):
		return &problem{code: CodeConflict, detail: "The default app can't be deleted."}
	}
	return err
}

func (s *Server) listApps(c echo.Context, _ apps.Caller) error {
	list := []AppView{}
	for _, a := range s.o.Callers.Apps() {
		list = append(list, appView(a))
	}
	return s.json(c, http.StatusOK, map[string]any{"apps": list})
}

// newAppBody is the body that makes an app.
type newAppBody struct {
	Name string `json:"name"`
	apps.Settings
}

func (s *Server) createApp(c echo.Context, _ apps.Caller) error {
	var q newAppBody
	if err := s.bindStrictly(c, &q); err != nil {
		return err
	}
	return s.saveApp(c, q.Name, q.Settings, true)
}

func (s *Server) changeApp(c echo.Context, _ apps.Caller) error {
	var own apps.Settings
	if err := s.bindStrictly(c, &own); err != nil {
		return err
	}
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	return s.saveApp(c, a.Name, own, false)
}

func (s *Server) saveApp(c echo.Context, name string, own apps.Settings, create bool) error {
	if own.TestNumbers != nil {
		return invalid("testNumbers", "testNumbers are set one by one, by POST /api/v1/admin/apps/{app}/test-numbers.")
	}
	if own.CallbackURL != nil && *own.CallbackURL != "" {
		if err := s.o.Callbacks.CheckURL(*own.CallbackURL); err != nil {
			return invalid("callbackUrl", "callbackUrl: "+err.Error()+".")
		}
	}
	if _, err := s.o.Callers.App(name); create && errors.Is(err, apps.ErrNoApp) && apps.CheckName(name) == nil {
		if err := s.forgetApp(c.Request().Context(), name); err != nil {
			return &problem{code: CodeQueueUnavailable, detail: "What is left of an earlier app of this name can't be forgotten now; try again soon.", cause: err}
		}
	}
	a, err := s.o.Callers.SaveApp(c.Request().Context(), name, own, create)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if create {
		status = http.StatusCreated
	}
	return s.json(c, status, appView(a))
}

func (s *Server) showApp(c echo.Context, _ apps.Caller) error {
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return err
	}
	return s.json(c, http.StatusOK, appView(a))
}

func (s *Server) deleteApp(c echo.Context, _ apps.Caller) error {
	ctx, name := c.Request().Context(), c.Param("app")
	if err := s.o.Callers.DeleteApp(ctx, name); err != nil {
		return err
	}
	if err := s.forgetApp(ctx, name); err != nil { // the app is gone; whoever makes one of its name forgets the rest
		s.o.Logger.WarnContext(ctx, "something of a deleted app is left", "app", name, "err", err)
	}
	return s.json(c, http.StatusOK, map[string]bool{"success": true})
}

// forgetApp removes what is kept for an app outside of its settings, so that a later one of its name gets nothing of it.
func (s *Server) forgetApp(ctx context.Context, name string) error {
	return errors.Join(s.o.Hooks.DropAccess(ctx, name), s.o.Callbacks.Forget(ctx, name))
}

func (s *Server) setTestNumber(c echo.Context, _ apps.Caller) error {
	var q struct {
		Phone string `json:"phone"`
		Code  string `json:"code"` // empty: an ordinary number again
	}
	number, err := s.bindPhone(c, &q, &q.Phone)
	if err != nil {
		return err
	}
	a, err := s.o.Callers.SetTestNumber(c.Request().Context(), c.Param("app"), number, q.Code)
	if err != nil {
		return err
	}
	return s.json(c, http.StatusOK, appView(a))
}

func (s *Server) unlock(c echo.Context, _ apps.Caller) error {
	var q struct {
		Phone string `json:"phone"`
	}
	number, err := s.bindPhone(c, &q, &q.Phone)
	if err != nil {
		return err
	}
	if err := s.o.OTPs.Unlock(c.Request().Context(), c.Param("app"), number); err != nil {
		return err
	}
	return s.json(c, http.StatusOK, map[string]bool{"success": true})
}

func (s *Server) bindPhone(c echo.Context, into any, field *string) (phone.Number, error) {
	if err := s.bindStrictly(c, into); err != nil {
		return phone.Number{}, err
	}
	a, err := s.o.Callers.App(c.Param("app"))
	if err != nil {
		return phone.Number{}, err
	}
	return parsePhone(*field, a)
}

func (s *Server) listKeys(c echo.Context, _ apps.Caller) error {
	list := []KeyView{}
	for _, k := range s.o.Callers.Keys(c.QueryParam("app")) {
		list = append(list, keyView(k, ""))
	}
	return s.json(c, http.StatusOK, map[string]any{"keys": list})
}

func (s *Server) createKey(c echo.Context, _ apps.Caller) error {
	var q struct {
		App      string       `json:"app"`
		Label    string       `json:"label"`
		Scopes   []apps.Scope `json:"scopes"`
		Networks []string     `json:"networks"`
		Days     int          `json:"expiresInDays"` // 0 for never
	}
	if err := s.bindStrictly(c, &q); err != nil {
		return err
	}
	const mostDays = 3650
	n := apps.NewKey{App: q.App, Label: q.Label, Scopes: q.Scopes}
	if n.App == "" {
		n.App = otp.DefaultApp
	}
	for _, text := range q.Networks {
		network, err := apps.ParseNetwork(text)
		if err != nil {
			return err
		}
		n.Networks = append(n.Networks, network)
	}
	switch {
	case q.Days < 0 || q.Days > mostDays:
		return invalid("expiresInDays", "expiresInDays must be 0 to 3650.")
	case q.Days > 0:
		n.Expires = s.o.Now().Add(time.Duration(q.Days) * 24 * time.Hour)
	}
	k, text, err := s.o.Callers.CreateKey(c.Request().Context(), n)
	switch {
	case errors.Is(err, apps.ErrNoApp):
		return invalid("app", "app: there is no app of this name.")
	case err != nil:
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.json(c, http.StatusCreated, keyView(k, text))
}

func (s *Server) revokeKey(c echo.Context, _ apps.Caller) error {
	if err := s.o.Callers.RevokeKey(c.Request().Context(), c.Param("key")); err != nil {
		return err
	}
	return s.json(c, http.StatusOK, map[string]bool{"success": true})
}

// bindStrictly reads a body in which every field is known: a setting that is misspelt must not be passed over.
func (s *Server) bindStrictly(c echo.Context, into any) error {
	x := s.scratch.Get().(*scratch) //nolint:forcetypeassert // its New makes nothing else
	defer s.scratch.Put(x)
	body, err := x.object(c.Request())
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return &problem{code: CodeInvalidField, field: strings.Trim(name, `"`), detail: "There is no such field."}
		}
		return unreadable(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return &problem{code: CodeInvalidJSON, detail: "Something follows the JSON object."}
	}
	return nil
}
