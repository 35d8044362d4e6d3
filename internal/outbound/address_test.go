package outbound_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/outbound"
)

// Each range by its first and last address, and what lies right beside it where that is public.
func TestPermit_EveryRangeThatIsNoPublicHost(t *testing.T) {
	t.Parallel()
	c := outbound.New(outbound.Options{})
	for name, row := range map[string]struct {
		why     string
		blocked []string
		beside  []string
	}{
		"this network": {"unspecified", []string{"0.0.0.0", "0.0.0.1", "0.255.255.255"}, []string{"1.0.0.0"}},
		"private 10":   {"private", []string{"10.0.0.0", "10.255.255.255"}, []string{"9.255.255.255", "11.0.0.0"}},
		"CGNAT":        {"shared by carriers (CGNAT)", []string{"100.64.0.0", "100.127.255.255", "100.100.100.200"}, []string{"100.63.255.255", "100.128.0.0"}},
		"loopback":     {"loopback", []string{"127.0.0.0", "127.0.0.1", "127.255.255.255"}, []string{"126.255.255.255", "128.0.0.0"}},
		"link-local":   {"link-local", []string{"169.254.0.0", "169.254.255.255"}, []string{"169.253.255.255", "169.255.0.0"}},
		"metadata of AWS, Google, Azure and most others": {"link-local", []string{"169.254.169.254", "169.254.170.2"}, nil},
		"metadata of Azure's host":                       {"cloud metadata", []string{"168.63.129.16"}, []string{"168.63.129.15", "168.63.129.17"}},
		"metadata of Oracle":                             {"protocol assignment", []string{"192.0.0.192"}, nil},
		"private 172":                                    {"private", []string{"172.16.0.0", "172.31.255.255"}, []string{"172.15.255.255", "172.32.0.0"}},
		"protocol assignments":                           {"protocol assignment", []string{"192.0.0.0", "192.0.0.255"}, []string{"191.255.255.255", "192.0.1.0"}},
		"documentation 1":                                {"documentation", []string{"192.0.2.0", "192.0.2.255"}, []string{"192.0.3.0"}},
		"documentation 2":                                {"documentation", []string{"198.51.100.0", "198.51.100.255"}, []string{"198.51.99.255", "198.51.101.0"}},
		"documentation 3":                                {"documentation", []string{"203.0.113.0", "203.0.113.255"}, []string{"203.0.112.255", "203.0.114.0"}},
		"relay of 6to4":                                  {"relay of 6to4", []string{"192.88.99.0", "192.88.99.255"}, []string{"192.88.98.255", "192.88.100.0"}},
		"private 192":                                    {"private", []string{"192.168.0.0", "192.168.255.255"}, []string{"192.167.255.255", "192.169.0.0"}},
		"benchmarking":                                   {"benchmarking", []string{"198.18.0.0", "198.19.255.255"}, []string{"198.17.255.255", "198.20.0.0"}},
		"multicast":                                      {"multicast", []string{"224.0.0.0", "239.255.255.255"}, []string{"223.255.255.255"}},
		"reserved":                                       {"reserved", []string{"240.0.0.0", "255.255.255.254"}, nil},
		"broadcast":                                      {"broadcast", []string{"255.255.255.255"}, nil},

		"unspecified of IPv6":            {"unspecified", []string{"::"}, nil},
		"loopback of IPv6":               {"loopback", []string{"::1"}, nil},
		"IPv4-compatible":                {"IPv4-compatible", []string{"::2", "::127.0.0.1", "::10.0.0.1", "::8.8.8.8", "::ffff:ffff"}, nil},
		"IPv4-mapped":                    {"IPv4-mapped", []string{"::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"}, nil},
		"IPv4-translated":                {"no public one", []string{"::ffff:0:127.0.0.1"}, nil},
		"NAT64":                          {"translated (NAT64)", []string{"64:ff9b::", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b::ffff:ffff"}, nil},
		"NAT64 of a local network":       {"translated (NAT64)", []string{"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"}, nil},
		"discarded":                      {"discarded", []string{"100::", "100::ffff:ffff:ffff:ffff"}, nil},
		"Teredo":                         {"tunnelled (Teredo)", []string{"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"}, nil},
		"benchmarking of IPv6":           {"benchmarking", []string{"2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"}, nil},
		"protocol assignments of IPv6":   {"protocol assignment", []string{"2001:1::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"}, []string{"2001:200::"}},
		"documentation of IPv6":          {"documentation", []string{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"}, []string{"2001:db7:ffff::1", "2001:db9::"}},
		"documentation of IPv6, new":     {"documentation", []string{"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"}, []string{"3ffe::1", "3fff:1000::"}},
		"6to4":                           {"tunnelled (6to4)", []string{"2002::", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, []string{"2003::"}},
		"segment routing":                {"no public one", []string{"5f00::1"}, nil},
		"unique local":                   {"unique local", []string{"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, nil},
		"metadata of AWS by IPv6":        {"unique local", []string{"fd00:ec2::254", "fd00:ec2::23"}, nil},
		"metadata of Google by IPv6":     {"unique local", []string{"fd20:ce::254"}, nil},
		"link-local of IPv6":             {"link-local", []string{"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, nil},
		"site-local of IPv6":             {"site-local", []string{"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, nil},
		"multicast of IPv6":              {"multicast", []string{"ff00::", "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, nil},
		"what nobody has been given yet": {"no public one", []string{"1fff::1", "4000::", "8000::1", "fe00::1"}, []string{"2000::", "2600::1", "2a00:1450:4001::1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, a := range row.blocked {
				err := c.Permit("example.com", netip.AddrPortFrom(netip.MustParseAddr(a), 443), false)
				require.EqualError(t, err, "the address is "+row.why, a)
			}
			for _, a := range row.beside {
				require.NoError(t, c.Permit("example.com", netip.AddrPortFrom(netip.MustParseAddr(a), 443), false), a)
			}
		})
	}
}

func TestPermit_AZoneIsOfALocalLink(t *testing.T) {
	t.Parallel()
	c := outbound.New(outbound.Options{Networks: prefixes("fe80::/10", "2000::/3"), Hosts: []string{"example.com"}})
	for _, a := range []string{"fe80::1%eth0", "2600::1%1"} {
		require.Error(t, c.Permit("example.com", netip.AddrPortFrom(netip.MustParseAddr(a), 443), false), a)
	}
	require.NoError(t, c.Permit("example.org", netip.MustParseAddrPort("[fe80::1]:443"), false))
}

func TestPermit_WhatConfigurationAllows(t *testing.T) {
	t.Parallel()
	c := outbound.New(outbound.Options{
		Networks: prefixes("10.1.0.0/16", "fd12::/16", "64:ff9b::/96", "2002::/16", "2001::/32", "::ffff:0:0/96"),
		Hosts:    []string{"Inside.Example."},
	})
	for address, allowed := range map[string]bool{
		"10.1.2.3:443":  true,
		"10.2.0.1:443":  false,
		"127.0.0.1:443": false,
		// The network is the operator's own, so its ports are too.
		"10.1.2.3:6379": true,
		"[fd12::1]:81":  true,
		"[fd13::1]:443": false,
		// An address that stands for another one is as good as that.
		"[64:ff9b::8.8.8.8]:443":           true,
		"[64:ff9b::10.1.0.1]:443":          true,
		"[64:ff9b::10.2.0.1]:443":          false,
		"[64:ff9b::7f00:1]:443":            false,
		"[2002:808:808::1]:443":            true,
		"[2002:7f00:1::1]:443":             false,
		"[2001:0:1::80ff:fffe]:443":        false, // 127.0.0.1, as Teredo writes it
		"[2001:0:1::f7f7:f7f7]:443":        true,  // 8.8.8.8
		"[::ffff:169.254.169.254]:443":     false,
		"[::ffff:10.1.0.1]:443":            true,
		"[64:ff9b:1::10.1.0.1]:443":        false, // not named
		"[::127.0.0.1]:443":                false,
		"[2001:2:0:1::1]:443":              false, // next to Teredo
		"[2001:db8:ffff:ffff::7f00:1]:443": false,
	} {
		err := c.Permit("example.com", netip.MustParseAddrPort(address), false)
		require.Equal(t, allowed, err == nil, "%s: %v", address, err)
	}
	require.NoError(t, c.Permit("inside.example", netip.MustParseAddrPort("127.0.0.1:8000"), true), "a named host, wherever it leads")
	require.Error(t, c.Permit("inside.example.com", netip.MustParseAddrPort("127.0.0.1:443"), false))
}

func TestPermit_PortsAndPlainHTTP(t *testing.T) {
	t.Parallel()
	const public = "93.184.215.14"
	for name, row := range map[string]struct {
		o     outbound.Options
		plain bool
		ports map[uint16]bool
	}{
		"by default":                  {outbound.Options{}, false, map[uint16]bool{443: true, 8443: true, 80: false, 8080: false, 22: false, 25: false, 6379: false}},
		"plain http by default":       {outbound.Options{}, true, map[uint16]bool{443: false, 80: false, 8080: false}},
		"plain http where it's let":   {outbound.Options{PlainHTTP: true}, true, map[uint16]bool{80: true, 8080: true, 443: true, 25: false}},
		"plain http of a host":        {outbound.Options{Hosts: []string{"example.com"}}, true, map[uint16]bool{80: true, 25: true}},
		"plain http of a network":     {outbound.Options{Networks: prefixes(public + "/32")}, true, map[uint16]bool{80: true, 25: true}},
		"another network's say isn't": {outbound.Options{Networks: prefixes("10.0.0.0/8")}, true, map[uint16]bool{80: false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := outbound.New(row.o)
			for port, allowed := range row.ports {
				err := c.Permit("example.com", netip.AddrPortFrom(netip.MustParseAddr(public), port), row.plain)
				require.Equal(t, allowed, err == nil, "%d: %v", port, err)
			}
		})
	}
}

// Whatever an IPv6 address is made of, an address of loopback, a private network or metadata never shines through.
func TestPermit_NoDisguiseHelps(t *testing.T) {
	t.Parallel()
	c := outbound.New(outbound.Options{})
	inner := rapid.SampledFrom([]string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0"})
	rapid.Check(t, func(t *rapid.T) {
		v4 := netip.MustParseAddr(inner.Draw(t, "address")).As4()
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "rest"))
		switch rapid.IntRange(0, 4).Draw(t, "disguise") {
		case 0: // mapped
			b = [16]byte{10: 0xff, 11: 0xff}
			copy(b[12:], v4[:])
		case 1: // compatible
			b = [16]byte{}
			copy(b[12:], v4[:])
		case 2: // NAT64
			b = [16]byte{1: 0x64, 2: 0xff, 3: 0x9b}
			copy(b[12:], v4[:])
		case 3: // 6to4
			b[0], b[1] = 0x20, 0x02
			copy(b[2:6], v4[:])
		case 4: // Teredo
			copy(b[:4], []byte{0x20, 0x01, 0, 0})
			for i, x := range v4 {
				b[12+i] = ^x
			}
		}
		require.Error(t, c.Permit("example.com", netip.AddrPortFrom(netip.AddrFrom16(b), 443), false))
	})
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}
