// Package dnstest is a DNS server on loopback, for tests of what happens when a name leads somewhere else.
//
// In: names and their addresses, which may change at any time. Out: a resolver that asks this server alone.
// On failure: the test fails; an unknown name doesn't exist.
package dnstest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// Server answers for the names that it was told. Its answers may not be kept (TTL 0).
type Server struct {
	conn net.PacketConn

	mu    sync.Mutex
	names map[string][]netip.Addr
	asked map[string]int
}

// Start starts a server, which ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(tb.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("dns server: %v", err)
	}
	s := &Server{conn: conn, names: map[string][]netip.Addr{}, asked: map[string]int{}}
	var done sync.WaitGroup
	done.Go(s.serve)
	tb.Cleanup(func() {
		_ = conn.Close()
		done.Wait()
	})
	return s
}

// Set says where a name leads from now on.
func (s *Server) Set(name string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = nil
	for _, a := range addrs {
		s.names[name] = append(s.names[name], netip.MustParseAddr(a))
	}
}

// Asked counts the questions for a name's IPv4 addresses.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

// Resolver asks this server and nobody else.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
		},
	}
}

func (s *Server) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.answer(buf[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

// The parts of DNS (RFC 1035, RFC 3596) that are needed here.
const (
	typeA     = 1
	typeAAAA  = 28
	header    = 12
	noSuch    = 3 // NXDOMAIN
	isAnswer  = 0x8400
	toName    = 0xc00c // a pointer to the question's name
	classInet = 1
)

func (s *Server) answer(query []byte) []byte {
	if len(query) < header || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil
	}
	var labels []string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	end := at + 5 // the root, type and class
	if end > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	name := strings.ToLower(strings.Join(labels, "."))

	s.mu.Lock()
	addrs, known := s.names[name]
	if kind == typeA {
		s.asked[name]++
	}
	s.mu.Unlock()

	out := append([]byte(nil), query[:end]...)
	flags := uint16(isAnswer)
	if !known {
		flags |= noSuch
	}
	var count uint16
	for _, a := range addrs {
		data := a.AsSlice()
		if (kind == typeA) != (len(data) == 4) || kind != typeA && kind != typeAAAA {
			continue
		}
		count++
		out = binary.BigEndian.AppendUint16(out, toName)
		out = binary.BigEndian.AppendUint16(out, kind)
		out = binary.BigEndian.AppendUint16(out, classInet)
		out = binary.BigEndian.AppendUint32(out, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(len(data))) //nolint:gosec // 4 or 16
		out = append(out, data...)
	}
	binary.BigEndian.PutUint16(out[2:], flags)
	binary.BigEndian.PutUint16(out[6:], count)
	binary.BigEndian.PutUint32(out[8:], 0)
	return out
}
