package whatsim

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/types"
)

// maxOutbox bounds what waits for a device that is away; beyond it stanzas are sent once and not kept.
const maxOutbox = 100_000

// device is a paired companion: a whatsmeow client's identity on the server.
type device struct {
	account  *phone
	number   uint16 // 1 to 255, never used twice
	noise    [32]byte
	identity [32]byte

	stanzas      atomic.Int64
	fromReplaced atomic.Int64

	mu           sync.Mutex
	removed      bool
	registration uint32
	signed       publicKey
	signature    [64]byte
	oneTime      []publicKey
	conn         *conn // the connection that counts, or nil
	active       bool  // the client asked for what waits
	online       chan struct{}
	outbox       map[outKey]outItem
	outSeq       uint64
}

// outKey is how a client's ack names the stanza it has taken.
type outKey struct{ class, id, typ, user string }

type outItem struct {
	seq  uint64
	node node
}

func newDevice(account *phone, number uint16, noise, identity [32]byte, registration uint32) *device {
	return &device{
		account: account, number: number, noise: noise, identity: identity, registration: registration,
		online: make(chan struct{}), outbox: make(map[outKey]outItem),
	}
}

func (d *device) jid() types.JID { return d.account.device(d.number) }

// attach makes c the device's connection and returns the one it replaces.
func (d *device) attach(c *conn) (old *conn, removed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed {
		return nil, true
	}
	old, d.conn, d.active = d.conn, c, false
	return old, false
}

// detach forgets c if it is still the device's connection.
func (d *device) detach(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == c {
		d.conn, d.active = nil, false
	}
}

// accept counts a message stanza and says whether it comes from the connection that counts.
func (d *device) accept(c *conn) bool {
	d.mu.Lock()
	current := d.conn == c
	d.mu.Unlock()
	switch {
	case current:
		d.stanzas.Add(1)
	case c.replaced.Load():
		d.fromReplaced.Add(1)
	}
	return current
}

// current returns the device's connection, or nil.
func (d *device) current() *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn
}

// activate marks the device as ready for what waits, and returns that, oldest first.
func (d *device) activate(c *conn) []node {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != c {
		return nil
	}
	d.active = true
	select {
	case <-d.online:
	default:
		close(d.online)
	}
	return d.waiting()
}

// waiting lists the outbox, oldest first. d.mu is held.
func (d *device) waiting() []node {
	items := make([]outItem, 0, len(d.outbox))
	for _, it := range d.outbox {
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b outItem) int { return cmp.Compare(a.seq, b.seq) })
	out := make([]node, len(items))
	for i, it := range items {
		out[i] = it.node
	}
	return out
}

// push sends stanzas to the client. WhatsApp keeps them until the client has acknowledged them: what was not is
// sent again at the next login.
func (d *device) push(nodes ...node) {
	if len(nodes) == 0 {
		return
	}
	d.mu.Lock()
	if d.removed {
		d.mu.Unlock()
		return
	}
	for _, n := range nodes {
		d.keep(n)
	}
	c := d.conn
	if !d.active {
		c = nil
	}
	d.mu.Unlock()
	if c != nil {
		c.send(nodes...)
	}
}

// keep puts a stanza into the outbox, if there is room. d.mu is held.
func (d *device) keep(n node) {
	if len(d.outbox) < maxOutbox {
		d.outSeq++
		d.outbox[keyOf(&n)] = outItem{seq: d.outSeq, node: n}
	}
}

// keyOf gives the key under which a client's ack will name the stanza: acks repeat no type for messages.
func keyOf(n *node) outKey {
	from, _ := jidOf(n, "from")
	k := outKey{class: n.Tag, id: text(n, "id"), user: from.User}
	if n.Tag != "message" {
		k.typ = text(n, "type")
	}
	return k
}

// acked drops the stanza that a client's ack names.
func (d *device) acked(ack *node) {
	to, _ := jidOf(ack, "to")
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.outbox, outKey{class: text(ack, "class"), id: text(ack, "id"), typ: text(ack, "type"), user: to.User})
}

// upload takes the keys of a client's prekey upload.
func (d *device) upload(n *node) error {
	skey := n.GetChildByTag("skey")
	signed, err := parseKey(skey)
	if err != nil {
		return err
	}
	signature := content(skey.GetChildByTag("signature"))
	if len(signature) != 64 {
		return errBadKey
	}
	list := n.GetChildByTag("list")
	fresh := make([]publicKey, 0, len(list.GetChildren()))
	for _, k := range list.GetChildren() {
		key, err := parseKey(k)
		if err != nil {
			return err
		}
		fresh = append(fresh, key)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.registration = readUint(content(n.GetChildByTag("registration")))
	d.signed, d.signature = signed, [64]byte(signature)
	d.oneTime = append(d.oneTime, fresh...)
	return nil
}

func (d *device) preKeyCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.oneTime)
}

// bundle gives the device's keys to a client that wants to write to it, or nil before its first upload.
func (d *device) bundle() []node {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed || d.signed.Pub == [32]byte{} {
		return nil
	}
	key := func(k publicKey) []node {
		return []node{{Tag: "id", Content: uint32Bytes(k.ID)[1:]}, {Tag: "value", Content: k.Pub[:]}}
	}
	out := []node{
		{Tag: "registration", Content: uint32Bytes(d.registration)},
		{Tag: "type", Content: []byte{ecc.DjbType}},
		{Tag: "identity", Content: d.identity[:]},
		{Tag: "skey", Content: append(key(d.signed), node{Tag: "signature", Content: d.signature[:]})},
	}
	if len(d.oneTime) > 0 {
		out = append(out, node{Tag: "key", Content: key(d.oneTime[0])})
		d.oneTime = d.oneTime[1:]
	}
	return out
}
