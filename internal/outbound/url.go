package outbound

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const maxURL = 2048 // characters

// CheckURL reads a URL and says what is wrong with it as far as that can be known without resolving its name. Where the
// name leads is looked at each time that Do connects. Errors wrap ErrURL or ErrBlocked.
func (c *Client) CheckURL(raw string) (*url.URL, error) {
	malformed := func(what string) (*url.URL, error) { return nil, &Error{Kind: ErrURL, Detail: what} }
	if len(raw) > maxURL {
		return malformed("longer than " + strconv.Itoa(maxURL) + " characters")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return malformed("not a URL") // the cause would quote it
	case u.Scheme != "https" && u.Scheme != "http":
		return malformed("it must begin with https://")
	case u.Opaque != "" || u.Hostname() == "":
		return malformed("it names no host")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return malformed("a fragment isn't sent to anyone")
	}
	plain := u.Scheme == "http"
	port := uint16(443)
	if plain {
		port = 80
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return malformed("the port isn't a number from 1 to 65535")
		}
		port = uint16(n)
	} else if strings.HasSuffix(u.Host, ":") {
		return malformed("a colon without a port")
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	if err != nil {
		// A name. It may lead into a network where everything is allowed, so without one of those it is decided here.
		addr = netip.Addr{}
	}
	if err := c.rules.permitURL(host, netip.AddrPortFrom(addr, port), plain); err != nil {
		return nil, &Error{Kind: ErrBlocked, Host: u.Host, Detail: err.Error()}
	}
	return u, nil
}

// permitURL is permit for a URL, whose address isn't known where it is invalid.
func (r *rules) permitURL(host string, to netip.AddrPort, plain bool) error {
	if to.Addr().IsValid() {
		return r.permit(host, to, plain)
	}
	if len(r.networks) > 0 {
		return nil
	}
	public := netip.AddrFrom4([4]byte{1, 1, 1, 1}) // stands for an address that is no reason to refuse anything
	return r.permit(host, netip.AddrPortFrom(public, to.Port()), plain)
}
