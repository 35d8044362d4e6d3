package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/docs"
	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/callback"
	"wabek/internal/job"
	"wabek/internal/otp"
)

// TestOpenAPI_EveryOperation drives every operation to every status that the document says it may have, and holds each
// request and answer against it.
func TestOpenAPI_EveryOperation(t *testing.T) {
	t.Parallel()
	c, err := described()
	require.NoError(t, err)
	driven := map[string]bool{}
	for name, drive := range map[string]func(*bundle){
		"OTPs": driveOTPs, "refused OTPs": driveRefusals, "apps": driveApps, "keys": driveKeys, "pages": drivePages, "events": driveEvents, "notices": driveNotices, "WHMCS": driveAccess,
		"what every guarded operation may answer": func(b *bundle) { b.driveGuards(c) },
		"what an app may not do":                  driveCountries,
	} {
		b := setup(t)
		w := b.client.Transport.(*witness)
		drive(b)
		maps.Copy(driven, w.driven)
		require.NotEmpty(t, w.driven, name)
	}
	for err, drive := range map[error]func(*bundle){errors.New("disk on fire"): driveOneOfEach, otp.ErrKeyReused: driveOneOfEach, otp.ErrBusy: driveOneOfEach} {
		b := setup(t, with(failing(err)))
		w := b.client.Transport.(*witness)
		drive(b)
		maps.Copy(driven, w.driven)
	}
	for path, item := range c.doc.Paths.Map() {
		for method, o := range item.Operations() {
			require.True(t, driven[o.OperationID], "%s %s isn't driven", method, path)
			for status := range o.Responses.Map() {
				require.True(t, driven[o.OperationID+" "+status], "%s %s isn't driven to %s", method, path, status)
			}
		}
	}
}

const noOTP = "01999999-9999-7999-8999-999999999999"

func driveOTPs(b *bundle) {
	once := []string{"Idempotency-Key", "a"}
	id := b.newID(`{"phone":"`+number+`","purpose":"login","locale":"tr","params":{},"expiry_seconds":60,"metadata":{"user":"u-1"},"ip":"2001:db8::1"}`, once...)
	b.call("GET /api/v1/otp/"+id, "")
	for _, state := range []job.State{job.Sending, job.Sent, job.Delivered, job.Read} {
		b.says(job.Status{Job: job.ID(id), State: state})
		b.call("GET /api/v1/otp/"+id, "")
	}
	b.call(postVerify, fmt.Sprintf(`{"otp_id":%q,"otp":"x","purpose":"login","phone":%q}`, id, number))
	b.call(postVerify, fmt.Sprintf(`{"otp_id":%q,"otp":%q}`, id, b.code()), once...)
	b.call(postVerify, fmt.Sprintf(`{"phone":%q,"purpose":"login","otp":"000000"}`, number))
	b.call(postOTP+"/"+id+"/resend", "")
	b.call(postOTP+"/"+id+"/cancel", "")
	id = b.newID(goodIssue)
	b.call(postOTP+"/"+id+"/resend", "", once...)
	b.call(postOTP+"/"+id+"/resend", "", once...)
	b.call(postOTP+"/"+id+"/cancel", "")
	for _, path := range []string{"/resend", "/cancel"} {
		b.call(postOTP+"/"+noOTP+path, "")
	}
	b.call("GET /api/v1/otp/"+noOTP, "")
	b.call("GET /api/v1/otp/"+noOTP+"/events", "")
	b.call("POST /api/v1/admin/apps/default/test-numbers", `{"phone":"`+number+`","code":"424242"}`)
	id = b.newID(goodIssue)
	b.call("GET /api/v1/otp/"+id, "")
	b.call(postVerify, fmt.Sprintf(`{"otp_id":%q,"otp":"424243"}`, id))
}

func driveRefusals(b *bundle) {
	limited := b.app("limited", apps.Settings{CooldownSeconds: new(30), WrongTries: new(1)})
	id := b.newID(goodIssue, "X-API-Key", limited)
	b.call(postOTP, goodIssue, "X-API-Key", limited)
	b.call(postOTP+"/"+id+"/resend", "", "X-API-Key", limited)
	b.call(postVerify, fmt.Sprintf(`{"otp_id":%q,"otp":"x"}`, id), "X-API-Key", limited)
	b.call(postVerify, fmt.Sprintf(`{"otp_id":%q,"otp":"x"}`, id), "X-API-Key", limited)
	for body := range slices.Values([]string{"", "[]", "{", "{}", `{"phone":"1","purpose":"p"}`, strings.Repeat(" ", 17<<10)}) {
		b.call(postOTP, body)
		b.call(postVerify, body)
	}
	for _, path := range []string{"", "-verify", "/" + noOTP + "/resend"} {
		b.call(postOTP+path, unknownOTP, "Idempotency-Key", "a b")
	}
	for _, code := range []api.Code{api.CodeNoSession, api.CodeOverloaded, api.CodeQueueUnavailable, api.CodeBusy, api.CodeShuttingDown} {
		b.policy.refusal = &api.Refusal{Code: code}
		b.call(postOTP, goodIssue)
		b.call(postOTP+"/"+noOTP+"/resend", "")
	}
}

func driveCountries(b *bundle) {
	b.call(postOTP, goodIssue, "X-API-Key", b.app("shop", apps.Settings{DenyCountries: &[]string{"TR"}}))
}

// driveOneOfEach asks a domain that fails.
func driveOneOfEach(b *bundle) {
	once := []string{"Idempotency-Key", "a"}
	b.call(postOTP, goodIssue, once...)
	b.call(postVerify, unknownOTP, once...)
	b.call(postOTP+"/"+noOTP+"/resend", "", once...)
}

func driveEvents(b *bundle) {
	id := b.newID(goodIssue)
	b.says(job.Status{Job: job.ID(id), State: job.Sent})
	s := b.follow(id, "Last-Event-ID", "0")
	s.want("1", "sent", "open")
	b.verify(id, b.code())
	s.want("1", "sent", "verified")
	b.call("GET /api/v1/otp/"+id+"/events", "", "Last-Event-ID", "x")
}

func driveApps(b *bundle) {
	const app = "/api/v1/admin/apps/shop"
	b.call("POST /api/v1/admin/apps", `{"name":"shop","title":"Shop","allowCountries":["TR"],"ratePerSecond":2.5,"customCodes":true,"reissue":"same"}`)
	b.call("POST /api/v1/admin/apps", `{"name":"shop"}`)
	b.call("GET /api/v1/admin/apps", "")
	b.call("GET "+app, "")
	b.call("PUT "+app, `{"length":8,"callbackUrl":"https://shop.example/wabek"}`)
	b.call("POST "+app+"/test-numbers", `{"phone":"`+number+`","code":"424242"}`)
	b.call("POST "+app+"/unlock", `{"phone":"`+number+`"}`)
	b.letters.all = []callback.Letter{{Place: 1, ID: "a", Reason: "expired", Last: "timeout", Tries: 3, First: b.clock, At: b.clock}}
	for _, request := range []string{"GET " + app + "/callback", "POST " + app + "/callback/rotate", "GET " + app + "/callback/dead", "GET " + app + "/callback/dead?after=x"} {
		b.call(request, "")
	}
	for _, what := range []string{"/callback/dead/replay", "/callback/dead/discard"} {
		for _, body := range []string{`{"id":"a"}`, `{}`, `{"id":"waits"}`, `{"ids":"a"}`, `{"id":"` + strings.Repeat("x", 17<<10) + `"}`} {
			b.call("POST "+app+what, body)
		}
	}
	b.call("DELETE "+app, "")
	for _, what := range []string{"/callback/rotate", "/callback/dead/replay", "/callback/dead/discard"} {
		b.call("POST "+app+what, "{}")
	}
	b.call("GET "+app+"/callback", "")
	b.call("GET "+app+"/callback/dead", "")
	b.call("POST /api/v1/admin/sign-in", "")
	b.server.Mount(http.NotFoundHandler(), func() string { return "http://127.0.0.1:8080/console/sign-in#x" })
	b.call("POST /api/v1/admin/sign-in", "")
	b.call("DELETE /api/v1/admin/apps/default", "")
	for _, request := range []string{"GET " + app, "DELETE " + app} {
		b.call(request, "")
	}
	b.call("PUT "+app, "{}")
	for _, path := range []string{"/test-numbers", "/unlock"} {
		b.call("POST "+app+path, `{"phone":"`+number+`"}`)
	}
	for _, request := range []string{"POST /api/v1/admin/apps", "PUT /api/v1/admin/apps/default", "POST /api/v1/admin/apps/default/test-numbers", "POST /api/v1/admin/apps/default/unlock"} {
		b.call(request, `{"perHuor":1}`)
		b.call(request, `{"title":"`+strings.Repeat("x", 17<<10)+`"}`)
	}
}

func driveKeys(b *bundle) {
	const keys = "POST /api/v1/admin/keys"
	_, doc := b.call(keys, `{"scopes":["otp","read"],"label":"web","networks":["127.0.0.0/8"],"expiresInDays":1}`)
	b.call("GET /api/v1/admin/keys", "")
	b.call("GET /api/v1/admin/keys?app=default", "")
	for range 2 {
		b.call(fmt.Sprint("DELETE /api/v1/admin/keys/", doc["id"]), "")
	}
	b.call(keys, `{"scopes":[]}`)
	b.call(keys, `{"scopes":["otp"],"app":"nobody"}`)
	b.call(keys, `{"label":"`+strings.Repeat("x", 17<<10)+`"}`)
}

func drivePages(b *bundle) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/errors"} {
			b.do(method, path, "")
		}
		degraded(b)
		b.do(method, "/readyz?strict", "")
		b.report.Degraded = nil
	}
	b.do(http.MethodPost, "/docs", "")
	b.do(http.MethodGet, "/nowhere", "")
}

// driveGuards drives every operation that needs a key to the answers that have nothing to do with what it is.
func (b *bundle) driveGuards(c *contract) {
	b.t.Helper()
	scopes := map[string]string{}
	for _, s := range apps.Scopes() {
		scopes[string(s)] = b.app("only-"+string(s), apps.Settings{}, s)
	}
	each := func(then func(request string, o *openapi3.Operation)) {
		for path, item := range c.doc.Paths.Map() {
			for method, o := range item.Operations() {
				if o.Security == nil || len(*o.Security) == 0 {
					continue
				}
				then(method+" "+strings.NewReplacer("{id}", noOTP, "{app}", "default", "{key}", "aaaaaaaaaa").Replace(path), o)
			}
		}
	}
	each(func(request string, o *openapi3.Operation) {
		b.call(request, "", "X-API-Key", "")
		b.call(request, "", "Content-Encoding", "gzip")
		// A key of each scope is refused, or isn't, as the document says.
		var enough []string
		for _, s := range *o.Security {
			enough = append(enough, s["ApiKey"]...)
		}
		require.NotEmpty(b.t, enough, request)
		for scope, key := range scopes {
			status, doc := b.call(request, "", "X-API-Key", key, "Content-Encoding", "gzip")
			want := http.StatusForbidden
			if slices.Contains(enough, scope) {
				want = http.StatusUnsupportedMediaType
			}
			require.Equal(b.t, want, status, "%s with the scope %s: %v", request, scope, doc)
		}
	})
	away := setup(b.t, func(o *api.Options) { o.Callbacks = noQueue{o.Callbacks} })
	away.client = b.client
	for _, request := range []string{"GET " + deadOfDefault, "POST " + deadOfDefault + "/replay", "POST " + deadOfDefault + "/discard"} {
		status, doc := away.call(request, "{}")
		require.Equal(b.t, http.StatusServiceUnavailable, status)
		require.Equal(b.t, "queue_unavailable", doc["code"])
	}
	broken := setup(b.t, func(o *api.Options) { o.Callers = brokenCallers{o.Callers} })
	broken.client = b.client
	each(func(request string, _ *openapi3.Operation) {
		status, doc := broken.call(request, "")
		require.Equal(b.t, http.StatusInternalServerError, status, doc)
	})
	b.server.Drain()
	each(func(request string, _ *openapi3.Operation) { b.call(request, "") })

	entered, release := make(chan struct{}), make(chan struct{})
	slow := setup(b.t, with(otps{
		issue: func(context.Context, otp.Request) (otp.Issued, error) {
			entered <- struct{}{}
			<-release
			return otp.Issued{}, otp.ErrBusy
		},
		verify: func(context.Context, otp.Try) (otp.Tried, error) {
			entered <- struct{}{}
			<-release
			return otp.Tried{}, otp.ErrBusy
		},
		resend: func(context.Context, otp.Again) (otp.Issued, error) {
			entered <- struct{}{}
			<-release
			return otp.Issued{}, &otp.NotOpenError{Verdict: otp.Expired}
		},
	}))
	slow.client = b.client
	for request, body := range map[string]string{postOTP: goodIssue, postVerify: unknownOTP, postOTP + "/" + noOTP + "/resend": ""} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			slow.call(request, body, "Idempotency-Key", "k")
		}()
		<-entered
		status, _ := slow.call(request, body, "Idempotency-Key", "k")
		require.Equal(b.t, http.StatusConflict, status)
		release <- struct{}{}
		<-done
	}
	used := setup(b.t)
	used.client = b.client
	id := used.newID(goodIssue)
	used.verify(id, used.code())
	used.call(postOTP+"/"+id+"/cancel", "")
}

const deadOfDefault = "/api/v1/admin/apps/default/callback/dead"

// noQueue has callbacks behind a queue that is away.
type noQueue struct{ api.Callbacks }

func (noQueue) Dead(context.Context, string, uint64, int) ([]callback.Letter, error) {
	return nil, errors.New("no connection")
}

func (noQueue) ReplayAll(context.Context, string) (int, error) { return 0, errors.New("no connection") }

func (noQueue) Purge(context.Context, string, string) (int, error) {
	return 0, errors.New("no connection")
}

// brokenCallers fails in a way that nobody foresaw.
type brokenCallers struct{ api.Callers }

func (brokenCallers) Authenticate(string, netip.Addr) (apps.Caller, error) { panic("no") }

// TestOpenAPI_HasEveryRoute compares the document with the router's own list.
func TestOpenAPI_HasEveryRoute(t *testing.T) {
	t.Parallel()
	c, err := described()
	require.NoError(t, err)
	router, ok := setup(t).server.Handler().(*echo.Echo)
	require.True(t, ok)
	var routes, paths []string
	for _, r := range router.Routes() {
		routes = append(routes, r.Method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.Path, "{$1}"))
	}
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			paths = append(paths, method+" "+path)
		}
	}
	require.ElementsMatch(t, routes, paths)
}

// enum is a list of strings in the document.
func (c *contract) enum(schema, property string) (list []string) {
	s := c.doc.Components.Schemas[schema].Value
	if property != "" {
		s = s.Properties[property].Value
	}
	for _, v := range s.Enum {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// constants are those of a type in a file of the code.
func constants(t *testing.T, typ string, files ...string) (values []string) {
	t.Helper()
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil || len(spec.Values) != 1 {
				return true
			}
			var name string
			switch x := spec.Type.(type) {
			case *ast.Ident:
				name = x.Name
			case *ast.SelectorExpr:
				name = x.Sel.Name
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && name == typ {
				value, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				if value != "" {
					values = append(values, value)
				}
			}
			return true
		})
	}
	require.NotEmpty(t, values)
	return values
}

// TestOpenAPI_KnowsEveryWord holds the enumerations against the code that they speak of.
func TestOpenAPI_KnowsEveryWord(t *testing.T) {
	t.Parallel()
	c, err := described()
	require.NoError(t, err)
	var codes, reasons []string
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(api.Markdown(), -1) {
		codes = append(codes, m[1])
	}
	for v := range otp.Valid {
		reasons = append(reasons, v.Reason())
	}
	for name, pair := range map[string][2][]string{
		"problems":            {codes, c.enum("ProblemCode", "")},
		"reasons of a try":    {reasons, c.enum("Verdict", "reason")},
		"states of a message": {append(constants(t, "State", "../job/status.go"), "test"), c.enum("Delivery", "")},
		"reasons of failures": {constants(t, "Reason", "../job/status.go"), c.enum("Reason", "")},
		"limits":              {constants(t, "Limit", "../otp/limits.go", "../apps/limiter.go"), c.enum("Limit", "")},
		"scopes":              {constants(t, "Scope", "../apps/key.go"), c.enum("Scope", "")},
		"ways of reissuing":   {constants(t, "Reissue", "../apps/app.go"), c.enum("AppSettings", "reissue")},
	} {
		require.ElementsMatch(t, pair[0], pair[1], name)
	}
	var settings, known []string
	text, err := json.Marshal(everySetting())
	require.NoError(t, err)
	var own map[string]any
	require.NoError(t, json.Unmarshal(text, &own))
	settings = slices.Collect(maps.Keys(own))
	for name := range c.doc.Components.Schemas["AppSettings"].Value.Properties {
		known = append(known, name)
	}
	require.ElementsMatch(t, settings, known)
	require.ElementsMatch(t, append(settings, "name"), slices.Collect(maps.Keys(c.doc.Components.Schemas["NewApp"].Value.Properties)))
	require.NoError(t, c.checkJSON("AppSettings", text))
}

// TestOpenAPI_DescribesCallbacks holds what is posted to apps against the document.
func TestOpenAPI_DescribesCallbacks(t *testing.T) {
	t.Parallel()
	c, err := described()
	require.NoError(t, err)
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	whole, err := json.Marshal(callback.OTP{
		ID: noOTP, App: "shop", State: "open", Status: "read", To: "+90•••••4567", Purpose: "login", CreatedAt: now, ExpiresAt: now, SentAt: now,
		DeliveredAt: now, ReadAt: now, VerifiedAt: now, Reason: "refused", Metadata: json.RawMessage(`{"user":"u-1"}`), Test: true, Seq: 25,
	})
	require.NoError(t, err)
	require.NoError(t, c.checkJSON("CallbackOTP", whole))
	var fields document
	require.NoError(t, json.Unmarshal(whole, &fields))
	require.ElementsMatch(t, slices.Collect(maps.Keys(fields)), slices.Collect(maps.Keys(c.doc.Components.Schemas["CallbackOTP"].Value.Properties)))
	least, err := json.Marshal(callback.OTP{
		ID: noOTP, App: "shop", State: "open", Status: "queued", To: "+90•••••4567", Purpose: "login", CreatedAt: now, ExpiresAt: now, Seq: 1,
	})
	require.NoError(t, err)
	require.NoError(t, c.checkJSON("CallbackOTP", least))
}

// everySetting has all settings that the admin API takes and shows.
func everySetting() apps.Settings {
	return apps.Settings{
		Title: new("Shop"), Pool: new("default"), Length: new(6), ExpirySeconds: new(600), Attempts: new(5), Reissue: new(apps.Same),
		CooldownSeconds: new(30), PerHour: new(6), PerDay: new(20), WrongTries: new(100), RatePerSecond: new(2.5), Burst: new(10),
		PerAddressHour: new(5), AllowCountries: &[]string{"TR"}, DenyCountries: &[]string{}, Country: new("TR"), Locale: new("tr"),
		CustomCodes: new(true), NoticesPaused: new(false), CallbackURL: new("https://shop.example/wabek"),
	}
}

// TestOpenAPI_TheCheckCanFail changes the document, or an answer, a little at a time: each must be found.
func TestOpenAPI_TheCheckCanFail(t *testing.T) {
	t.Parallel()
	good, err := described()
	require.NoError(t, err)
	asked := goodIssue
	answered := func(c *contract, status int, contentType, body string, headers ...string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://wabek.test/api/v1/otp", nil)
		require.NoError(t, err)
		h := http.Header{"Content-Type": {contentType}, "X-Request-Id": {"a"}}
		for i := 0; i+1 < len(headers); i += 2 {
			h.Del(headers[i])
			if headers[i+1] != "" {
				h.Set(headers[i], headers[i+1])
			}
		}
		_, err = c.check(t.Context(), exchange{
			request: req, sent: []byte(asked), response: &http.Response{StatusCode: status, Header: h}, body: []byte(body),
		})
		return err
	}
	const (
		plain   = "application/json"
		problem = "application/problem+json"
		issued  = `{"success":true,"otpId":"01a20cc8-8e80-7987-bece-6d368aac1a6f","expiresAt":"2026-11-24T09:10:00.000Z","status":"queued","to":"+90•••••4567"}`
		missing = `{"type":"/docs/errors#invalid_field","title":"x","status":400,"success":false,"code":"invalid_field","field":"phone","detail":"x"}`
	)
	require.NoError(t, answered(good, http.StatusOK, plain, issued))
	require.NoError(t, answered(good, http.StatusBadRequest, problem, missing))
	for name, err := range map[string]error{
		"a status of its own":           answered(good, http.StatusTeapot, problem, missing),
		"another type":                  answered(good, http.StatusBadRequest, plain, missing),
		"no request id":                 answered(good, http.StatusOK, plain, issued, "X-Request-Id", ""),
		"a header's other value":        answered(good, http.StatusOK, plain, issued, "Idempotent-Replayed", "yes"),
		"no header of a 429":            answered(good, http.StatusTooManyRequests, problem, strings.ReplaceAll(missing, "400", "429")),
		"a field that isn't described":  answered(good, http.StatusOK, plain, strings.Replace(issued, `"status"`, `"more":1,"status"`, 1)),
		"a field that is missing":       answered(good, http.StatusOK, plain, strings.Replace(issued, `,"status":"queued"`, "", 1)),
		"a value of another type":       answered(good, http.StatusOK, plain, strings.Replace(issued, "true", `"true"`, 1)),
		"a constant's other value":      answered(good, http.StatusOK, plain, strings.Replace(issued, "true", "false", 1)),
		"a word that isn't in the list": answered(good, http.StatusOK, plain, strings.Replace(issued, "queued", "waiting", 1)),
		"a time without milliseconds":   answered(good, http.StatusOK, plain, strings.Replace(issued, ".000Z", "Z", 1)),
		"a number that isn't masked":    answered(good, http.StatusOK, plain, strings.Replace(issued, "+90•••••4567", number, 1)),
		"a code of another status":      answered(good, http.StatusBadRequest, problem, strings.Replace(missing, `"invalid_field"`, `"busy"`, 1)),
		"another status in the problem": answered(good, http.StatusBadRequest, problem, strings.Replace(missing, "400", "401", 1)),
		"a problem's undescribed field": answered(good, http.StatusBadRequest, problem, strings.Replace(missing, `"field"`, `"fields"`, 1)),
		"JSON that isn't whole":         answered(good, http.StatusOK, plain, issued[:20]),
	} {
		require.Error(t, err, name)
	}
	for name, body := range map[string]string{
		"a field is missing": `{"phone":"` + number + `"}`, "a value of another type": `{"phone":5,"purpose":"p"}`, "no object": `[]`,
		"a bound that is broken": `{"phone":"` + number + `","purpose":"p","expiry_seconds":59}`,
	} {
		asked = body
		require.Error(t, answered(good, http.StatusOK, plain, issued), "a request is taken in which "+name)
		require.NoError(t, answered(good, http.StatusBadRequest, problem, missing))
	}
	loader := openapi3.NewLoader()
	for old, replacement := range map[string]string{
		`"attemptsLeft": 4}`:          `"attemptsLeft": 40}`,
		`{"valid": true}`:             `{"valid": true, "reason": "Invalid OTP"}`,
		`"expiry_seconds": 300`:       `"expiry_seconds": 30`,
		`"name": "shop", "title"`:     `"title2": "shop", "title"`,
		`"code": "body_too_large",`:   `"code": "too_large",`,
		`#/components/schemas/Issued`: `#/components/schemas/Nothing`,
	} {
		require.Contains(t, string(docs.OpenAPI), old)
		doc, err := loader.LoadFromData([]byte(strings.Replace(string(docs.OpenAPI), old, replacement, 1)))
		if err == nil {
			err = doc.Validate(t.Context())
		}
		require.Error(t, err, "%s for %s", replacement, old)
	}
}

// TestOpenAPI_IsServed looks at the document and its page as clients get them.
func TestOpenAPI_IsServed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(http.MethodGet, "/openapi.json", "", "X-API-Key", "")
	require.Equal(t, string(docs.OpenAPI), a.body)
	require.True(t, json.Valid([]byte(a.body)))
	page := b.do(http.MethodGet, "/docs", "", "X-API-Key", "")
	require.Equal(t, http.StatusOK, page.status)
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	policy := page.header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	require.NotRegexp(t, `(?i)<script|<link|<img|<form|<iframe|style=|\son\w+=|src=|url\(|@import|//`, strings.ReplaceAll(page.body, "https://billing.example", "an example"), "nothing but itself, and no script")
	for _, r := range []string{"/api/v1/otp-verify", "/api/v1/admin/keys/{key}", "Idempotency-Key", "RateLimit-Reset", "attemptsLeft", "shutting_down", "01a20cc8"} {
		require.Contains(t, page.body, r)
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
		ids[m[1]]++
	}
	for id, n := range ids {
		require.Equal(t, 1, n, id)
	}
	for _, m := range regexp.MustCompile(` href="#([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
		require.Contains(t, ids, m[1], "a link to nowhere")
	}
}

// TestOpenAPI_WhatIsDescribedIsTaken draws requests within the described bounds, up to their edges. That no other is taken
// the contract checks with each.
func TestOpenAPI_WhatIsDescribedIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, err := described()
	require.NoError(t, err)
	fields := c.doc.Components.Schemas["IssueRequest"].Value.Properties
	matching := func(field string) *rapid.Generator[string] { return rapid.StringMatching(fields[field].Value.Pattern) }
	expiry, metadata := fields["expiry_seconds"].Value, fields["metadata"].Value
	key := metadata.PropertyNames.Value
	value := metadata.AdditionalProperties.Schema.Value
	rapid.Check(t, func(r *rapid.T) {
		body := document{"phone": number, "purpose": matching("purpose").Draw(r, "purpose")}
		draws := map[string]func() any{
			"locale":         func() any { return matching("locale").Draw(r, "locale") },
			"expiry_seconds": func() any { return rapid.IntRange(int(*expiry.Min), int(*expiry.Max)).Draw(r, "expiry") },
			"ip": func() any {
				return rapid.SampledFrom([]string{"203.0.113.7", "2001:db8::1", "::ffff:192.0.2.1"}).Draw(r, "ip")
			},
			"metadata": func() any {
				return rapid.MapOfN(rapid.StringN(int(key.MinLength), int(*key.MaxLength), -1), rapid.StringN(0, int(*value.MaxLength), -1), 0, 12).Draw(r, "metadata")
			},
			"params": func() any {
				return rapid.MapOfN(rapid.StringMatching(fields["params"].Value.PropertyNames.Value.Pattern), rapid.StringMatching(`[ -~]{0,256}`), 0, 12).Draw(r, "params")
			},
		}
		for _, field := range slices.Sorted(maps.Keys(draws)) {
			if rapid.Bool().Draw(r, field) {
				body[field] = draws[field]()
			}
		}
		text, err := json.Marshal(body)
		require.NoError(r, err)
		if len(text) > 16<<10 {
			r.Skip("too long")
		}
		status, answer := b.call(postOTP, string(text))
		require.Equal(r, http.StatusOK, status, answer)
	})
}
