package whatsim

import (
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/proto/waWa6"
)

// login checks who the client is, by number, device and noise key, and answers <success> or <failure>. An error
// means that the connection is being closed.
func (c *conn) login(p *waWa6.ClientPayload) error {
	s := c.s
	digits := strconv.FormatUint(p.GetUsername(), 10)
	d := s.device(digits, uint16(min(p.GetDevice(), 1<<16-1)))
	if d == nil || d.noise != c.noise {
		c.finish(failure(Fault{Code: 401}), endPatience)
		return fmt.Errorf("login of %s:%d: unknown device", short(digits), p.GetDevice())
	}
	if f, ok := s.faults.take(kindLoginFailure, digits, ""); ok {
		c.finish(failure(f), endPatience)
		return fmt.Errorf("login of %s:%d: fault %d", short(digits), p.GetDevice(), f.Code)
	}
	c.dev = d // before attach, which shows c to others
	old, removed := d.attach(c)
	if removed {
		c.finish(failure(Fault{Code: 401}), endPatience)
		return fmt.Errorf("login of %s:%d: device removed", short(digits), p.GetDevice())
	}
	if old != nil {
		old.replace()
	}
	s.log.Debug("logged in", "device", c.name(), "replaced", old != nil)
	// t sets the client's clock, lid must be the stored one.
	c.send(node{Tag: "success", Attrs: attrs{"t": time.Now().Unix(), "lid": d.jid()}})
	if f, ok := s.faults.take(kindStreamError, digits, ""); ok {
		s.streamError(d, c, f.Code)
	}
	return nil
}

// failure refuses a login. A temporary ban (402) tells its cause and for how many seconds.
func failure(f Fault) node {
	n := node{Tag: "failure", Attrs: attrs{"reason": strconv.Itoa(f.Code), "location": "sim"}}
	if f.Code == 402 {
		seconds := 3600
		if f.MS > 0 {
			seconds = (f.MS + 999) / 1000
		}
		n.Attrs["code"], n.Attrs["expire"] = "101", strconv.Itoa(seconds)
	}
	return n
}

// streamError ends a logged-in connection as WhatsApp does for that code.
func (s *Server) streamError(d *device, c *conn, code int) {
	if code == 401 {
		s.forget(d)
	}
	d.detach(c)
	switch code {
	case 515:
		c.restart()
	case 0:
		c.finish(replacedError(), endPatience)
	case 401:
		c.finish(node{
			Tag: "stream:error", Attrs: attrs{"code": "401"},
			Content: []node{{Tag: "conflict", Attrs: attrs{"type": "device_removed"}}},
		}, endPatience)
	default:
		c.finish(node{Tag: "stream:error", Attrs: attrs{"code": strconv.Itoa(code)}}, endPatience)
	}
}

// forget removes a device for good. Its number is never given out again.
func (s *Server) forget(d *device) {
	s.dirMu.Lock()
	if a := s.accounts[d.account.digits]; a != nil && a.devices[d.number] == d {
		delete(a.devices, d.number)
	}
	s.dirMu.Unlock()
	d.mu.Lock()
	d.removed = true
	d.mu.Unlock()
	if err := s.saveAccounts(); err != nil {
		s.log.Error("removed device not saved", "err", err)
	}
	s.disk.touch()
}
