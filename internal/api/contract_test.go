package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/otp"
)

// app makes an app with a key of these scopes, all for none, and returns the key.
func (b *bundle) app(name string, own apps.Settings, scopes ...apps.Scope) string {
	b.t.Helper()
	_, err := b.apps.SaveApp(b.t.Context(), name, own, true)
	require.NoError(b.t, err)
	if scopes == nil {
		scopes = apps.Scopes()
	}
	_, key, err := b.apps.CreateKey(b.t.Context(), apps.NewKey{App: name, Scopes: scopes})
	require.NoError(b.t, err)
	return key
}

type document = map[string]any

// call sends a request and reads JSON.
func (b *bundle) call(request, body string, headers ...string) (int, document) {
	b.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	a := b.do(method, path, body, headers...)
	var doc document
	require.NoError(b.t, json.Unmarshal([]byte(a.body), &doc), a.body)
	return a.status, doc
}

const (
	postOTP    = "POST /api/v1/otp"
	postVerify = "POST /api/v1/otp-verify"
)

// newID issues an OTP and returns its id.
func (b *bundle) newID(body string, headers ...string) string {
	b.t.Helper()
	status, doc := b.call(postOTP, body, headers...)
	require.Equal(b.t, http.StatusOK, status, doc)
	id, _ := doc["otpId"].(string)
	require.NotEmpty(b.t, id)
	return id
}

func TestApps_SeeTheirOwnOTPsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	shop, bank := b.app("shop", apps.Settings{}), b.app("bank", apps.Settings{})
	id := b.newID(goodIssue, "X-API-Key", shop)
	code := b.code()
	for _, request := range []string{"GET /api/v1/otp/" + id, postOTP + "/" + id + "/resend", postOTP + "/" + id + "/cancel"} {
		status, doc := b.call(request, "", "X-API-Key", bank)
		require.Equal(t, http.StatusNotFound, status, request)
		require.Equal(t, "otp_not_found", doc["code"])
	}
	byPhone := fmt.Sprintf(`{"phone":%q,"purpose":"verification","otp":%q}`, number, code)
	for _, try := range []string{fmt.Sprintf(`{"otp_id":%q,"otp":%q}`, id, code), byPhone} {
		_, doc := b.call(postVerify, try, "X-API-Key", bank)
		require.Equal(t, document{"valid": false, "reason": "OTP not found"}, doc)
	}
	_, doc := b.call(postVerify, byPhone, "X-API-Key", shop)
	require.Equal(t, document{"valid": true}, doc, "phone and purpose do instead of the id")
}

func TestKeys_AreGoodForTheirScopesAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	keys := map[apps.Scope]string{}
	for _, s := range apps.Scopes() {
		keys[s] = b.app("of-"+string(s), apps.Settings{}, s)
	}
	for request, allowed := range map[string][]apps.Scope{
		postOTP:                   {apps.ScopeOTP},
		postVerify:                {apps.ScopeOTP},
		"GET /api/v1/otp/x":       {apps.ScopeOTP, apps.ScopeRead},
		postOTP + "/x/resend":     {apps.ScopeOTP},
		postOTP + "/x/cancel":     {apps.ScopeOTP},
		"GET /api/v1/admin/apps":  {apps.ScopeAdmin},
		"POST /api/v1/admin/keys": {apps.ScopeAdmin},
	} {
		for scope, key := range keys {
			status, doc := b.call(request, "", "X-API-Key", key)
			require.Equal(t, !slices.Contains(allowed, scope), status == http.StatusForbidden, "%s with %s: %v", request, scope, doc)
		}
	}
}

// A forwarded address counts only from a proxy that is trusted.
func TestKeys_ForgedAddresses(t *testing.T) {
	t.Parallel()
	loopback, ten := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	for name, c := range map[string]struct {
		proxies   []netip.Prefix
		forwarded string
		want      int
	}{
		"nobody is trusted":                      {nil, "203.0.113.7", http.StatusForbidden},
		"a trusted proxy says it":                {[]netip.Prefix{loopback}, "203.0.113.7", http.StatusOK},
		"the client put it before its own":       {[]netip.Prefix{loopback}, "203.0.113.7, 198.51.100.1", http.StatusForbidden},
		"a second trusted proxy stands between":  {[]netip.Prefix{loopback, ten}, "203.0.113.7, 10.1.2.3", http.StatusOK},
		"a trusted proxy says nothing":           {[]netip.Prefix{loopback}, "", http.StatusForbidden},
		"what it says is no address":             {[]netip.Prefix{loopback}, "203.0.113.7, unknown", http.StatusForbidden},
		"another header says it":                 {[]netip.Prefix{loopback}, "elsewhere", http.StatusForbidden},
		"the connection isn't a trusted proxy's": {[]netip.Prefix{ten}, "203.0.113.7", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(o *api.Options) { o.Proxies = c.proxies })
			_, key, err := b.apps.CreateKey(t.Context(), apps.NewKey{
				App: otp.DefaultApp, Scopes: apps.Scopes(), Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
			})
			require.NoError(t, err)
			headers := []string{"X-API-Key", key}
			switch c.forwarded {
			case "":
			case "elsewhere":
				headers = append(headers, "X-Real-Ip", "203.0.113.7", "Forwarded", "for=203.0.113.7", "True-Client-Ip", "203.0.113.7")
			default:
				headers = append(headers, "X-Forwarded-For", c.forwarded)
			}
			a := b.do(http.MethodPost, "/api/v1/otp", goodIssue, headers...)
			require.Equal(t, c.want, a.status)
			if c.want == http.StatusForbidden && c.forwarded == "" {
				golden(t, "forbidden", a)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.do(http.MethodPost, "/api/v1/otp", goodIssue, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, first.status)
	again := b.do(http.MethodPost, "/api/v1/otp", `{ "purpose":"verification", "phone":"`+number+`" }`, "Idempotency-Key", "k")
	require.Equal(t, first.body, again.body, "the same fields, written anew")
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Len(t, b.messages, 1)
	status, _ := b.call(postOTP, strings.Replace(goodIssue, "verification", "login", 1), "Idempotency-Key", "k")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	status, _ = b.call(postVerify, unknownOTP, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, status, "another operation has keys of its own")

	var doc struct{ OTPID string }
	require.NoError(t, json.Unmarshal([]byte(first.body), &doc))
	try := fmt.Sprintf(`{"otp_id":%q,"otp":%q}`, doc.OTPID, b.code())
	for range 2 {
		_, verdict := b.call(postVerify, try, "Idempotency-Key", "v")
		require.Equal(t, document{"valid": true}, verdict, "whose answer was cut gets it again")
	}
	_, verdict := b.call(postVerify, try)
	require.Equal(t, document{"valid": false, "reason": "OTP already used"}, verdict)
}

func TestIdempotencyKey_OneUnderWayRefusesAnother(t *testing.T) {
	t.Parallel()
	begun, letGo := make(chan struct{}), make(chan struct{})
	b := setup(t, with(otps{issue: func(context.Context, otp.Request) (otp.Issued, error) {
		begun <- struct{}{}
		<-letGo
		return otp.Issued{To: "+90•••••4567", Delivery: job.Queued}, nil
	}}))
	send := func(key string) { b.do(http.MethodPost, "/api/v1/otp", goodIssue, "Idempotency-Key", key) }
	var wait sync.WaitGroup
	wait.Go(func() { send("k") })
	<-begun
	golden(t, "idempotency_key_in_flight", b.do(http.MethodPost, "/api/v1/otp", goodIssue, "Idempotency-Key", "k"))
	wait.Go(func() { send("another") })
	<-begun
	close(letGo)
	wait.Wait()
	wait.Go(func() { send("k") })
	<-begun
	wait.Wait()
}

func TestIdempotencyKey_A429IsNotRemembered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{CooldownSeconds: new(30)})
	b.newID(goodIssue, "X-API-Key", key)
	a := b.do(http.MethodPost, "/api/v1/otp", goodIssue, "X-API-Key", key, "Idempotency-Key", "k")
	require.Equal(t, http.StatusTooManyRequests, a.status)
	require.Equal(t, "30", a.header.Get("Retry-After"))
	require.Contains(t, a.body, `"limit":"phone_cooldown"`)
	b.after(30 * time.Second)
	b.newID(goodIssue, "X-API-Key", key, "Idempotency-Key", "k")
}

func TestIdempotencyKey_AnAnswerHoldsWhateverIsRefusedNow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{RatePerSecond: new(0.001), Burst: new(1)})
	first := b.newID(goodIssue, "X-API-Key", key, "Idempotency-Key", "k")
	status, _ := b.call(postOTP, goodIssue, "X-API-Key", key, "Idempotency-Key", "another")
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, first, b.newID(goodIssue, "X-API-Key", key, "Idempotency-Key", "k"))
	b.policy.refusal = &api.Refusal{Code: api.CodeNoSession}
	require.Equal(t, first, b.newID(goodIssue, "X-API-Key", key, "Idempotency-Key", "k"))
	status, _ = b.call(postOTP, `{"phone":"+905551234567","purpose":"other"}`, "X-API-Key", key, "Idempotency-Key", "k")
	require.Equal(t, http.StatusUnprocessableEntity, status)
}

func TestIssue_WhatElseItTakes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{Title: new("Shop"), CustomCodes: new(true), Country: new("TR"), Length: new(8)})
	status, doc := b.call(postOTP, `{"phone":"0555 123 45 67","purpose":"login","locale":"tr-TR","expiry_seconds":120,"ip":"203.0.113.7",
		"metadata":{"order":"17"},"code":"271828"}`, "X-API-Key", key)
	require.Equal(t, http.StatusOK, status, doc)
	require.Equal(t, "2026-11-24T09:02:00.000Z", doc["expiresAt"])
	require.Equal(t, "+90•••••4567", doc["to"])
	message := b.messages[0]
	require.Contains(t, message, "Shop")
	require.Contains(t, message, "\n271828\n")
	require.Contains(t, message, "2 dakika")
	_, seen := b.call(fmt.Sprint("GET /api/v1/otp/", doc["otpId"]), "", "X-API-Key", key)
	require.Equal(t, document{"order": "17"}, seen["metadata"])
	require.Equal(t, "login", seen["purpose"])
	b.newID(`{"phone":"+905551234567","purpose":"other"}`, "X-API-Key", key)
	require.Regexp(t, `(?m)^\d{8}$`, b.messages[1])
}

func TestTestNumbers_SendNothingAndSaySo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	set := func(body string, want int) {
		_, doc := b.call("POST /api/v1/admin/apps/default/test-numbers", body)
		force, _ := doc["inForce"].(document)
		require.EqualValues(t, want, force["testNumbers"])
	}
	set(`{"phone":"`+number+`","code":"424242"}`, 1)
	b.policy.refusal = &api.Refusal{Code: api.CodeNoSession} // it needs no session
	_, doc := b.call(postOTP, goodIssue)
	require.Equal(t, true, doc["test"])
	require.Equal(t, "test", doc["status"])
	id, _ := doc["otpId"].(string)
	_, doc = b.call("GET /api/v1/otp/"+id, "")
	require.Equal(t, true, doc["test"])
	_, doc = b.call(postVerify, `{"otp_id":"`+id+`","otp":"424243"}`)
	require.Equal(t, document{"valid": false, "reason": "Invalid OTP", "attemptsLeft": 1.0, "test": true}, doc)
	_, doc = b.call(postVerify, `{"otp_id":"`+id+`","otp":"424242"}`)
	require.Equal(t, document{"valid": true, "test": true}, doc)
	require.Empty(t, b.messages)
	set(`{"phone":"`+number+`"}`, 0)
	status, _ := b.call(postOTP, goodIssue)
	require.Equal(t, http.StatusServiceUnavailable, status)
}

func TestShow_TheHigherOfRecordAndQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	show := func() document {
		_, doc := b.call("GET /api/v1/otp/"+id, "")
		return doc
	}
	doc := show()
	require.Equal(t, "open", doc["state"])
	require.Equal(t, "queued", doc["status"])
	require.NotContains(t, doc, "sentAt")
	b.after(time.Second)
	b.says(job.Status{Job: job.ID(id), State: job.Sent})
	doc = show()
	require.Equal(t, "sent", doc["status"], "before it reaches the record")
	require.Equal(t, "2026-11-24T09:00:01.000Z", doc["sentAt"])
	require.NotContains(t, doc, "deliveredAt", "an acknowledgement is no receipt")
	require.NoError(t, b.store.Apply(t.Context(), []job.Status{{Job: job.ID(id), State: job.Delivered, At: b.clock}}))
	require.Equal(t, "delivered", show()["status"])
	require.JSONEq(t, `{"valid":true}`, b.verify(id, b.code()))
	doc = show()
	require.Equal(t, "verified", doc["state"])
	require.Equal(t, "2026-11-24T09:00:01.000Z", doc["verifiedAt"])
}

func TestResendAndCancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue()
	code := b.code()
	status, doc := b.call(postOTP+"/"+id+"/resend", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, id, doc["otpId"])
	require.Len(t, b.messages, 2)
	require.Equal(t, code, b.code())
	status, doc = b.call(postOTP+"/"+id+"/cancel", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "cancelled", doc["state"])
	require.JSONEq(t, `{"valid":false,"reason":"OTP not found"}`, b.verify(id, code))
	status, _ = b.call(postOTP+"/"+id+"/resend", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const postApp = "POST /api/v1/admin/apps"
	status, doc := b.call(postApp, `{"name":"shop","title":"Shop","perHour":3}`)
	require.Equal(t, http.StatusCreated, status, doc)
	require.Equal(t, document{"title": "Shop", "perHour": 3.0}, doc["settings"])
	status, _ = b.call(postApp, `{"name":"shop"}`)
	require.Equal(t, http.StatusConflict, status)
	for body, field := range map[string]string{
		`{"name":"shop2","perHuor":3}`: "perHuor", `{"name":"shop2","perHour":-3}`: "perHour", `{"name":"Shop 2"}`: "name", `{"name":"shop2","perHour":"3"}`: "perHour",
	} {
		status, doc = b.call(postApp, body)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, field, doc["field"])
	}

	status, doc = b.call("POST /api/v1/admin/keys", `{"app":"nobody","scopes":["otp"]}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "app", doc["field"])
	status, doc = b.call("POST /api/v1/admin/keys", `{"app":"shop","label":"web","scopes":["otp"],"networks":["127.0.0.0/8"],"expiresInDays":1}`)
	require.Equal(t, http.StatusCreated, status, doc)
	key, _ := doc["key"].(string)
	b.newID(goodIssue, "X-API-Key", key)
	require.NotContains(t, b.do(http.MethodGet, "/api/v1/admin/keys?app=shop", "").body, key, "it is shown once")
	require.Equal(t, http.StatusOK, b.do(http.MethodDelete, fmt.Sprint("/api/v1/admin/keys/", doc["id"]), "").status)
	status, _ = b.call(postOTP, goodIssue, "X-API-Key", key)
	require.Equal(t, http.StatusUnauthorized, status)

	require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/api/v1/admin/apps/shop", `{"title":"Shop 2"}`).status)
	require.Contains(t, b.do(http.MethodGet, "/api/v1/admin/apps/shop", "").body, `"settings":{"title":"Shop 2"}`)
	require.Contains(t, b.do(http.MethodGet, "/api/v1/admin/apps", "").body, `"name":"default"`)
	require.Equal(t, http.StatusOK, b.do(http.MethodDelete, "/api/v1/admin/apps/shop", "").status)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/api/v1/admin/apps/shop", "").status)
	require.Contains(t, b.log.String(), `"msg":"administration","method":"DELETE"`)
	require.NotContains(t, b.log.String(), key)
}

func TestAdmin_LiftsALock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{WrongTries: new(1)})
	try := fmt.Sprintf(`{"otp_id":%q,"otp":"x"}`, b.newID(goodIssue, "X-API-Key", key))
	b.call(postVerify, try, "X-API-Key", key)
	status, doc := b.call(postVerify, try, "X-API-Key", key)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "wrong_tries", doc["limit"])
	status, _ = b.call("POST /api/v1/admin/apps/shop/unlock", `{"phone":"`+number+`"}`)
	require.Equal(t, http.StatusOK, status)
	status, _ = b.call(postVerify, try, "X-API-Key", key)
	require.Equal(t, http.StatusOK, status)
}

// atOnce sends n requests at once and counts the answers by status.
func (b *bundle) atOnce(n int, key string, body func(i int) string) map[int]int {
	b.t.Helper()
	statuses := make([]int, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { statuses[i] = b.do(http.MethodPost, "/api/v1/otp", body(i), "X-API-Key", key).status })
	}
	wait.Wait()
	counts := map[int]int{}
	for _, s := range statuses {
		counts[s]++
	}
	return counts
}

func TestLimits_AreExactHoweverManyAskAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := b.app("one", apps.Settings{CooldownSeconds: new(30)})
	require.Equal(t, map[int]int{200: 1, 429: 499}, b.atOnce(500, one, func(int) string { return goodIssue }))
	three := b.app("three", apps.Settings{PerHour: new(3)})
	require.Equal(t, map[int]int{200: 3, 429: 197}, b.atOnce(200, three, func(int) string { return goodIssue }))
	burst := b.app("burst", apps.Settings{RatePerSecond: new(1.0), Burst: new(37)})
	require.Equal(t, map[int]int{200: 37, 429: 163}, b.atOnce(200, burst, func(i int) string {
		return fmt.Sprintf(`{"phone":"+9055512%05d","purpose":"login"}`, i)
	}))
	address := b.app("address", apps.Settings{PerAddressHour: new(5)})
	require.Equal(t, map[int]int{200: 5, 429: 45}, b.atOnce(50, address, func(i int) string {
		return fmt.Sprintf(`{"phone":"+9055513%05d","purpose":"login","ip":"203.0.113.9"}`, i)
	}))
}

// A wrong value within a field that holds several isn't told as if the field were to be one string.
func TestErrors_AWrongValueWithinAField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for request, bodies := range map[string][]string{
		postOTP:                   {`{"metadata":{"user":17}}`, `{"params":{"a":null,"b":[]}}`},
		"POST /api/v1/admin/apps": {`{"name":"shop","allowCountries":[90]}`},
		"POST /api/v1/admin/keys": {`{"scopes":["otp",{}]}`, `{"networks":[10]}`},
	} {
		for _, body := range bodies {
			status, doc := b.call(request, body)
			require.Equal(t, http.StatusBadRequest, status)
			require.Equal(t, fmt.Sprintf("%s may hold strings only, in quotes.", doc["field"]), doc["detail"], body)
		}
	}
	_, doc := b.call("POST /api/v1/whmcs-webhook", `{"action":"InvoiceCreated","client":"x"}`)
	require.Equal(t, "client must be an object of strings.", doc["detail"])
}

func TestAdmin_ABodyIsOneObject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.app("shop", apps.Settings{Title: new("Shop")})
	for _, body := range []string{"", "null", "[]", `"x"`, `{"title":"Mine"}}`, `{"title":"Mine"}]`, `{"title":"Mine"}{}`, `{"title":"Mine"} x`, `{"title":"Mine"`} {
		status, doc := b.call("PUT /api/v1/admin/apps/shop", body)
		require.Equal(t, http.StatusBadRequest, status, body)
		require.Equal(t, "invalid_json", doc["code"], body)
	}
	require.Contains(t, b.do(http.MethodGet, "/api/v1/admin/apps/shop", "").body, `"title":"Shop"`)
	status, doc := b.call("PUT /api/v1/admin/apps/shop", `{"testNumbers":{"x":"424242"}}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "testNumbers", doc["field"])
	require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/api/v1/admin/apps/shop", " {\"title\":\"Mine\"} \r\n").status)
}

// Whoever revokes a key by the whole of it finds none of that name, and the key is still good.
func TestAdmin_NoKeyGetsIntoTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{})
	require.Equal(t, http.StatusNotFound, b.do(http.MethodDelete, "/api/v1/admin/keys/"+key, "").status)
	require.NotContains(t, b.log.String(), key)
	id := strings.Split(key, "_")[1]
	require.Equal(t, http.StatusOK, b.do(http.MethodDelete, "/api/v1/admin/keys/"+id, "").status)
	require.Contains(t, b.log.String(), `"key":"`+id+`"`)
}

func TestLimits_ARefusalForAnotherReasonUsesNothingUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.app("shop", apps.Settings{RatePerSecond: new(0.001), Burst: new(1)})
	b.policy.refusal = &api.Refusal{Code: api.CodeNoSession}
	status, _ := b.call(postOTP, goodIssue, "X-API-Key", key)
	require.Equal(t, http.StatusServiceUnavailable, status)
	b.policy.refusal = nil
	b.newID(goodIssue, "X-API-Key", key)
}

func TestMount_OtherMethodsOfThePagesAreProblems(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Mount(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), func() string { return "" })
	for _, path := range []string{"/", "/console"} {
		require.Equal(t, http.StatusNoContent, b.do(http.MethodGet, path, "").status)
		a := b.do(http.MethodPost, path, goodIssue)
		require.Equal(t, http.StatusMethodNotAllowed, a.status)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	}
}

// The log says who asked, as far as a trusted proxy tells.
func TestLog_HasTheAddressOfTheClient(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *api.Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	b.do(http.MethodPost, "/api/v1/otp", goodIssue, "X-API-Key", "wrong", "X-Forwarded-For", "203.0.113.7")
	require.Contains(t, b.log.String(), `"remote":"203.0.113.7"`)
}
