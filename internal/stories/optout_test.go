package stories_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
)

// A client writes STOP while the API is dead, and gets no more notices once it is back, also after it was killed again;
// START brings them back. STOP again, while NATS is dead and the sender killed right after it has heard it, is heard as well.
// Another client hears nothing of it.
func TestStory_AClientWritesStopAndStart(t *testing.T) {
	t.Parallel()
	w := startAll(t, "WABEK_NOTICES_PER_MINUTE=0")
	o := &optOutStory{w: w, client: clientOf(1), other: clientOf(2)}
	require.NotEqual(t, "skipped", o.invoice(o.client).State)
	require.Contains(t, w.phones.receives(t, o.client).Text, "Reply STOP to get no more")

	w.api.kill()
	o.writes("I can't stop laughing") // no wish
	o.writes("Stop.")
	id, sealed := o.theWish()
	require.NotContains(t, string(sealed), o.client)
	secret, err := keys.NewSecret(w.secrets.secret)
	require.NoError(t, err)
	wish, err := job.OpenWish(keys.DeriveSealKeys(secret, keys.Secret{}), job.DefaultPool, id, sealed)
	require.NoError(t, err)
	require.Equal(t, "+"+o.client, wish.From.E164())
	require.True(t, wish.Stop)

	w.startAPI()
	o.until(func(n noticeShown) bool { return n.State == "skipped" }, "STOP is never heard")
	w.api.kill()
	w.startAPI()
	n := o.invoice(o.client)
	require.Equal(t, "skipped", n.State)
	require.Equal(t, "opted_out", n.Reason)
	require.NotEqual(t, "skipped", o.invoice(o.other).State)
	w.phones.receives(t, o.other)

	o.writes("START")
	o.until(func(n noticeShown) bool { return n.State != "skipped" }, "START is never heard")
	w.api.kill()
	w.startAPI()
	require.NotEqual(t, "skipped", o.invoice(o.client).State)

	w.nats.kill()
	o.writes("STOP")
	kept := filepath.Join(w.dir, "sender", "wishes", "*.default.*")
	eventually(t, func() bool { files, err := filepath.Glob(kept); return err == nil && len(files) == 1 }, "the sender keeps no wish")
	w.sender.kill()
	w.startNATS()
	w.startSender()
	o.until(func(n noticeShown) bool { return n.State == "skipped" }, "STOP is forgotten")
	eventually(t, func() bool { files, err := filepath.Glob(kept); return err == nil && len(files) == 0 }, "the wish is kept for ever")
	eventually(t, func() bool {
		messages, err := w.phones.shows(o.client)
		return err == nil && len(messages) == o.told
	}, "the phone shows another number of messages than %d", o.told)
	for _, p := range []*program{w.api, w.sender, w.nats} {
		require.NotContains(t, read(t, p.log), o.client, "%s has logged a number", p.name)
		require.NotContains(t, read(t, p.log), "laughing")
	}
}

type optOutStory struct {
	w             *world
	client, other string
	invoices      int64
	told          int // notices of the client's that went out
}

// noticeShown is a notice as the API shows it.
type noticeShown struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// writes lets the client write to the only session.
func (o *optOutStory) writes(text string) {
	o.w.t.Helper()
	o.w.phones.post(o.w.t, "/phones/"+o.client+"/send", map[string]any{"text": text})
}

// theWish waits until the queue has the one wish, which no API takes.
func (o *optOutStory) theWish() (id string, sealed []byte) {
	t := o.w.t
	t.Helper()
	nc, err := nats.Connect(o.w.natsURL)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "WABEK_WISH")
	require.NoError(t, err)
	var m *jetstream.RawStreamMsg
	eventually(t, func() bool {
		m, err = stream.GetLastMsgForSubject(t.Context(), "wabek.wish.default.*")
		return err == nil
	}, "no wish is stored")
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, info.State.Msgs)
	return strings.TrimPrefix(m.Subject, "wabek.wish.default."), m.Data
}

// invoice announces an invoice of a client and waits until it is known what becomes of it.
func (o *optOutStory) invoice(digits string) (n noticeShown) {
	t := o.w.t
	t.Helper()
	o.invoices++
	event := invoiceCreated(o.invoices)
	event["client"].(map[string]any)["phonenumber"] = "+" + digits //nolint:forcetypeassert // it panics, as it should
	var said struct {
		EventID string `json:"eventId"`
	}
	eventually(t, func() bool {
		body, header := signedEvent(o.w.client.key, event, time.Now())
		a, err := request(http.MethodPost, o.w.client.url+"/api/v1/whmcs-webhook", header, json.RawMessage(body))
		return err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &said) == nil
	}, "the event isn't taken")
	eventually(t, func() bool {
		a, err := request(http.MethodGet, o.w.client.url+"/api/v1/notices/"+said.EventID, http.Header{"X-Api-Key": {o.w.client.key}}, nil)
		return err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &n) == nil && n.State != "accepted"
	}, "the event is never resolved")
	if digits == o.client && n.State != "skipped" {
		o.told++
	}
	return n
}

// until announces invoices until the notice of one is so.
func (o *optOutStory) until(so func(noticeShown) bool, what string) {
	o.w.t.Helper()
	for deadline := time.Now().Add(patient); !so(o.invoice(o.client)); {
		require.True(o.w.t, time.Now().Before(deadline), what)
	}
}
