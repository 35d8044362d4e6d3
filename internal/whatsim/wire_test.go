package whatsim_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"wabek/internal/whatsim"
)

func TestFrames_GluedAndSplit(t *testing.T) {
	t.Parallel()
	want := [][]byte{[]byte("first"), {}, []byte("second"), make([]byte, 70_000)}
	stream := []byte{'W', 'A', 6, 3}
	for _, body := range want {
		var err error
		stream, err = whatsim.AppendFrame(stream, body)
		require.NoError(t, err)
	}
	for _, size := range []int{1, 2, 3, 5, 4096, len(stream)} {
		got, err := whatsim.ReadFrames(slices.Collect(slices.Chunk(stream, size)))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want, got, "chunks of %d", size)
	}
	_, err := whatsim.ReadFrames([][]byte{[]byte("GET / HTTP/1.1")})
	require.ErrorContains(t, err, "header")
	_, err = whatsim.AppendFrame(nil, make([]byte, 1<<24))
	require.Error(t, err)
}

func TestLID_CanBeUndone(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, digits := range []string{"10000", "905551112233", "905551112234", "999999999999999", "100000000000000"} {
		lid := whatsim.LID(digits)
		require.False(t, seen[lid.User])
		seen[lid.User] = true
		lid.Device = 7
		got, ok := whatsim.DigitsOf(lid)
		require.True(t, ok)
		require.Equal(t, digits, got)
	}
	for _, jid := range []types.JID{{}, types.ServerJID, types.NewJID("12", types.HiddenUserServer), types.NewJID("1-2", types.GroupServer)} {
		_, ok := whatsim.DigitsOf(jid)
		require.False(t, ok, jid)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("WA\x06\x03\x00\x00\x02hi\x00\x00\x00"), 3)
	f.Add([]byte("WA\x06\x03\xff\xff\xff"), 1)
	f.Add([]byte("nonsense"), 2)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if len(stream) == 0 {
			return
		}
		size = 1 + (size&0xFFFF)%len(stream)
		whole, errWhole := whatsim.ReadFrames([][]byte{slices.Clone(stream)})
		cut, errCut := whatsim.ReadFrames(slices.Collect(slices.Chunk(stream, size)))
		require.Equal(t, whole, cut)
		require.Equal(t, errWhole, errCut)
	})
}

// FuzzHandshake sends a client's first bytes, whole and cut in two, and then looks whether the server is well.
func FuzzHandshake(f *testing.F) {
	hello, err := proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: make([]byte, 32)}})
	require.NoError(f, err)
	frame, err := whatsim.AppendFrame([]byte{'W', 'A', 6, 3}, hello)
	require.NoError(f, err)
	f.Add(frame, 5)
	f.Add(frame[:9], 0)
	f.Add([]byte("WA\x06\x03\x00\x00\x00\x00\x00\x00"), 4)
	hello[len(hello)-1], hello[len(hello)-20] = 9, 7
	frame, err = whatsim.AppendFrame([]byte{'W', 'A', 6, 3}, hello)
	require.NoError(f, err)
	f.Add(append(frame, 0, 0, 3, 1, 2, 3), 11)
	s, err := whatsim.Start(whatsim.Options{})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close()) })
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, s.Endpoint()+"/ws/chat", nil) //nolint:bodyclose // the library closes it
		require.NoError(t, err)
		at = (at & 0xFFFF) % (len(data) + 1)
		require.NoError(t, ws.Write(ctx, websocket.MessageBinary, data[:at]))
		_ = ws.Write(ctx, websocket.MessageBinary, data[at:]) // it may have been cut off
		_ = ws.Close(websocket.StatusNormalClosure, "")
		require.Empty(t, s.Sessions())
	})
}

// tokenAsked says whether the client has its privacy token for a contact.
func (c *client) tokenAsked(number string) bool {
	return !c.DangerousInternals().GetTCTokenSenderTS(whatsim.LID(number)).IsZero() //nolint:staticcheck // nothing else tells
}

// byHand makes the client connect anew and leave later reconnects to the test. It returns the TCP connection.
func (c *client) byHand(t *testing.T) net.Conn {
	t.Helper()
	c.Disconnect()
	c.EnableAutoReconnect = false
	var dialled net.Conn
	c.line.wrap(func(conn net.Conn) net.Conn {
		dialled = conn
		return conn
	})
	require.NoError(t, c.Connect())
	c.line.wrap(nil)
	await[*events.Connected](t, c)
	return dialled
}

// sendRaw sends a node as it is.
func (c *client) sendRaw(ctx context.Context, n waBinary.Node) error {
	return c.DangerousInternals().SendNode(ctx, n) //nolint:staticcheck // the only way to send what a client never would
}

// TestGarbage sends malformed nodes over a proper connection: the server drops at most that connection.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	c.mustSay(t, friend, "warm", "W")
	type (
		node  = waBinary.Node
		attrs = waBinary.Attrs
	)
	pn, lid := types.NewJID(friend, types.DefaultUserServer), whatsim.LID(friend)
	enc := func(typ string, data any) node {
		return node{Tag: "enc", Attrs: attrs{"v": "2", "type": typ}, Content: data}
	}
	for _, n := range []node{
		{Tag: "message"},
		{Tag: "message", Attrs: attrs{"id": "G1", "to": "nobody"}},
		{Tag: "message", Attrs: attrs{"id": "G2", "to": types.NewJID("1-2", types.GroupServer)}},
		{Tag: "message", Attrs: attrs{"id": "G3", "to": lid}},
		{Tag: "message", Attrs: attrs{"id": "G4", "to": lid}, Content: []node{enc("msg", []byte{3})}},
		{Tag: "message", Attrs: attrs{"id": "G5", "to": lid}, Content: []node{enc("pkmsg", []byte{0x33, 8, 1})}},
		{Tag: "message", Attrs: attrs{"id": "G6", "to": pn}, Content: []node{enc("skmsg", "x")}},
		{Tag: "message", Attrs: attrs{"id": "G7", "to": lid}, Content: []node{{Tag: "participants", Content: []node{{Tag: "to"}, {Tag: "to", Attrs: attrs{"jid": lid}}}}}},
		{Tag: "iq", Attrs: attrs{"xmlns": "usync", "type": "get"}},
		{Tag: "iq", Attrs: attrs{"xmlns": "usync", "type": "get", "id": "1"}, Content: []node{{Tag: "usync", Content: []node{{Tag: "list", Content: []node{{Tag: "user"}}}}}}},
		{Tag: "iq", Attrs: attrs{"xmlns": "encrypt", "type": "get", "id": "2"}, Content: []node{{Tag: "key", Content: []node{{Tag: "user"}, {Tag: "user", Attrs: attrs{"jid": types.ServerJID}}}}}},
		{Tag: "iq", Attrs: attrs{"xmlns": "encrypt", "type": "set", "id": "3"}, Content: []node{{Tag: "skey", Content: []node{{Tag: "value", Content: []byte{1}}}}}},
		{Tag: "iq", Attrs: attrs{"type": "result", "id": "nobody"}},
		{Tag: "receipt", Attrs: attrs{"to": pn}},
		{Tag: "receipt"},
		{Tag: "ack"},
		{Tag: "presence", Content: []byte{1}},
	} {
		require.NoError(t, c.sendRaw(t.Context(), n))
	}
	c.mustSay(t, friend, "still well", "A1")
	require.Equal(t, "still well", arrives(t, s, friend, "A1").Text)
	require.Eventually(t, func() bool { return c.tokenAsked(friend) }, patience, time.Millisecond)
	require.NoError(t, c.sendRaw(t.Context(), waBinary.Node{Tag: "xmlstreamend"}))
	await[*events.Disconnected](t, c)
	await[*events.Connected](t, c)
}

// frozenConn is a connection whose reads stand still while its gate is shut, as those of a stopped process.
type frozenConn struct {
	net.Conn
	gate *sync.RWMutex
}

func (f frozenConn) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	f.gate.RLock()
	defer f.gate.RUnlock()
	return n, err
}

// TestStory_FrozenClientIsReplaced lets a client that was frozen while another took over its device send: nothing
// of it is delivered, and it is counted.
func TestStory_FrozenClientIsReplaced(t *testing.T) {
	t.Parallel()
	s, c := ready(t)
	c.mustSay(t, friend, "warm", "W")
	require.Eventually(t, func() bool { return c.tokenAsked(friend) }, patience, time.Millisecond)
	gate := new(sync.RWMutex)
	c.line.wrap(func(conn net.Conn) net.Conn { return frozenConn{conn, gate} })
	c.ResetConnection()
	await[*events.Connected](t, c)
	c.line.wrap(nil)
	gate.Lock()
	next := c.again(t)
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		sent <- c.sendRaw(ctx, waBinary.Node{Tag: "message", Attrs: waBinary.Attrs{"id": "F1", "to": whatsim.LID(friend)}})
	}()
	require.Eventually(t, func() bool { return s.Sessions()[0].FromReplaced == 1 }, patience, time.Millisecond)
	require.NoError(t, <-sent)
	cancel()
	gate.Unlock()
	await[*events.StreamReplaced](t, c)
	require.Len(t, s.Messages(friend), 1)
	next.mustSay(t, friend, "from the second", "A1")
	require.Equal(t, "from the second", arrives(t, s, friend, "A1").Text)
}
