package whatsim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/signalerror"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// maxAsks is how often a phone asks for one message again before it gives up, as WhatsApp's phones do.
const maxAsks = 5

// Message is one message as the owner of a phone sees it.
type Message struct {
	// ID is the WhatsApp id the sender chose.
	ID string `json:"id"`
	// From is the sender account's number, digits.
	From string `json:"from"`
	// Text is the decrypted text.
	Text string `json:"text"`
	// At is when the phone showed it, in UTC, by the millisecond.
	At time.Time `json:"at"`
	// Copies counts the stanzas with this id that came from this account; the owner sees them as one message.
	Copies int `json:"copies"`
}

// messageKey is what a phone takes for the same message.
type messageKey struct{ from, id string }

// parcel is one ciphertext on its way to a phone.
type parcel struct {
	sender  *device
	id      string
	typ     string // pkmsg or msg
	data    []byte
	effects effects
}

// reply is what a phone answers to a parcel: receipts for its sender.
type reply struct {
	sender  *device
	effects effects
	nodes   []node
}

// phone is a virtual phone: it decrypts, shows each message once, answers with receipts. It needs no
// registration and costs next to nothing until somebody asks for its keys.
type phone struct {
	digits string
	lid    types.JID
	server [32]byte // what its seed is derived from

	mu         sync.Mutex
	settings   phoneState
	generation uint32 // how often it was reinstalled: its keys depend on it
	signal     *store.Device
	sessions   map[string][]byte
	lastPreKey uint32
	shown      []Message
	index      map[messageKey]int
	asked      map[messageKey]int // asked for again, and not shown yet
	backlog    []parcel           // came while it was offline
	changed    chan struct{}      // closed at the next change of shown
}

// phoneState is what SetPhone and its HTTP call can change.
type phoneState struct {
	Exists bool `json:"exists"`
	Read   bool `json:"read"`
	Online bool `json:"online"`
}

func defaultPhoneState() phoneState { return phoneState{Exists: true, Read: true, Online: true} }

func newPhone(server [32]byte, digits string) *phone {
	return &phone{digits: digits, lid: lidOf(digits), server: server, settings: defaultPhoneState()}
}

func (p *phone) pn() types.JID { return types.NewJID(p.digits, types.DefaultUserServer) }

// device gives the JID of one device of this phone's account: 0 is the phone itself.
func (p *phone) device(number uint16) types.JID {
	jid := p.lid
	jid.Device = number
	return jid
}

func (p *phone) exists() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings.Exists
}

// keys returns the phone's Signal store, made at first use. p.mu is held.
func (p *phone) keys() *store.Device {
	if p.signal == nil {
		if p.sessions == nil {
			p.sessions = make(map[string][]byte)
		}
		p.signal = newSignalDevice(p.seed(), p.sessions)
	}
	return p.signal
}

func (p *phone) seed() phoneSeed { return newPhoneSeed(p.server, p.digits, p.generation) }

// bundle gives what a sender needs to write to this phone, with a one-time prekey of its own per call. p.mu is held.
func (p *phone) bundle() []node {
	k := p.keys()
	p.lastPreKey = p.lastPreKey%0xFFFFFE + 1 // ids have 24 bits and start at 1
	return []node{
		{Tag: "registration", Content: uint32Bytes(k.RegistrationID)},
		{Tag: "type", Content: []byte{ecc.DjbType}},
		{Tag: "identity", Content: k.IdentityKey.Pub[:]},
		keyNode(k.SignedPreKey),
		keyNode(p.seed().preKey(p.lastPreKey)),
	}
}

func (p *phone) fetchBundle() []node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bundle()
}

// receive takes a message from the network. An offline phone keeps it for later.
func (p *phone) receive(ctx context.Context, in parcel) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.settings.Online {
		p.backlog = append(p.backlog, in)
		return reply{sender: in.sender}
	}
	return p.open(ctx, in)
}

// absorb decrypts a copy meant for the sender's own phone and shows nothing.
func (p *phone) absorb(ctx context.Context, in parcel) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := decrypt(ctx, p.keys(), in)
	if errors.Is(err, signalerror.ErrOldCounter) {
		return nil // a stanza that was sent again
	}
	return err
}

// open decrypts one parcel and decides what the owner sees and the sender hears. p.mu is held.
func (p *phone) open(ctx context.Context, in parcel) reply {
	key := messageKey{from: in.sender.account.digits, id: in.id}
	at, seen := p.index[key]
	if in.effects.askAgain && !seen && p.asked[key] == 0 {
		return p.askAgain(key, in)
	}
	msg, err := decrypt(ctx, p.keys(), in)
	switch {
	case seen && (err == nil || errors.Is(err, signalerror.ErrOldCounter)):
		// The same stanza twice, or the same id encrypted anew: a copy of what is already on the screen.
		p.shown[at].Copies++
	case err != nil:
		// An old counter of a message never seen is a sender that has gone back to an older ratchet.
		return p.askAgain(key, in)
	default:
		p.show(key, Message{ID: in.id, From: key.from, Text: messageText(msg), At: now(), Copies: 1})
	}
	p.wake()
	out := reply{sender: in.sender, effects: in.effects, nodes: []node{p.receipt(in.id, "")}}
	if p.settings.Read {
		out.nodes = append(out.nodes, p.receipt(in.id, string(types.ReceiptTypeRead)))
	}
	return out
}

func (p *phone) show(key messageKey, m Message) {
	if p.index == nil {
		p.index = make(map[messageKey]int)
	}
	p.index[key] = len(p.shown)
	p.shown = append(p.shown, m)
	delete(p.asked, key)
}

func (p *phone) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *phone) receipt(id, typ string) node {
	n := node{Tag: "receipt", Attrs: attrs{"from": p.lid, "id": id, "t": time.Now().Unix()}}
	if typ != "" {
		n.Attrs["type"] = typ
	}
	return n
}

// askAgain makes the retry receipt of a message the phone can't read. It carries new keys: the sender builds a
// new session from them and sends the message again under its id. p.mu is held.
func (p *phone) askAgain(key messageKey, in parcel) reply {
	out := reply{sender: in.sender}
	if p.asked == nil {
		p.asked = make(map[messageKey]int)
	}
	if p.asked[key] >= maxAsks {
		return out
	}
	p.asked[key]++
	bundle := p.bundle()
	n := p.receipt(in.id, string(types.ReceiptTypeRetry))
	n.Content = []node{
		{Tag: "retry", Attrs: attrs{"id": in.id, "count": p.asked[key], "t": time.Now().Unix(), "v": 1}},
		bundle[0],
		{Tag: "keys", Content: bundle[1:]},
	}
	out.nodes = []node{n}
	return out
}

// set changes the settings that are given; going online opens what waited, in the order it came.
func (p *phone) set(ctx context.Context, change PhoneSettings) (phoneState, []reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if change.Reinstall {
		// New keys, no sessions; nobody is told. The next message can't be read and is asked for again.
		p.generation++
		p.signal, p.sessions, p.lastPreKey = nil, nil, 0
	}
	for _, c := range []struct {
		to   *bool
		from *bool
	}{{&p.settings.Exists, change.Exists}, {&p.settings.Read, change.Read}, {&p.settings.Online, change.Online}} {
		if c.from != nil {
			*c.to = *c.from
		}
	}
	var out []reply
	if p.settings.Online {
		for _, in := range p.backlog {
			out = append(out, p.open(ctx, in))
		}
		p.backlog = nil
	}
	return p.settings, out
}

// forget empties the screen and the settings; keys and sessions stay.
func (p *phone) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = defaultPhoneState()
	p.shown, p.index, p.asked, p.backlog = nil, nil, nil, nil
	p.wake()
}

// messages returns the screen and a channel that is closed at its next change.
func (p *phone) messages() ([]Message, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return append([]Message{}, p.shown...), p.changed
}

// write encrypts a text for one companion device.
func (p *phone) write(ctx context.Context, to *device, msg string) (typ string, data []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	typ, data, err = encrypt(ctx, p.keys(), to, &waE2E.Message{Conversation: &msg})
	if err != nil {
		return "", nil, fmt.Errorf("encrypt for device %d: %w", to.number, err)
	}
	return typ, data, nil
}

func (p *phone) snapshotSessions() map[string][]byte { return maps.Clone(p.sessions) }

// now is the clock of messages: UTC by the millisecond.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// messageText is what a person reads of a message.
func messageText(m *waE2E.Message) string {
	if inner := m.GetDeviceSentMessage().GetMessage(); inner != nil {
		m = inner
	}
	switch {
	case m.Conversation != nil:
		return m.GetConversation()
	case m.ExtendedTextMessage != nil:
		return m.GetExtendedTextMessage().GetText()
	case m.ImageMessage != nil:
		return m.GetImageMessage().GetCaption()
	case m.DocumentMessage != nil:
		return m.GetDocumentMessage().GetCaption()
	}
	return ""
}
