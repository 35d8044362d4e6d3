package whatsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/whatsim"
)

// call makes a control call and returns its status and body.
func call(t *testing.T, s *whatsim.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Endpoint()+path, strings.NewReader(body))
	require.NoError(t, err)
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(req)
	require.NoError(t, err)
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, errors.Join(err, res.Body.Close()))
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	return res.StatusCode, strings.TrimSpace(string(raw))
}

// send lets a virtual phone write to an account.
func send(t *testing.T, s *whatsim.Server, from, text string) {
	t.Helper()
	status, body := call(t, s, http.MethodPost, "/phones/"+from+"/send", `{"to":"`+owner+`","text":"`+text+`"}`)
	require.Equal(t, http.StatusOK, status, body)
}

func TestControl_Calls(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	l := &line{}
	l.use(s)
	db := database(t)
	c := newClient(t, l, db, db.NewDevice())
	qr, err := json.Marshal(c.showQR(t))
	require.NoError(t, err)
	status, body := call(t, s, http.MethodPost, "/pair", `{"qr":`+string(qr)+`}`)
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"account":"905550000001","jid":"905550000001:1@s.whatsapp.net"}`, body)
	await[*events.Connected](t, c)
	status, body = call(t, s, http.MethodPost, "/pair", `{"qr":`+string(qr)+`}`)
	require.Equal(t, http.StatusBadRequest, status, "a code works once")
	require.Contains(t, body, "QR code")

	status, body = call(t, s, http.MethodGet, "/phones/905551112233/messages", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "[]", body)
	c.mustSay(t, "905551112233", "code 1", "A1")
	m := arrives(t, s, "905551112233", "A1")
	_, body = call(t, s, http.MethodGet, "/phones/905551112233/messages", "")
	require.JSONEq(t, `[{"id":"A1","from":"905550000001","text":"code 1","at":"`+m.At.Format("2006-01-02T15:04:05.000Z")+`","copies":1}]`, body)

	send(t, s, "905551112233", "STOP")
	in := await[*events.Message](t, c)
	require.Equal(t, "STOP", in.Message.GetConversation())
	require.Equal(t, "905551112233", in.Info.SenderAlt.User)
	status, body = call(t, s, http.MethodPost, "/phones/905551112233/send", `{"text":"START"}`)
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, "START", await[*events.Message](t, c).Message.GetConversation(), "there is one account to write to")

	status, body = call(t, s, http.MethodPost, "/phones/905551112244", `{"exists":false,"read":false,"reinstall":true}`)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"exists":false,"read":false,"online":true}`, body)
	_, body = call(t, s, http.MethodPost, "/phones/905551112244", `{}`)
	require.JSONEq(t, `{"exists":false,"read":false,"online":true}`, body)

	_, body = call(t, s, http.MethodGet, "/sessions", "")
	require.JSONEq(t, `[{"account":"905550000001","device":1,"connected":true,"stanzas":1,"from_replaced":0}]`, body)
	_, body = call(t, s, http.MethodPost, "/faults", `{"kind":"ack_error","code":463,"count":-1}`)
	require.JSONEq(t, `{"id":"f1"}`, body)
	_, err = c.say(t, "905551112233", "x", "A2")
	require.ErrorContains(t, err, "463")
	status, _ = call(t, s, http.MethodDelete, "/faults", "")
	require.Equal(t, http.StatusOK, status)
	c.mustSay(t, "905551112233", "x", "A3")

	_, body = call(t, s, http.MethodPost, "/reset", "")
	require.Equal(t, "{}", body)
	require.Empty(t, s.Messages("905551112233"))
	_, body = call(t, s, http.MethodPost, "/phones/905551112244", `{}`)
	require.JSONEq(t, `{"exists":true,"read":true,"online":true}`, body)
	c.mustSay(t, "905551112233", "after the reset", "A4")
	require.Equal(t, 1, arrives(t, s, "905551112233", "A4").Copies, "keys and sessions stay")
	status, _ = call(t, s, http.MethodGet, "/healthz", "")
	require.Equal(t, http.StatusOK, status)
}

func TestControl_ErrorsSayHowToMendThem(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/phones/+905551112233/messages", "", 400, "without plus"},
		{"POST", "/phones/12", "{}", 400, "5 to 15 digits"},
		{"POST", "/phones/905551112233", `{"offline":true}`, 400, "exists, read, online, reinstall"},
		{"POST", "/phones/905551112233", `{"read":1}`, 400, "true or false"},
		{"POST", "/phones/905551112233", ``, 400, "JSON object"},
		{"POST", "/phones/905551112233", `{}{}`, 400, "more than one"},
		{"POST", "/phones/905551112233/send", `{"to":"905550000001","text":"x"}`, 404, "no companion"},
		{"POST", "/phones/905551112233/send", `{"to":"x","text":"x"}`, 400, "5 to 15 digits"},
		{"POST", "/phones/12/send", `{"text":"x"}`, 400, "5 to 15 digits"},
		{"POST", "/phones/905551112233/send", `{"text":"x"}`, 404, "no companion"},
		{"POST", "/pair", `{"qr":"https://wa.me/settings/linked_devices#a,b,c,d,e"}`, 400, "scan the one the client shows"},
		{"POST", "/pair", `{"qr":"x","account":"0123456"}`, 400, ""},
		{"POST", "/faults", `{"kind":"explode"}`, 400, "drop, ack_delay"},
		{"POST", "/faults", `{"kind":"drop","whom":"*"}`, 400, "account, phone, kind, code, ms, count"},
		{"POST", "/faults", `{"kind":"ack_delay"}`, 400, "needs ms"},
		{"POST", "/faults", `{"kind":"ack_error"}`, 400, "needs a code"},
		{"POST", "/faults", `{"kind":"drop","count":-2}`, 400, "-1"},
		{"POST", "/faults", `{"kind":"drop","phone":"everyone"}`, 400, "for all"},
		{"POST", "/faults", `{"kind":"drop","ms":-1}`, 400, "negative"},
		{"GET", "/nowhere", "", 404, "GET /sessions"},
		{"PUT", "/faults", "", 404, "DELETE /faults"},
	} {
		status, body := call(t, s, c.method, c.path, c.body)
		require.Equal(t, c.status, status, "%s %s %s: %s", c.method, c.path, c.body, body)
		var answer struct {
			Error string `json:"error"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Contains(t, answer.Error, c.says)
	}
}

func TestPair_BadCodes(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	l := &line{}
	l.use(s)
	db := database(t)
	c := newClient(t, l, db, db.NewDevice())
	qr := c.showQR(t)
	_, err := s.Pair(t.Context(), strings.Replace(qr, "2@", "3@", 1), "")
	require.ErrorIs(t, err, whatsim.ErrBadQR)
	_, err = s.Pair(t.Context(), qr, "+90")
	require.ErrorIs(t, err, whatsim.ErrBadNumber)
	c.Disconnect()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Pair(ctx, qr, "905550000001")
		return err != nil
	}, patience, 10*time.Millisecond)
	if !strings.Contains(err.Error(), "hung up") { // the server may notice the end of the connection first or later
		require.ErrorIs(t, err, whatsim.ErrBadQR)
	}
}

func TestWaitMessage_Ends(t *testing.T) {
	t.Parallel()
	s, err := whatsim.Start(whatsim.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.WaitMessage(ctx, "905551112233", nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.WaitMessage(ctx, "x", nil)
	require.ErrorIs(t, err, whatsim.ErrBadNumber)
	ended := make(chan error, 1)
	go func() {
		_, err := s.WaitMessage(context.WithoutCancel(ctx), "905551112233", nil)
		ended <- err
	}()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-ended, whatsim.ErrClosed)
	require.NoError(t, s.Close(), "closing twice is fine")
}
