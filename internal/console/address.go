package console

import (
	"net/http"
	"net/netip"
	"strings"
)

// base is the address under which a browser reached this server, for what pages show.
//
// Without a public URL it comes from the header Host, which the client may have made up: it is shown to that client
// alone, in a page that nothing stores, and never decides what is allowed. A host with other characters than names,
// addresses and ports have isn't shown, since people paste the snippets into a shell.
func (c *Console) base(r *http.Request) string {
	switch {
	case c.public != "":
		return c.public
	case !usableHost(r.Host):
		return c.o.URL
	case c.overTLS(r):
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// overTLS says whether the browser reached this server by https, as far as can be known. What a proxy, or anybody, says
// in X-Forwarded-Proto is believed: it decides only what the one who said it is shown, and whether that one's cookie is
// sent over http too.
func (c *Console) overTLS(r *http.Request) bool {
	if r.TLS != nil || c.host != "" && strings.EqualFold(r.Host, c.host) && strings.HasPrefix(c.public, "https:") {
		return true
	}
	forwarded := strings.Split(r.Header.Get("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(forwarded[len(forwarded)-1]), "https")
}

// usableHost says whether a text looks like a host and perhaps a port.
func usableHost(s string) bool {
	const longest = 261 // a name of 253, a colon, a port; also [an address with its zone]
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return s != "" && len(s) <= longest
}

// connection is the address at the other end of the connection.
func connection(r *http.Request) netip.Addr {
	port, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return port.Addr().Unmap()
}
