package whatsim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/whatsim"
)

func TestStory_PairSendDeliveredRead(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := paired(t, s, "905550000001")
	c.mustSay(t, "905551112233", "code 123456", "A1")
	m := arrives(t, s, "905551112233", "A1")
	require.Equal(t, whatsim.Message{ID: "A1", From: "905550000001", Text: "code 123456", At: m.At, Copies: 1}, m)
	await(t, c, receipt("A1", types.ReceiptTypeDelivered))
	await(t, c, receipt("A1", types.ReceiptTypeRead))
	require.Equal(t, []whatsim.Session{{Account: "905550000001", Device: 1, Connected: true, Stanzas: 1}}, s.Sessions())
}

func TestStory_ClientRestarts(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	c.mustSay(t, "905551112233", "one", "A1")
	c.Disconnect()
	next := c.again(t)
	next.mustSay(t, "905551112233", "two", "A2")
	require.Equal(t, "two", arrives(t, s, "905551112233", "A2").Text)
	await(t, next, receipt("A2", types.ReceiptTypeDelivered))
}

func TestStory_SimulatorRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	c := paired(t, s, "905550000001")
	c.mustSay(t, "905551112233", "one", "A1")
	arrives(t, s, "905551112233", "A1")
	c.Disconnect()
	require.NoError(t, s.Close())
	for _, name := range []string{"state.json", "accounts.json"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}

	s = start(t, dir)
	c.line.use(s)
	require.NoError(t, c.Connect())
	await[*events.Connected](t, c)
	require.Equal(t, "one", arrives(t, s, "905551112233", "A1").Text, "shown messages are kept")
	c.mustSay(t, "905551112233", "two", "A2")
	require.Equal(t, 1, arrives(t, s, "905551112233", "A2").Copies)

	other := paired(t, s, "905550000001")
	require.Equal(t, uint16(2), other.Store.ID.Device, "no device number is given out twice")
}

// TestStory_SimulatorForgetsItsLastSeconds starts the simulator on a state that is older than its accounts, as
// after a kill: phones lack sessions, the server lacks uploaded keys.
func TestStory_SimulatorForgetsItsLastSeconds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	c := paired(t, s, "905550000001")
	c.mustSay(t, "905551112233", "one", "A1")
	c.mustSay(t, "905551112234", "first", "B1")
	send(t, s, "905551112233", "hello") // from now on the client's session has no prekey in it
	await(t, c, func(m *events.Message) bool { return m.Message.GetConversation() == "hello" })
	c.Disconnect()
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, "state.json")))

	s = start(t, dir)
	c.line.use(s)
	require.NoError(t, c.Connect())
	await[*events.Connected](t, c)
	c.mustSay(t, "905551112233", "two", "A2")
	m := arrives(t, s, "905551112233", "A2")
	require.Equal(t, "two", m.Text)
	require.Equal(t, 1, m.Copies)
	await(t, c, receipt("A2", types.ReceiptTypeRetry))
	await(t, c, receipt("A2", types.ReceiptTypeDelivered))
	c.mustSay(t, "905551112234", "second", "B2")
	require.Equal(t, "second", arrives(t, s, "905551112234", "B2").Text)
	send(t, s, "905551112235", "new keys") // the client has uploaded new ones
	await(t, c, func(m *events.Message) bool { return m.Message.GetConversation() == "new keys" })
}

func TestStory_NotOnWhatsApp(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Exists: new(false)}))
	found, err := c.IsOnWhatsApp(t.Context(), []string{"+905551112233", "+905551112244"})
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.False(t, found[0].IsIn)
	require.True(t, found[1].IsIn)
	_, err = c.say(t, "905551112233", "x", "A1")
	require.ErrorContains(t, err, "no LID found")
	c.mustSay(t, "905551112244", "x", "A2")
	require.Empty(t, s.Messages("905551112233"))
}

func TestStory_Reinstalled(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	c.mustSay(t, "905551112233", "one", "A1")
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Reinstall: true}))
	c.mustSay(t, "905551112233", "two", "A2")
	m := arrives(t, s, "905551112233", "A2")
	require.Equal(t, "two", m.Text)
	require.Equal(t, 1, m.Copies)
	await[*events.IdentityChange](t, c)
	await(t, c, receipt("A2", types.ReceiptTypeDelivered))
	c.mustSay(t, "905551112233", "three", "A3")
	require.Equal(t, 1, arrives(t, s, "905551112233", "A3").Copies)
}

func TestStory_Offline(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Online: new(false), Read: new(false)}))
	c.mustSay(t, "905551112233", "one", "A1")
	c.mustSay(t, "905551112233", "two", "A2")
	require.Empty(t, s.Messages("905551112233"))
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Online: new(true)}))
	arrives(t, s, "905551112233", "A2")
	shown := s.Messages("905551112233")
	require.Len(t, shown, 2)
	require.Equal(t, "two", shown[1].Text)
	await(t, c, receipt("A1", types.ReceiptTypeDelivered))
	await(t, c, receipt("A2", types.ReceiptTypeDelivered))
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Read: new(true)}))
	c.mustSay(t, "905551112233", "three", "A3")
	first := await[*events.Receipt](t, c)
	require.Equal(t, "A3", first.MessageIDs[0], "nothing was read before")
}

func TestStory_ReceiptsWaitForTheClient(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Online: new(false)}))
	c.mustSay(t, "905551112233", "one", "A1")
	c.Disconnect()
	require.NoError(t, s.SetPhone("905551112233", whatsim.PhoneSettings{Online: new(true)}))
	send(t, s, "905551112233", "STOP")
	next := c.again(t)
	await(t, next, receipt("A1", types.ReceiptTypeDelivered))
	await(t, next, receipt("A1", types.ReceiptTypeRead))
	await(t, next, func(m *events.Message) bool { return m.Message.GetConversation() == "STOP" })
}

func TestStory_SecondConnectionReplacesTheFirst(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	next := c.again(t)
	await[*events.StreamReplaced](t, c)
	next.mustSay(t, "905551112233", "from the second", "A1")
	require.Equal(t, "from the second", arrives(t, s, "905551112233", "A1").Text)
	require.Equal(t, []whatsim.Session{{Account: "905550000001", Device: 1, Connected: true, Stanzas: 1}}, s.Sessions())
}

func TestStory_SameIDFromTwoAccounts(t *testing.T) {
	t.Parallel()
	s, a := ready(t)
	b := paired(t, s, "905550000002")
	a.mustSay(t, "905551112233", "from a", "A1")
	a.mustSay(t, "905551112233", "from a", "A1")
	b.mustSay(t, "905551112233", "from b", "A1")
	m, err := s.WaitMessage(t.Context(), "905551112233", func(m whatsim.Message) bool { return m.From == "905550000002" })
	require.NoError(t, err)
	require.Equal(t, 1, m.Copies)
	_, err = s.WaitMessage(patient(t), "905551112233", func(m whatsim.Message) bool { return m.From == owner && m.Copies == 2 })
	require.NoError(t, err)
	require.Len(t, s.Messages("905551112233"), 2)
}

func TestStory_AccountsWriteToEachOther(t *testing.T) {
	t.Parallel()
	s, a := ready(t)
	b := paired(t, s, "905550000002")
	a.mustSay(t, b.number, "to a companion", "A1")
	m := await[*events.Message](t, b)
	require.Equal(t, "to a companion", m.Message.GetConversation())
	require.Equal(t, a.number, m.Info.SenderAlt.User)
	require.Equal(t, "to a companion", arrives(t, s, b.number, "A1").Text)
	_, err := s.Write(t.Context(), "905551112233", "", "whom do I write to?")
	require.ErrorIs(t, err, whatsim.ErrWhichAccount)
	_, err = s.Write(t.Context(), "905551112233", b.number, "to b")
	require.NoError(t, err)
	require.Equal(t, "to b", await[*events.Message](t, b).Message.GetConversation())
}

func TestConcurrency_EightSendersOneSession(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 50
	s, c := ready(t)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("W%dN%d", w, i)
				if _, err := c.say(t, fmt.Sprintf("90555111%04d", i%10), id, id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
				s.Messages("905551110000")
				s.Sessions()
			}
		})
	}
	wg.Wait()
	for w := range workers {
		for i := range each {
			id := fmt.Sprintf("W%dN%d", w, i)
			m := arrives(t, s, fmt.Sprintf("90555111%04d", i%10), id)
			require.Equal(t, id, m.Text)
			require.Equal(t, 1, m.Copies)
		}
	}
	require.EqualValues(t, workers*each, s.Sessions()[0].Stanzas)
}
