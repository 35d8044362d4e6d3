package whatsim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// ErrNoDevice says that no companion is paired with an account.
var ErrNoDevice = errors.New("no companion device is paired with this account")

// ErrWhichAccount says that several accounts have companions, so that a message must name the one it is for.
var ErrWhichAccount = errors.New("several accounts are paired: say in \"to\" which one to write to")

// stanza is a message stanza, taken apart.
type stanza struct {
	id     string
	to     types.JID
	digits string // the recipient's number
	retry  bool   // it answers a retry receipt
	// the ciphertexts, by the device they are for
	targets []target
}

type target struct {
	jid types.JID
	enc node
}

// onMessage takes a message from the client: acks it, gives it to the phones it is for, sends their receipts
// back. An error ends the connection.
func (c *conn) onMessage(ctx context.Context, n *node) error {
	if !c.dev.accept(c) {
		return nil
	}
	m, ok := parseStanza(n)
	if !ok {
		c.ack(n, 479) // invalid stanza; groups and broadcasts are not simulated
		return nil
	}
	fx := c.s.faults.forMessage(c.dev.account.digits, m.digits, m.retry)
	switch {
	case fx.drop:
		c.cut()
		return fmt.Errorf("message dropped: %w", errEnded)
	case fx.ackError != 0:
		c.ack(n, fx.ackError)
		return nil
	case fx.silent:
		c.s.after(fx.ackDelay, func() { c.ack(n, 0) })
		return nil
	}
	ack := func() { c.ack(n, 0) }
	if fx.withholdAck {
		ack = func() {}
	}
	switch {
	case fx.receiptsFirst:
		c.s.answer(c.deliver(ctx, m, fx))
		c.s.after(fx.ackDelay, ack)
	case fx.ackDelay > 0:
		// The phone has it at once, but what it answers keeps its place behind the ack.
		r := c.deliver(ctx, m, fx)
		c.s.after(fx.ackDelay, func() {
			ack()
			c.s.answer(r)
		})
	default:
		ack()
		c.s.answer(c.deliver(ctx, m, fx))
	}
	c.forward(ctx, m, n)
	c.s.disk.touch()
	return nil
}

func parseStanza(n *node) (stanza, bool) {
	m := stanza{id: text(n, "id")}
	var ok bool
	if m.to, ok = jidOf(n, "to"); !ok || m.id == "" {
		return m, false
	}
	if m.digits, ok = digitsOf(m.to); !ok {
		return m, false
	}
	if enc, ok := n.GetOptionalChildByTag("enc"); ok {
		m.retry = true
		m.targets = append(m.targets, target{jid: m.to, enc: enc})
	}
	participants := n.GetChildByTag("participants")
	if participants.Tag == "participants" {
		for _, to := range participants.GetChildren() {
			jid, ok := jidOf(&to, "jid")
			enc, has := to.GetOptionalChildByTag("enc")
			if ok && has {
				m.targets = append(m.targets, target{jid: jid, enc: enc})
			}
		}
	}
	return m, true
}

// ack answers a message stanza; code 0 is success.
func (c *conn) ack(n *node, code int) {
	a := attrs{"class": "message", "from": n.Attrs["to"], "id": n.Attrs["id"], "t": time.Now().Unix()}
	if code != 0 {
		a["error"] = code
	}
	c.send(node{Tag: "ack", Attrs: a})
}

func (c *conn) parcel(m stanza, t target, fx effects) parcel {
	return parcel{sender: c.dev, id: m.id, typ: text(&t.enc, "type"), data: content(t.enc), effects: fx}
}

// deliver hands the recipient's phone its ciphertext and returns what it answers. A number that is not on
// WhatsApp, and a stanza without a ciphertext for the phone, answer nothing.
func (c *conn) deliver(ctx context.Context, m stanza, fx effects) reply {
	for _, t := range m.targets {
		if digits, ok := digitsOf(t.jid); !ok || digits != m.digits || t.jid.Device != 0 {
			continue
		}
		p := c.s.phone(m.digits)
		if !p.exists() {
			break
		}
		return p.receive(ctx, c.parcel(m, t, fx))
	}
	return reply{sender: c.dev}
}

// forward hands the remaining ciphertexts to the sender's own phone and to the companions they are for.
func (c *conn) forward(ctx context.Context, m stanza, n *node) {
	own := c.dev.account
	for _, t := range m.targets {
		digits, ok := digitsOf(t.jid)
		switch {
		case !ok || digits != m.digits && digits != own.digits:
		case t.jid.Device == 0 && digits == own.digits && digits != m.digits:
			if err := own.absorb(ctx, c.parcel(m, t, effects{})); err != nil {
				c.s.log.DebugContext(ctx, "own copy not read", "device", c.name(), "err", err)
			}
		case t.jid.Device != 0:
			if d := c.s.device(digits, t.jid.Device); d != nil && d != c.dev {
				d.push(c.relayed(m, n, t, digits == own.digits))
			}
		}
	}
}

// relayed is a message as a companion gets it.
func (c *conn) relayed(m stanza, n *node, t target, own bool) node {
	out := node{
		Tag: "message",
		Attrs: attrs{
			"from": c.dev.jid(), "id": m.id, "type": text(n, "type"), "t": time.Now().Unix(), "sender_pn": c.dev.account.pn(),
		},
		Content: asBytes([]node{t.enc}),
	}
	if own {
		out.Attrs["recipient"] = m.to.ToNonAD()
		out.Attrs["peer_recipient_pn"] = types.NewJID(m.digits, types.DefaultUserServer)
	}
	return out
}

// answer sends a phone's receipts to the device that sent the message, as the faults on it want.
func (s *Server) answer(r reply) {
	if len(r.nodes) == 0 || r.effects.withholdReceipts {
		return
	}
	s.after(r.effects.receiptDelay, func() { r.sender.push(r.nodes...) })
}

// onReceipt passes a companion's receipt on to the companion that sent the message.
func (c *conn) onReceipt(n *node) {
	to, ok := jidOf(n, "to")
	if !ok {
		return
	}
	digits, ok := digitsOf(to)
	if !ok || digits == c.dev.account.digits {
		return
	}
	d := c.s.device(digits, to.Device)
	if d == nil {
		return // a virtual phone asks for no receipts
	}
	out := node{Tag: "receipt", Attrs: attrs{"from": c.dev.jid(), "id": text(n, "id"), "t": time.Now().Unix()}}
	if typ := text(n, "type"); typ != "" && typ != "inactive" {
		out.Attrs["type"] = typ
	}
	if kids := n.GetChildren(); len(kids) > 0 {
		out.Content = asBytes(kids)
	}
	d.push(out)
}

// Write lets a virtual phone send a text to an account, or where account is empty to the only one that is paired: every
// companion of it gets its own ciphertext, now or at its next login. It returns the message's id. It fails with
// ErrBadNumber, ErrNoDevice, ErrWhichAccount, or where a companion has not uploaded its keys.
func (s *Server) Write(ctx context.Context, from, account, msg string) (string, error) {
	if err := checkDigits(from); err != nil {
		return "", err
	}
	devices, err := s.readers(account)
	if err != nil {
		return "", err
	}
	p := s.phone(from)
	raw := make([]byte, 9)
	_, _ = rand.Read(raw) // never fails
	id := "3A" + strings.ToUpper(hex.EncodeToString(raw))
	for _, d := range devices {
		typ, data, err := p.write(ctx, d, msg)
		if err != nil {
			return "", err
		}
		d.push(node{
			Tag: "message",
			Attrs: attrs{
				"from": p.lid, "sender_pn": p.pn(), "id": id, "type": "text", "t": time.Now().Unix(), "notify": "Phone " + from,
			},
			Content: []node{{Tag: "enc", Attrs: attrs{"v": "2", "type": typ}, Content: data}},
		})
	}
	s.disk.touch()
	return id, nil
}

// readers are the companions that get what is written to an account.
func (s *Server) readers(account string) ([]*device, error) {
	if account != "" {
		if err := checkDigits(account); err != nil {
			return nil, err
		}
		devices := s.companions(account)
		if len(devices) == 0 {
			return nil, fmt.Errorf("%s: %w", account, ErrNoDevice)
		}
		return devices, nil
	}
	devices := s.allDevices()
	switch {
	case len(devices) == 0:
		return nil, ErrNoDevice
	case devices[0].account != devices[len(devices)-1].account: // they are in the order of accounts
		return nil, ErrWhichAccount
	}
	return devices, nil
}
