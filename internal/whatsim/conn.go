package whatsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

const (
	handshakeTimeout = 20 * time.Second
	writeTimeout     = 10 * time.Second
	// endPatience is how long a client may take to deal with the end of its stream.
	endPatience = 10 * time.Second
	// replacedLinger is how long a replaced connection is listened to when its client shows no sign of life.
	replacedLinger = 5 * time.Minute
)

// rawConnKey finds a request's TCP connection in its context.
type rawConnKey struct{}

var errEnded = errors.New("the stream was ended")

// conn is one client connection. Its nodes are read and handled in order by one goroutine; any may send.
type conn struct {
	s      *Server
	ws     *websocket.Conn
	raw    net.Conn
	frames frameReader
	noise  [32]byte // the client's noise static key
	in     sealer   // only the reader's

	dev *device                                            // set at login, only the reader's
	reg *waWa6.ClientPayload_DevicePairingRegistrationData // set on a connection that pairs

	replaced atomic.Bool   // another connection has taken over
	over     atomic.Bool   // the last node is sent
	done     chan struct{} // closed when the reader has ended
	seq      atomic.Uint64

	sendMu sync.Mutex
	out    sealer

	waitMu sync.Mutex
	waits  map[string]chan *node
}

// serveWhatsApp is the endpoint /ws/chat.
func (s *Server) serveWhatsApp(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.log.DebugContext(r.Context(), "websocket refused", "err", err)
		return
	}
	ws.SetReadLimit(readLimit)
	raw, ok := r.Context().Value(rawConnKey{}).(net.Conn)
	if !ok {
		_ = ws.CloseNow() // can't be: every connection comes through our listener
		return
	}
	c := &conn{s: s, ws: ws, raw: raw, done: make(chan struct{}), waits: make(map[string]chan *node)}
	c.frames.more = c.readMessage
	if !s.track(c) {
		c.cut()
		return
	}
	defer s.untrack(c)
	if err := c.serve(r.Context()); err != nil {
		s.log.DebugContext(r.Context(), "connection ended", "device", c.name(), "err", err)
	}
}

// track registers a connection whose goroutine Close will wait for; false after Close.
func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) untrack(c *conn) {
	c.cut()
	_ = c.ws.CloseNow() // frees what the websocket library holds
	close(c.done)
	if c.dev != nil {
		c.dev.detach(c)
	}
	s.pairs.drop(c)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

func (c *conn) name() string {
	if c.dev == nil {
		return "-"
	}
	return short(c.dev.account.digits) + ":" + strconv.Itoa(int(c.dev.number))
}

// serve runs a connection to its end.
func (c *conn) serve(ctx context.Context) (err error) {
	defer func() {
		// The binary decoder panics on some malformed nodes; a client's garbage must cost it its connection only.
		if r := recover(); r != nil {
			c.s.log.WarnContext(ctx, "connection dropped after malformed input", "device", c.name(), "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("malformed input: %v", r)
		}
	}()
	payload, err := c.shake(ctx)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if payload.DevicePairingData != nil {
		c.reg = payload.DevicePairingData
		c.offerPairing()
	} else if err := c.login(payload); err != nil {
		c.s.log.InfoContext(ctx, "login refused", "err", err) // the client hangs up when it has read why
	}
	for {
		n, err := c.read(ctx)
		if err != nil {
			return err
		}
		if err := c.handle(ctx, n); err != nil {
			return err
		}
	}
}

func (c *conn) shake(ctx context.Context) (*waWa6.ClientPayload, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	g, err := c.s.hello.shake(ctx, &c.frames, func(body []byte) error {
		frame, err := appendFrame(nil, body)
		if err != nil {
			return err
		}
		return c.ws.Write(ctx, websocket.MessageBinary, frame)
	})
	if err != nil {
		return nil, err
	}
	c.noise, c.in = g.client, g.in
	c.sendMu.Lock()
	c.out = g.out
	c.sendMu.Unlock()
	return g.payload, nil
}

func (c *conn) readMessage(ctx context.Context) ([]byte, error) {
	typ, data, err := c.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	if typ != websocket.MessageBinary {
		return nil, errTextFrame
	}
	return data, nil
}

func (c *conn) read(ctx context.Context) (*node, error) {
	frame, err := c.frames.next(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := c.in.open(frame, nil)
	if err != nil {
		return nil, fmt.Errorf("frame: %w", err)
	}
	if len(plain) == 0 {
		return nil, errShortFrame
	}
	raw, err := waBinary.Unpack(plain)
	if err != nil {
		return nil, fmt.Errorf("frame: %w", err)
	}
	n, err := waBinary.Unmarshal(raw)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	return n, nil
}

// send writes nodes, each in a frame of its own, glued into one websocket message. A failed write ends the
// connection: the reader then sees its end, so there is no error to hand on.
//
//nolint:contextcheck,nolintlint // what is sent outlives the call that caused it (on a function, contextcheck hides the use from nolintlint)
func (c *conn) send(nodes ...node) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if c.out.gcm == nil || c.over.Load() {
		return // there is nothing to say yet, or any more
	}
	var out []byte
	for i := range nodes {
		raw, err := waBinary.Marshal(nodes[i])
		if err == nil {
			out, err = appendFrame(out, c.out.seal(raw, nil))
		}
		if err != nil {
			c.s.log.Error("node not sent", "device", c.name(), "tag", nodes[i].Tag, "err", err)
			c.cut()
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageBinary, out); err != nil {
		c.s.log.Debug("write failed", "tag", nodes[0].Tag, "err", err)
		c.cut()
	}
}

// cut drops the connection without a word, even in the middle of a closing handshake.
func (c *conn) cut() { _ = c.raw.Close() } // it only reports that it is closed already

// finish ends the stream with a last node. The socket is closed once the client has dealt with that node: clients
// forget what is still in their queue when the socket closes, and a refused login would then look like a broken
// line. They deal with nodes in order, so the ack of a notification sent behind it tells; what never acks is
// closed after patience.
func (c *conn) finish(last node, patience time.Duration) {
	id := c.nextID()
	dealtWith := c.expect(id)
	c.send(last, node{Tag: "notification", Attrs: attrs{"from": types.ServerJID, "type": "end", "id": id, "t": time.Now().Unix()}})
	c.over.Store(true)
	c.s.spawn(func() {
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-dealtWith:
		case <-c.done:
		case <-c.s.stop:
		case <-t.C:
		}
		_ = c.ws.Close(websocket.StatusNormalClosure, "") // a client gone first is fine
	})
}

// restart tells the client to reconnect. It hangs up by itself: closing too would make it reconnect twice.
func (c *conn) restart() {
	c.send(node{Tag: "stream:error", Attrs: attrs{"code": "515"}})
	c.s.spawn(func() {
		t := time.NewTimer(endPatience)
		defer t.Stop()
		select {
		case <-t.C:
			c.cut()
		case <-c.done:
		case <-c.s.stop:
		}
	})
}

// replace tells the client that another connection of its device has taken over. The connection is listened to
// until the client has read that: a process that was frozen and wakes up may still send, and that is counted.
func (c *conn) replace() {
	c.replaced.Store(true)
	c.s.spawn(func() { c.finish(replacedError(), replacedLinger) }) // a frozen client's socket may take no more
}

func replacedError() node {
	return node{Tag: "stream:error", Content: []node{{Tag: "conflict", Attrs: attrs{"type": "replaced"}}}}
}

// nextID makes an id for a stanza of the server's own.
func (c *conn) nextID() string { return strconv.FormatUint(100_000+c.seq.Add(1), 10) }

// handle takes one node of the client. An error ends the connection.
func (c *conn) handle(ctx context.Context, n *node) error {
	if c.replaced.Load() || c.over.Load() {
		switch {
		case n.Tag == "message" && c.dev != nil:
			c.dev.accept(c) // for the count of what replaced connections send
		case n.Tag == "ack":
			c.answered(n)
		}
		return nil
	}
	switch n.Tag {
	case "iq":
		switch text(n, "type") {
		case "result", "error":
			c.answered(n)
		default:
			c.onIQ(n)
		}
	case "message":
		if c.dev != nil {
			return c.onMessage(ctx, n)
		}
	case "receipt":
		if c.dev != nil {
			c.onReceipt(n)
		}
	case "ack":
		if c.dev != nil {
			c.dev.acked(n)
		}
	case "xmlstreamend":
		return errEnded
	}
	return nil // presence, ib, chatstate ask for nothing
}

// expect returns where the answer to the iq with that id will come.
func (c *conn) expect(id string) <-chan *node {
	ch := make(chan *node, 1)
	c.waitMu.Lock()
	defer c.waitMu.Unlock()
	c.waits[id] = ch
	return ch
}

func (c *conn) answered(n *node) {
	c.waitMu.Lock()
	defer c.waitMu.Unlock()
	if ch := c.waits[text(n, "id")]; ch != nil {
		delete(c.waits, text(n, "id"))
		ch <- n
	}
}

// result answers an iq.
func (c *conn) result(n *node, kids ...node) {
	answer := node{Tag: "iq", Attrs: attrs{"from": types.ServerJID, "type": "result", "id": n.Attrs["id"]}}
	if len(kids) > 0 {
		answer.Content = kids
	}
	c.send(answer)
}
