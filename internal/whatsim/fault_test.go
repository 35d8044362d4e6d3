package whatsim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/whatsim"
)

const friend = "905551112233"

// faulty gives a paired client that has written to friend once, and the fault in place.
func faulty(t *testing.T, f whatsim.Fault) (*whatsim.Server, *client) {
	t.Helper()
	s, c := ready(t)
	c.mustSay(t, friend, "warm", "W")
	await(t, c, receipt("W", types.ReceiptTypeDelivered))
	await(t, c, receipt("W", types.ReceiptTypeRead))
	// The client asks for a privacy token behind the first message; whatsmeow has a data race when a question waits
	// across a disconnect while it reconnects by itself.
	require.Eventually(t, func() bool { return c.tokenAsked(friend) }, patience, time.Millisecond)
	addFault(t, s, f)
	return s, c
}

// reconnects waits until the client has noticed the end of its connection, and connects it again.
func (c *client) reconnects(t *testing.T) {
	t.Helper()
	await[*events.Disconnected](t, c)
	require.NoError(t, c.Connect())
	await[*events.Connected](t, c)
}

// sayLater sends in a goroutine of its own; the channel tells how it ended.
func (c *client) sayLater(t *testing.T, to, text, id string) <-chan error {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := c.say(t, to, text, id)
		sent <- err
	}()
	return sent
}

func addFault(t *testing.T, s *whatsim.Server, f whatsim.Fault) {
	t.Helper()
	_, err := s.AddFault(f)
	require.NoError(t, err)
}

func TestFault_Drop(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "drop"})
	c.byHand(t)
	sent := c.sayLater(t, friend, "x", "A1")
	c.reconnects(t)
	require.NoError(t, <-sent) // the client has sent the same bytes again
	m := arrives(t, s, friend, "A1")
	require.Equal(t, 1, m.Copies, "the first one was lost before it reached the phone")
	require.EqualValues(t, 3, s.Sessions()[0].Stanzas)
}

func TestFault_AckWithhold(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "ack_withhold"})
	_, err := c.SendMessage(patient(t), types.NewJID(friend, types.DefaultUserServer),
		&waE2E.Message{Conversation: new(string)}, whatsmeow.SendRequestExtra{ID: "A1", Timeout: 300 * time.Millisecond})
	require.ErrorIs(t, err, whatsmeow.ErrMessageTimedOut)
	require.Equal(t, 1, arrives(t, s, friend, "A1").Copies)
	await(t, c, receipt("A1", types.ReceiptTypeDelivered))
	c.mustSay(t, friend, "", "A1")
	m, err := s.WaitMessage(patient(t), friend, func(m whatsim.Message) bool { return m.ID == "A1" && m.Copies == 2 })
	require.NoError(t, err)
	require.Empty(t, m.Text)
}

// TestFault_AckWithholdThenReset cuts the connection of a message that was delivered and not acked: the client
// sends the same bytes again, which the phone takes for a copy.
func TestFault_AckWithholdThenReset(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "ack_withhold"})
	conn := c.byHand(t)
	sent := c.sayLater(t, friend, "x", "A1")
	arrives(t, s, friend, "A1")
	require.NoError(t, conn.Close())
	c.reconnects(t)
	require.NoError(t, <-sent)
	_, err := s.WaitMessage(patient(t), friend, func(m whatsim.Message) bool { return m.ID == "A1" && m.Copies == 2 })
	require.NoError(t, err)
	require.Len(t, s.Messages(friend), 2)
}

func TestFault_AckError(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "ack_error", Code: 463, Account: owner, Phone: friend, Count: 2})
	c.mustSay(t, "905551112244", "not for this phone", "B1")
	for range 2 {
		_, err := c.say(t, friend, "x", "A1")
		require.ErrorIs(t, err, whatsmeow.ErrServerReturnedError)
		require.ErrorContains(t, err, "463")
	}
	c.mustSay(t, friend, "x", "A2")
	arrives(t, s, friend, "A2")
	require.Len(t, s.Messages(friend), 2, "what was refused is not delivered")
}

func TestFault_AckDelay(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "ack_delay", MS: 300, Count: -1})
	for _, id := range []string{"A1", "A2"} {
		begin := time.Now()
		c.mustSay(t, friend, "x", id)
		require.GreaterOrEqual(t, time.Since(begin), 300*time.Millisecond)
		await(t, c, receipt(id, types.ReceiptTypeDelivered))
	}
	s.ClearFaults()
	c.mustSay(t, friend, "x", "A3")
	arrives(t, s, friend, "A3")
}

func TestFault_ReceiptBeforeAck(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "receipt_before_ack"})
	addFault(t, s, whatsim.Fault{Kind: "ack_delay", MS: 2000})
	sent := c.sayLater(t, friend, "x", "A1")
	await(t, c, receipt("A1", types.ReceiptTypeRead))
	select {
	case err := <-sent:
		require.Fail(t, "the ack came first", err)
	default:
	}
	require.NoError(t, <-sent)
}

func TestFault_ReceiptDelay(t *testing.T) {
	t.Parallel()
	_, c := faulty(t, whatsim.Fault{Kind: "receipt_delay", MS: 300})
	begin := time.Now()
	c.mustSay(t, friend, "x", "A1")
	await(t, c, receipt("A1", types.ReceiptTypeDelivered))
	require.GreaterOrEqual(t, time.Since(begin), 300*time.Millisecond)
}

func TestFault_ReceiptWithhold(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "receipt_withhold"})
	c.mustSay(t, friend, "x", "A1")
	arrives(t, s, friend, "A1")
	c.mustSay(t, friend, "x", "A2")
	require.Equal(t, "A2", await[*events.Receipt](t, c).MessageIDs[0])
}

func TestFault_RetryReceipt(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "retry_receipt", Count: -1})
	c.mustSay(t, friend, "please repeat", "A1")
	await(t, c, receipt("A1", types.ReceiptTypeRetry))
	m := arrives(t, s, friend, "A1")
	require.Equal(t, "please repeat", m.Text)
	require.Equal(t, 1, m.Copies, "the answer to a retry receipt is no copy")
	await(t, c, receipt("A1", types.ReceiptTypeDelivered))
}

func TestFault_SilentDrop(t *testing.T) {
	t.Parallel()
	s, c := faulty(t, whatsim.Fault{Kind: "silent_drop"})
	c.mustSay(t, friend, "x", "A1")
	c.mustSay(t, friend, "x", "A2")
	require.Equal(t, "A2", await[*events.Receipt](t, c).MessageIDs[0])
	require.Len(t, s.Messages(friend), 2)
}

func TestFault_StreamError(t *testing.T) {
	t.Parallel()
	t.Run("503 reconnects", func(t *testing.T) {
		t.Parallel()
		_, c := faulty(t, whatsim.Fault{Kind: "stream_error", Code: 503})
		await[*events.Disconnected](t, c)
		await[*events.Connected](t, c)
		c.mustSay(t, friend, "x", "A1")
	})
	t.Run("515 reconnects at once", func(t *testing.T) {
		t.Parallel()
		_, c := faulty(t, whatsim.Fault{Kind: "stream_error", Code: 515})
		await[*events.Connected](t, c)
		c.mustSay(t, friend, "x", "A1")
	})
	t.Run("500 is told", func(t *testing.T) {
		t.Parallel()
		_, c := faulty(t, whatsim.Fault{Kind: "stream_error", Code: 500})
		require.Equal(t, "500", await[*events.StreamError](t, c).Code)
		await[*events.Connected](t, c)
	})
	t.Run("0 is replaced", func(t *testing.T) {
		t.Parallel()
		s, c := faulty(t, whatsim.Fault{Kind: "stream_error"})
		await[*events.StreamReplaced](t, c)
		require.False(t, s.Sessions()[0].Connected)
	})
	t.Run("401 removes the device", func(t *testing.T) {
		t.Parallel()
		s, c := faulty(t, whatsim.Fault{Kind: "stream_error", Code: 401})
		require.False(t, await[*events.LoggedOut](t, c).OnConnect)
		require.Empty(t, s.Sessions())
	})
	t.Run("waits for the next login", func(t *testing.T) {
		t.Parallel()
		s, c := ready(t)
		c.Disconnect()
		require.Eventually(t, func() bool { return !s.Sessions()[0].Connected }, patience, time.Millisecond)
		addFault(t, s, whatsim.Fault{Kind: "stream_error"})
		require.NoError(t, c.Connect())
		await[*events.StreamReplaced](t, c)
	})
}

func TestFault_LoginFailure(t *testing.T) {
	t.Parallel()
	relogin := func(t *testing.T, f whatsim.Fault) *client {
		t.Helper()
		f.Kind = "login_failure"
		_, c := faulty(t, f)
		c.Disconnect()
		require.NoError(t, c.Connect())
		return c
	}
	t.Run("403 logs out", func(t *testing.T) {
		t.Parallel()
		c := relogin(t, whatsim.Fault{Code: 403})
		require.Equal(t, events.ConnectFailureReason(403), await[*events.LoggedOut](t, c).Reason)
	})
	t.Run("402 bans for ms", func(t *testing.T) {
		t.Parallel()
		c := relogin(t, whatsim.Fault{Code: 402, MS: 90_000})
		require.Equal(t, 90*time.Second, await[*events.TemporaryBan](t, c).Expire)
		require.Eventually(t, func() bool { return !c.IsConnected() }, patience, time.Millisecond)
		require.NoError(t, c.Connect())
		await[*events.Connected](t, c)
	})
	t.Run("405 is outdated", func(t *testing.T) {
		t.Parallel()
		await[*events.ClientOutdated](t, relogin(t, whatsim.Fault{Code: 405}))
	})
	t.Run("503 is tried again", func(t *testing.T) {
		t.Parallel()
		c := relogin(t, whatsim.Fault{Code: 503, Count: 1})
		await[*events.Disconnected](t, c)
		await[*events.Connected](t, c)
	})
	t.Run("429 is told", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, events.ConnectFailureReason(429), await[*events.ConnectFailure](t, relogin(t, whatsim.Fault{Code: 429})).Reason)
	})
}
