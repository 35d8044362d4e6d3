package outbound

import (
	"net/netip"
	"slices"
	"strings"
)

// special is a block of addresses that aren't hosts of the public Internet.
type special struct {
	block netip.Prefix
	why   string
}

// specials is the table, after IANA's registries of special-purpose addresses (RFC 6890 and its updates). The first row
// that fits names the reason. For IPv6 only 2000::/3 is given out for hosts, so what lies outside needs no row.
func specials() []special {
	rows := []struct{ why, blocks string }{
		{"unspecified", "0.0.0.0/8 ::/128"},                              // RFC 1122, RFC 4291
		{"loopback", "127.0.0.0/8 ::1/128"},                              // RFC 1122, RFC 4291
		{"private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16"},           // RFC 1918
		{"shared by carriers (CGNAT)", "100.64.0.0/10"},                  // RFC 6598
		{"link-local", "169.254.0.0/16 fe80::/10"},                       // RFC 3927, RFC 4291
		{"cloud metadata", "168.63.129.16/32"},                           // Azure; the others' lie in blocks of this table
		{"protocol assignment", "192.0.0.0/24"},                          // RFC 6890
		{"documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24"}, // RFC 5737
		{"documentation", "2001:db8::/32 3fff::/20"},                     // RFC 3849, RFC 9637
		{"relay of 6to4", "192.88.99.0/24"},                              // RFC 7526
		{"benchmarking", "198.18.0.0/15 2001:2::/48"},                    // RFC 2544, RFC 5180
		{"multicast", "224.0.0.0/4 ff00::/8"},                            // RFC 1112, RFC 4291
		{"broadcast", "255.255.255.255/32"},                              // RFC 919
		{"reserved", "240.0.0.0/4"},                                      // RFC 1112
		{"IPv4-mapped", "::ffff:0:0/96"},                                 // RFC 4291
		{"IPv4-compatible", "::/96"},                                     // RFC 4291
		{"translated (NAT64)", "64:ff9b::/96 64:ff9b:1::/48"},            // RFC 6052, RFC 8215
		{"discarded", "100::/64"},                                        // RFC 6666
		{"tunnelled (Teredo)", "2001::/32"},                              // RFC 4380
		{"protocol assignment", "2001::/23"},                             // RFC 2928
		{"tunnelled (6to4)", "2002::/16"},                                // RFC 3056
		{"unique local", "fc00::/7"},                                     // RFC 4193
		{"site-local", "fec0::/10"},                                      // RFC 3879
	}
	var table []special
	for _, row := range rows {
		for block := range strings.FieldsSeq(row.blocks) {
			table = append(table, special{netip.MustParsePrefix(block), row.why})
		}
	}
	return table
}

// rules say which targets may be spoken to.
type rules struct {
	specials []special
	global   netip.Prefix // where IPv6 hosts are
	networks []netip.Prefix
	hosts    map[string]bool
	plain    bool
	ports    []uint16
}

func newRules(o Options) rules {
	r := rules{
		specials: specials(), global: netip.MustParsePrefix("2000::/3"),
		networks: slices.Clone(o.Networks), hosts: map[string]bool{},
		plain: o.PlainHTTP, ports: []uint16{443, 8443},
	}
	if o.PlainHTTP {
		r.ports = append(r.ports, 80, 8080)
	}
	for _, h := range o.Hosts {
		r.hosts[canonical(h)] = true
	}
	return r
}

// canonical is how a name is compared.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

func (r *rules) named(host string) bool { return r.hosts[canonical(host)] }

// permit says whether a connection may be made to an address that a host's name leads to, or that is the host itself.
func (r *rules) permit(host string, to netip.AddrPort, plain bool) error {
	addr := to.Addr()
	if addr.Zone() != "" {
		return &blocked{"an address with a zone is of a local link"}
	}
	if r.named(host) || r.allowed(addr) {
		return nil
	}
	if why := r.special(addr); why != "" {
		return &blocked{"the address is " + why}
	}
	if plain && !r.plain {
		return &blocked{"plain http isn't allowed to this host"}
	}
	if !slices.Contains(r.ports, to.Port()) {
		return &blocked{"the port isn't one of those allowed"}
	}
	return nil
}

// allowed says that configuration names the address's network. Of an address that stands for an IPv4 address, that one
// must be allowed as well: whoever allows NAT64 doesn't mean a private network behind it.
func (r *rules) allowed(addr netip.Addr) bool {
	if !slices.ContainsFunc(r.networks, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return false
	}
	inner, ok := standsFor(addr)
	return !ok || r.special(inner) == "" || r.allowed(inner)
}

// special is why an address isn't a host of the public Internet, or "".
func (r *rules) special(addr netip.Addr) string {
	for _, s := range r.specials {
		if s.block.Contains(addr) {
			return s.why
		}
	}
	if addr.Is6() && !r.global.Contains(addr) {
		return "no public one"
	}
	return ""
}

// standsFor is the IPv4 address within an IPv6 address that is made from one: mapped, compatible, NAT64's well-known
// prefix (RFC 6052), 6to4 (RFC 3056) and Teredo (RFC 4380).
func standsFor(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	last := [4]byte(b[12:])
	switch {
	case addr.Is4In6(), [12]byte(b[:12]) == [12]byte{}, [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}:
		return netip.AddrFrom4(last), true
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01}:
		for i := range last {
			last[i] ^= 0xff // Teredo hides the client's address this way
		}
		return netip.AddrFrom4(last), true
	default:
		return netip.Addr{}, false
	}
}
