package whatsim

import (
	"go.mau.fi/whatsmeow/types"
)

// onIQ answers a client's query. An empty result satisfies everything that is not named here: passive, w:p
// (keep-alive), privacy tokens.
func (c *conn) onIQ(n *node) {
	space, child := text(n, "xmlns"), firstChild(n)
	switch {
	case c.dev == nil:
		c.result(n) // a connection that pairs has nothing to ask for
	case space == "encrypt" && child == "count":
		c.result(n, node{Tag: "count", Attrs: attrs{"value": c.dev.preKeyCount()}})
	case space == "encrypt" && child == "key":
		c.result(n, node{Tag: "list", Content: c.bundles(n.GetChildByTag("key"))})
	case space == "encrypt" && text(n, "type") == "set":
		if err := c.dev.upload(n); err != nil {
			c.refuse(n, "400", "bad-request")
			return
		}
		c.s.disk.touch()
		c.result(n)
	case space == "usync":
		c.result(n, c.s.usync(n))
	case space == "passive" && child == "active":
		c.result(n)
		if waiting := c.dev.activate(c); len(waiting) > 0 {
			c.send(waiting...)
		}
	case space == "md" && child == "remove-companion-device":
		c.s.forget(c.dev)
		c.result(n)
	default:
		c.result(n)
	}
}

func (c *conn) refuse(n *node, code, msg string) {
	c.send(node{
		Tag: "iq", Attrs: attrs{"from": types.ServerJID, "type": "error", "id": n.Attrs["id"]},
		Content: []node{{Tag: "error", Attrs: attrs{"code": code, "text": msg}}},
	})
}

// bundles answers a prekey query: per device a bundle with a one-time prekey of its own, or an error.
func (c *conn) bundles(query node) []node {
	out := []node{}
	for _, u := range query.GetChildren() {
		jid, ok := jidOf(&u, "jid")
		if !ok {
			continue
		}
		answer := node{Tag: "user", Attrs: attrs{"jid": jid}}
		if b := c.s.bundle(jid); b != nil {
			answer.Content = b
		} else {
			answer.Content = []node{{Tag: "error", Attrs: attrs{"code": "406", "text": "not-acceptable"}}}
		}
		out = append(out, answer)
	}
	c.s.disk.touch()
	return out
}

// bundle returns the keys of a phone (device 0) or a companion; nil if there is no such device.
func (s *Server) bundle(jid types.JID) []node {
	digits, ok := digitsOf(jid)
	if !ok {
		return nil
	}
	if jid.Device != 0 {
		if d := s.device(digits, jid.Device); d != nil {
			return d.bundle()
		}
		return nil
	}
	p := s.phone(digits)
	if !p.exists() {
		return nil
	}
	return p.fetchBundle()
}
