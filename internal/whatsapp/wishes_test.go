package whatsapp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/optout"
	"wabek/internal/phone"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

// hear opens a session that tells its wishes.
func (w *world) hear(tb testing.TB) (*node, chan whatsapp.Wish) {
	tb.Helper()
	wishes := make(chan whatsapp.Wish, 100)
	return w.open(tb, func(c *whatsapp.Config) { c.OnWish = func(h whatsapp.Wish) { wishes <- h } }), wishes
}

func next(tb testing.TB, wishes <-chan whatsapp.Wish) whatsapp.Wish {
	tb.Helper()
	select {
	case h := <-wishes:
		return h
	case <-within(tb).Done():
		require.FailNow(tb, "no wish")
		return whatsapp.Wish{}
	}
}

func TestWishes_APersonWritesStopAndStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n, wishes := w.hear(t)
	n.Start(t.Context())
	require.NoError(t, n.Ready(within(t)))
	from := newNumber(t)
	_, err := w.sim.Write(t.Context(), from.Digits(), "", "My secret is tulip, please stop")
	require.NoError(t, err)
	id, err := w.sim.Write(t.Context(), from.Digits(), "", "Dur!")
	require.NoError(t, err)
	h := next(t, wishes)
	require.Equal(t, whatsapp.Wish{From: from, Want: optout.Stop, ID: id, At: h.At}, h, "the sentence before it is none")
	require.False(t, h.At.IsZero())

	// What is written while the session is away comes once it is back.
	n.close()
	_, err = w.sim.Write(t.Context(), from.Digits(), "", "START")
	require.NoError(t, err)
	n, wishes = w.hear(t)
	n.Start(t.Context())
	require.Equal(t, optout.Start, next(t, wishes).Want)
	n.close()
	require.NotContains(t, w.logs.String(), "tulip")
	require.NotContains(t, w.logs.String(), from.Digits())
}

// WhatsApp hears that a wish has come only once it is kept: what it hasn't heard so it says again.
func TestWishes_AreAcknowledgedOnceTheyAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	n := w.open(t, func(c *whatsapp.Config) {
		c.OnWish = func(whatsapp.Wish) {
			entered <- struct{}{}
			<-release
		}
	})
	n.Start(t.Context())
	require.NoError(t, n.Ready(within(t)))
	_, err := w.sim.Write(t.Context(), newNumber(t).Digits(), "", "STOP")
	require.NoError(t, err)
	<-entered
	w.fault(t, whatsim.Fault{Kind: "drop"})
	env, body := w.message(t, newNumber(t), "code 1")
	_ = n.Send(within(t), env, body) // the connection is cut, and made again
	require.Eventually(t, func() bool {
		return strings.Contains(w.logs.String(), "received message with old counter")
	}, patience, time.Millisecond, "it isn't said again")
	close(release)
	n.close()
	require.Empty(t, entered)
}

func TestWishes_OnlyWhatAPersonWritesToTheAccountCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n, wishes := w.hear(t)
	pn := types.NewJID("905551112233", types.DefaultUserServer)
	lid := types.NewJID("190000000000001", types.HiddenUserServer)
	unknown := types.NewJID("190000000000002", types.HiddenUserServer)
	known := types.NewJID("190000000000003", types.HiddenUserServer)
	require.NoError(t, n.LearnLID(t.Context(), known, types.NewJID("905551112244", types.DefaultUserServer)))
	own := types.NewJID(w.account.Digits(), types.DefaultUserServer)
	group := types.NewJID("120363000000000001", types.GroupServer)
	stop := "STOP"
	message := func(id string, sender types.JID, change func(*events.Message)) {
		e := &events.Message{
			Info: types.MessageInfo{
				MessageSource: types.MessageSource{Chat: sender.ToNonAD(), Sender: sender}, ID: id, Timestamp: time.Unix(1_700_000_000, 0),
			},
			Message: &waE2E.Message{Conversation: &stop},
		}
		if change != nil {
			change(e)
		}
		n.Handle(e)
	}
	for id, change := range map[string]func(*events.Message){
		"from us":    func(e *events.Message) { e.Info.IsFromMe = true },
		"sent by us": func(e *events.Message) { e.Info.DeviceSentMeta = &types.DeviceSentMeta{} },
		"in a group": func(e *events.Message) { e.Info.Chat, e.Info.IsGroup = group, true },
		"in a chat":  func(e *events.Message) { e.Info.Chat = group },
		"status":     func(e *events.Message) { e.Info.Chat = types.StatusBroadcastJID },
		"broadcast": func(e *events.Message) {
			e.Info.Chat = types.NewJID("1", types.BroadcastServer)
		},
		"channel": func(e *events.Message) {
			e.Info.Chat = types.NewJID("1", types.NewsletterServer)
			e.Info.Sender = e.Info.Chat
		},
		"edited":  func(e *events.Message) { e.IsEdit = true },
		"edit":    func(e *events.Message) { e.Info.Edit = types.EditAttributeMessageEdit },
		"history": func(e *events.Message) { e.SourceWebMsg = &waWeb.WebMessageInfo{} },
		"caption": func(e *events.Message) {
			e.Message = &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: &stop}}
		},
		"nothing": func(e *events.Message) { e.Message = nil },
	} {
		message(id, pn, change)
	}
	message("own number", own, nil)
	message("no number", unknown, nil)
	message("no telephone", types.NewJID("1", types.DefaultUserServer), nil)

	device := lid
	device.Device = 7
	message("by number", pn, nil)
	message("by LID", device, func(e *events.Message) { e.Info.SenderAlt = pn })
	message("by known LID", known, func(e *events.Message) {
		e.Message = &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: &stop}}
	})
	n.Start(t.Context())
	first, err := phone.Restore("+905551112233")
	require.NoError(t, err)
	second, err := phone.Restore("+905551112244")
	require.NoError(t, err)
	for _, want := range []whatsapp.Wish{{From: first, ID: "by number"}, {From: first, ID: "by LID"}, {From: second, ID: "by known LID"}} {
		want.Want, want.At = optout.Stop, time.Unix(1_700_000_000, 0)
		require.Equal(t, want, next(t, wishes))
	}
	n.close()
	require.Empty(t, wishes)
	require.Equal(t, 2, strings.Count(w.logs.String(), "a wish is lost"))
	require.NotContains(t, w.logs.String(), "190000000000002")
}
