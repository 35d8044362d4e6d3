package api_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/phone"
	"wabek/internal/whmcs"
)

const (
	postEvent   = "POST /api/v1/whmcs-webhook"
	goodEvent   = `{"action":"InvoiceCreated","invoiceid":1,"userid":2}`
	getNotices  = "GET /api/v1/notices"
	accessOf    = "/api/v1/admin/apps/default/whmcs"
	goodAccess  = `{"url":"https://billing.example","identifier":"id","secret":"a-secret"}`
	optOuts     = "POST /api/v1/admin/apps/default/opt-outs"
	postNotices = "POST /api/v1/notices/"
)

// announce announces an event, and returns the id of its notice.
func (b *bundle) announce(body string, headers ...string) string {
	b.t.Helper()
	status, doc := b.call(postEvent, body, headers...)
	require.Equal(b.t, http.StatusOK, status, doc)
	require.Equal(b.t, true, doc["success"])
	return doc["eventId"].(string)
}

// sent lets a notice be sent, as the resolver and a sender would.
func (b *bundle) sent(id string) {
	b.t.Helper()
	of, ok := whmcs.ParseID(id)
	require.True(b.t, ok)
	to, err := phone.Parse(number)
	require.NoError(b.t, err)
	require.NoError(b.t, b.store.ChangeNotice(b.t.Context(), of, func(n *whmcs.Notice) error {
		e, err := job.Seal(b.seal, whmcs.JobID(of, 1), job.LaneNotice, job.DefaultPool, job.Body{To: to, Text: "your invoice", MessageID: "3EB0", Expires: b.clock.Add(time.Hour)})
		n.Sends, n.Pool, n.State, n.To, n.Sealed, n.Expires = 1, job.DefaultPool, whmcs.Queued, to.Masked(), e.Sealed, b.clock.Add(time.Hour)
		return err
	}))
	require.NoError(b.t, b.store.NoticeOutbox().Apply(b.t.Context(), []job.Status{{Job: whmcs.JobID(of, 1), State: job.Sent, At: b.clock}}))
}

// signature signs a body with a key at a time.
func signature(key, body string, at time.Time) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(whmcs.Sign([]byte(body), stamp, apps.DigestOf(key)))
}

func driveNotices(b *bundle) {
	id := b.announce(`{"action":"InvoiceCreated","invoiceid":"1","userid":2,"unknown":[1]}`)
	b.announce(goodEvent)
	b.announce(goodEvent, "X-Wabek-Signature", signature(apiKey, goodEvent, b.clock))
	for _, body := range []string{"", "[]", "{", "{}", `{"action":"Nonsense"}`, `{"action":"InvoicePaid","invoiceid":-1}`, `{"action":"InvoicePaid"}`, strings.Repeat(" ", 17<<10)} {
		b.call(postEvent, body)
	}
	b.call(postEvent, goodEvent, "X-Wabek-Signature", "t=1,v1=00")
	for _, query := range []string{"", "?limit=1&userid=2&action=InvoiceCreated&state=accepted", "?limit=0", "?userid=x", "?before=x"} {
		b.call(getNotices+query, "")
	}
	b.call(getNotices+"/"+id, "")
	b.call(getNotices+"/"+noOTP, "")
	b.call(postNotices+noOTP+"/resend", "")
	b.call(postNotices+id+"/resend", "")
	b.sent(id)
	b.call(getNotices+"/"+id, "")
	b.call(postNotices+id+"/resend", "")
}

func driveAccess(b *bundle) {
	for range 2 {
		b.call("GET "+accessOf, "")
		b.call("PUT "+accessOf, goodAccess)
	}
	b.call("DELETE "+accessOf, "")
	for _, body := range []string{"", "{}", `{"url":"https://billing.example","identifier":"` + strings.Repeat("x", 17<<10) + `"}`} {
		b.call("PUT "+accessOf, body)
		b.call(optOuts, body)
	}
	b.call(optOuts, `{"phone":"`+number+`","out":true}`)
	for _, request := range []string{"GET /api/v1/admin/apps/nobody/whmcs", "DELETE /api/v1/admin/apps/nobody/whmcs"} {
		b.call(request, "")
	}
	b.call("PUT /api/v1/admin/apps/nobody/whmcs", goodAccess)
	b.call("POST /api/v1/admin/apps/nobody/opt-outs", `{"phone":"`+number+`","out":true}`)
}

// What the documented minimal request gets: an answer as soon as the event is stored, and one notice however often it is told.
func TestWebhook_OneNoticeForEachOccurrence(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const client = `,"client":{"phonenumber":"+90.5551234567"}`
	for _, c := range []struct{ name, one, other, same string }{
		{"an invoice", goodEvent, `{"action":"InvoiceCreated","invoiceid":2,"userid":2}`, `{"userid":"2","invoiceid":"1","action":"InvoiceCreated"` + client + `}`},
		{"another hook of it", goodEvent, `{"action":"InvoicePaid","invoiceid":1,"userid":2}`, goodEvent},
		{"a reminder", `{"action":"InvoicePaymentReminder","invoiceid":1,"type":"first"}`, `{"action":"InvoicePaymentReminder","invoiceid":1,"type":"second"}`, `{"action":"InvoicePaymentReminder","invoiceid":1,"type":"first","userid":9}`},
		{"a reply", `{"action":"TicketAdminReply","ticketid":1,"replyid":1}`, `{"action":"TicketAdminReply","ticketid":1,"replyid":2}`, `{"action":"TicketAdminReply","ticketid":1,"replyid":1}`},
		{"a login", `{"action":"UserLogin","userid":2,"time":1790000000}`, `{"action":"UserLogin","userid":2,"time":1790000060}`, `{"action":"ClientLogin","userid":2,"time":1790000000}`},
		{"a login without a time", `{"action":"ClientLogin","userid":3}`, `{"action":"ClientLogin","userid":4}`, `{"action":"ClientLogin","userid":3}`},
		{"a domain", `{"action":"DomainRenewalNotice","domainid":3,"duedate":"2026-12-01"}`, `{"action":"DomainRenewalNotice","domainid":3,"duedate":"2027-12-01"}`, `{"action":"DomainRenewalNotice","domainid":3,"duedate":"2026-12-01"}`},
		{"a suspension", `{"action":"AfterModuleSuspend","serviceid":3,"time":5}`, `{"action":"AfterModuleSuspend","serviceid":3,"time":6}`, `{"action":"AfterModuleSuspend","serviceid":3,"time":5}`},
	} {
		id := b.announce(c.one)
		require.Equal(t, id, b.announce(c.same), c.name)
		require.NotEqual(t, id, b.announce(c.other), c.name)
	}
	_, doc := b.call(postEvent, goodEvent)
	require.Equal(t, true, doc["duplicate"])

	b.after(whmcs.OccurrenceLife - time.Hour)
	_, doc = b.call(postEvent, goodEvent)
	require.Equal(t, true, doc["duplicate"], "remembered for 35 days")
}

func TestWebhook_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for body, want := range map[string][2]string{
		`{}`:                            {"invalid_field", "action"},
		`{"action":"InvoiceCreated"}`:   {"invalid_field", "invoiceid"},
		`{"action":"TicketAdminReply"}`: {"invalid_field", "replyid"},
		`{"action":"InvoicePaid","invoiceid":1,"userid":"abc"}`:                            {"invalid_field", "userid"},
		`{"action":"InvoicePaid","invoiceid":1,"type":"` + strings.Repeat("x", 600) + `"}`: {"invalid_field", "data"},
		`{"action":"Nonsense","invoiceid":1}`:                                              {"unknown_action", "action"},
		`{"action":5}`:                                                                     {"invalid_field", "action"},
		`{"action":"InvoicePaid","invoiceid":1,"client":[]}`:                               {"invalid_field", "client"},
	} {
		status, doc := b.call(postEvent, body)
		require.Equal(t, want[0], doc["code"], body)
		require.Equal(t, want[1], doc["field"], body)
		require.Less(t, status, 500)
	}
	_, doc := b.call(postEvent, `{"action":"Nonsense"}`)
	require.Contains(t, doc["detail"], "InvoiceCreated")
	require.Contains(t, doc["detail"], "DomainRenewalNotice")
}

func TestWebhook_BelievesDataThatIsSigned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := `{"action":"InvoicePaid","invoiceid":7,"client":{"phonenumber":"+90.5551234567"}}`
	good := signature(apiKey, body, b.clock)
	for name, c := range map[string]struct{ header, body string }{
		"another body":   {good, strings.Replace(body, "5551234567", "5559999999", 1)},
		"another key":    {signature("another key", body, b.clock), body},
		"an old one":     {signature(apiKey, body, b.clock.Add(-6*time.Minute)), body},
		"one of later":   {signature(apiKey, body, b.clock.Add(6*time.Minute)), body},
		"nonsense":       {"sha256=" + good, body},
		"half of it":     {good[:len(good)-2], body},
		"without a time": {good[len("t=1790000000,"):], body},
	} {
		status, doc := b.call(postEvent, c.body, "X-Wabek-Signature", c.header)
		require.Equal(t, http.StatusUnauthorized, status, name)
		require.Equal(t, "bad_signature", doc["code"], name)
	}
	b.announce(body, "X-Wabek-Signature", good)
}

func TestNotices_BelongToTheirApp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.app("other", apps.Settings{}, apps.ScopeWHMCS)
	id := b.announce(goodEvent)
	require.NotEqual(t, id, b.announce(goodEvent, "X-API-Key", other), "the same invoice of another install")
	b.sent(id)
	for _, request := range []string{getNotices + "/" + id, postNotices + id + "/resend"} {
		status, doc := b.call(request, "", "X-API-Key", other)
		require.Equal(t, http.StatusNotFound, status)
		require.Equal(t, "notice_not_found", doc["code"])
	}
	_, doc := b.call(getNotices, "", "X-API-Key", other)
	require.Len(t, doc["notices"], 1)
	status, _ := b.call("GET /api/v1/otp/"+noOTP, "", "X-API-Key", other)
	require.Equal(t, http.StatusForbidden, status, "a key of WHMCS's sees no OTPs")
}

func TestNotices_AreListedPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for i := range 7 {
		ids = append(ids, b.announce(fmt.Sprintf(`{"action":"InvoiceCreated","invoiceid":%d,"userid":%d}`, i+1, i%2+1)))
	}
	b.announce(goodEvent, "X-API-Key", b.app("other", apps.Settings{}, apps.ScopeWHMCS))
	page := func(query string) (got []string) {
		for next := ""; ; {
			_, doc := b.call(getNotices+"?limit=2"+query+next, "")
			for _, n := range doc["notices"].([]any) {
				got = append(got, n.(map[string]any)["id"].(string))
			}
			if doc["next"] == nil {
				return got
			}
			next = "&before=" + doc["next"].(string)
		}
	}
	require.Equal(t, []string{ids[6], ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}, page(""))
	require.Equal(t, []string{ids[6], ids[4], ids[2], ids[0]}, page("&userid=1"))
	require.Empty(t, page("&action=InvoicePaid"))
	b.sent(ids[3])
	require.Equal(t, []string{ids[3]}, page("&state=sent"))
}

func TestNotices_AreSentAgainAsTheyWere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.announce(goodEvent)
	status, doc := b.call(postNotices+id+"/resend", "")
	require.Equal(t, http.StatusConflict, status, "it waits: %v", doc)
	b.sent(id)
	_, doc = b.call(postNotices+id+"/resend", "")
	require.Equal(t, "queued", doc["state"])
	require.InDelta(t, 2, doc["sends"], 0)
	status, _ = b.call(postNotices+id+"/resend", "")
	require.Equal(t, http.StatusConflict, status, "it is on its way")

	of, _ := whmcs.ParseID(id)
	e, pending, err := b.store.NoticeOutbox().Load(t.Context(), whmcs.JobID(of, 2))
	require.NoError(t, err)
	require.True(t, pending)
	body, err := job.Open(b.seal, e)
	require.NoError(t, err)
	require.Equal(t, "your invoice", body.Text)
	require.Equal(t, number, body.To.E164())

	require.NoError(t, b.store.NoticeOutbox().Apply(t.Context(), []job.Status{{Job: whmcs.JobID(of, 2), State: job.Read, At: b.clock}}))
	b.call(optOuts, `{"phone":"`+number+`","out":true}`)
	status, _ = b.call(postNotices+id+"/resend", "")
	require.Equal(t, http.StatusConflict, status, "its client wants no more")
	b.call(optOuts, `{"phone":"`+number+`","out":false}`)
	status, _ = b.call(postNotices+id+"/resend", "")
	require.Equal(t, http.StatusOK, status)
}

// The secrets of a WHMCS go in and never out.
func TestAccess_ShowsNoSecret(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, request := range []string{"PUT " + accessOf, "GET " + accessOf} {
		answer := b.do(strings.Fields(request)[0], accessOf, `{"url":"https://billing.example","identifier":"id","secret":"s3cr3t-of-whmcs","accessKey":"k3y-of-whmcs"}`)
		require.Equal(t, http.StatusOK, answer.status, answer.body)
		require.Contains(t, answer.body, `"secretSet":true`)
		require.NotContains(t, answer.body+b.log.String(), "of-whmcs")
	}
	docs, err := b.store.Documents(t.Context(), "whmcs/")
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.NotContains(t, string(docs["default"]), "of-whmcs")
}
