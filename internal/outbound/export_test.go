package outbound

import "net/netip"

// Permit is the rule by which addresses are judged when they are connected to.
func (c *Client) Permit(host string, to netip.AddrPort, plain bool) error {
	return c.rules.permit(host, to, plain)
}

// AllowPort adds a port to those that may be used everywhere.
func (c *Client) AllowPort(port uint16) { c.rules.ports = append(c.rules.ports, port) }
