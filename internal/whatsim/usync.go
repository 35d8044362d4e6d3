package whatsim

import (
	"strings"
)

// usync answers the three queries of a client: the LID of a number, the devices of a LID, and whether numbers
// are on WhatsApp.
func (s *Server) usync(n *node) node {
	query := n.GetChildByTag("usync", "query")
	want := map[string]bool{}
	for _, k := range query.GetChildren() {
		want[k.Tag] = true
	}
	list := n.GetChildByTag("usync", "list")
	users := []node{}
	for _, u := range list.GetChildren() {
		if answer, ok := s.usyncUser(u, want); ok {
			users = append(users, answer)
		}
	}
	asked := n.GetChildByTag("usync")
	return node{
		Tag:     "usync",
		Attrs:   attrs{"sid": text(&asked, "sid"), "index": "0", "last": "true", "mode": text(&asked, "mode"), "context": text(&asked, "context")},
		Content: []node{{Tag: "list", Content: users}},
	}
}

// usyncUser answers for one user, who is named by a JID or, in the contact query, by a number. A user node needs
// some JID even when the answer is no: clients skip it otherwise.
func (s *Server) usyncUser(u node, want map[string]bool) (node, bool) {
	var digits, contact string
	jid, named := jidOf(&u, "jid")
	var valid bool
	if named {
		digits, valid = digitsOf(jid)
	} else {
		contact = string(content(u.GetChildByTag("contact")))
		digits, _, _ = strings.Cut(strings.TrimPrefix(contact, "+"), "@")
		valid = checkDigits(digits) == nil
		jid.User, jid.Server = digits, "s.whatsapp.net"
	}
	if !valid && named {
		return node{}, false
	}
	out := node{Tag: "user", Attrs: attrs{"jid": jid}}
	var p *phone
	if valid {
		if q := s.phone(digits); q.exists() {
			p = q
		}
	}
	var kids []node
	if want["contact"] {
		c := node{Tag: "contact", Attrs: attrs{"type": "out"}, Content: []byte(contact)}
		if p != nil {
			c.Attrs["type"] = "in"
			out.Attrs["jid"], out.Attrs["pn_jid"] = p.lid, p.pn()
		}
		kids = append(kids, c)
	}
	if want["devices"] && p != nil {
		kids = append(kids, node{Tag: "devices", Content: []node{{Tag: "device-list", Content: s.deviceList(digits)}}})
	}
	if want["lid"] && p != nil {
		kids = append(kids, node{Tag: "lid", Attrs: attrs{"val": p.lid}})
	}
	out.Content = kids
	return out, true
}

// deviceList names the phone itself, device 0, and its companions.
func (s *Server) deviceList(digits string) []node {
	out := []node{{Tag: "device", Attrs: attrs{"id": 0}}}
	for _, d := range s.companions(digits) {
		out = append(out, node{Tag: "device", Attrs: attrs{"id": int(d.number)}})
	}
	return out
}
