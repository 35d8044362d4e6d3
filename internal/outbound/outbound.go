// Package outbound is the one HTTP client with which wabek speaks to hosts that its users name.
//
// In: a request for a URL that somebody else chose. Out: the answer as it stands, a redirect included.
// On failure: an *Error of one of five kinds, in which neither the URL's path nor its query or password stands.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // an image from scratch has no certificates
)

// Options say whom the client may speak to and for how long. Zero values stand for the defaults given.
type Options struct {
	// Networks may be reached although they are private, or special in another way; on any port and by plain http too.
	Networks []netip.Prefix
	// Hosts are names that may be reached wherever they lead, on any port and by plain http too. Exact names, in ASCII.
	Hosts []string
	// PlainHTTP allows http beside https to everyone else as well, on the ports 80 and 8080 beside 443 and 8443.
	PlainHTTP bool

	Roots          *x509.CertPool // who may sign certificates (the system's, or else Mozilla's list)
	Resolver       *net.Resolver  // who resolves names (the system's)
	ConnectTimeout time.Duration  // resolving and connecting (5 s)
	TLSTimeout     time.Duration  // the TLS handshake (5 s)
	Timeout        time.Duration  // all of it, the reading of the answer included (15 s)
	MaxBody        int64          // bytes of an answer's body (1 MiB)
	UserAgent      string         // ("wabek")
}

const (
	maxHeader   = 32 << 10         // bytes of an answer's headers
	maxDrain    = 16 << 10         // bytes read of a body that nobody wants, so that the connection can be used again
	maxIdle     = 256              // connections kept open, all hosts together
	maxIdleHost = 16               // and to one host
	idleTimeout = 30 * time.Second // short: a name's new address counts soon
)

func (o Options) withDefaults() Options {
	set(&o.ConnectTimeout, 5*time.Second)
	set(&o.TLSTimeout, 5*time.Second)
	set(&o.Timeout, 15*time.Second)
	set(&o.MaxBody, 1<<20)
	set(&o.UserAgent, "wabek")
	return o
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Client speaks to hosts that were named by somebody else. It uses no proxy, follows no redirect, keeps no cookie and
// unpacks nothing. Its methods may be called from many goroutines.
type Client struct {
	o      Options
	rules  rules
	secure *http.Transport // https
	plain  *http.Transport // http
}

// New makes a Client.
func New(o Options) *Client {
	o = o.withDefaults()
	c := &Client{o: o, rules: newRules(o)}
	c.secure, c.plain = c.transport(false), c.transport(true)
	return c
}

// Close closes the connections that are idle. Requests under way go on.
func (c *Client) Close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

func (c *Client) transport(plain bool) *http.Transport {
	return &http.Transport{
		Proxy: nil, // the environment has no say: a proxy would resolve the name, and nobody would have checked the address
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.dial(ctx, network, addr, plain)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.o.Roots},
		TLSHandshakeTimeout:    c.o.TLSTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what comes packed stays packed, so that the limit of its size holds
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdleHost,
		IdleConnTimeout:        idleTimeout,
		// A host that went away without a word: HTTP/2 would put one request after another on its connection.
		HTTP2: &http.HTTP2Config{SendPingTimeout: c.o.Timeout, PingTimeout: c.o.ConnectTimeout},
	}
}

// Request is what is asked of a host.
type Request struct {
	Method string // "" for POST
	URL    string // may hold a user and a password, for basic authentication
	Header http.Header
	Body   []byte
	// DropAnswer says that the body of the answer isn't wanted, however long it is.
	DropAnswer bool
}

// Response is what a host answered, whatever its status.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // nil where Request.DropAnswer
}

// Do sends a request and reads the whole answer. A redirect is an answer like any other. Every error is an *Error, and
// wraps ErrURL, ErrBlocked, ErrTimeout, ErrTooLarge or ErrRefused; where the context ended, its error too.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	u, err := c.CheckURL(r.URL)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(bounded, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, &Error{Kind: ErrURL, Detail: "method or URL"} // the cause would quote it
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.o.UserAgent)
	}
	if user := u.User; user != nil && req.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	transport := c.secure
	if u.Scheme == "http" {
		transport = c.plain
	}
	resp, err := transport.RoundTrip(req) // not http.Client: its errors quote the URL
	if err != nil {
		return nil, failure(ctx, u.Host, err)
	}
	defer resp.Body.Close()
	out := &Response{Status: resp.StatusCode, Header: resp.Header}
	if r.DropAnswer {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // the status has said everything
		return out, nil
	}
	out.Body, err = io.ReadAll(io.LimitReader(resp.Body, c.o.MaxBody+1))
	switch {
	case err != nil:
		return nil, failure(ctx, u.Host, err)
	case int64(len(out.Body)) > c.o.MaxBody:
		return nil, &Error{Kind: ErrTooLarge, Host: u.Host, Detail: fmt.Sprintf("the answer has more than %d bytes", c.o.MaxBody)}
	}
	return out, nil
}

// dial connects to an address that a name leads to, or to none: each is looked at right before it is connected to, so
// a name that leads elsewhere the second time gets nowhere by it.
func (c *Client) dial(ctx context.Context, network, addr string, plain bool) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &blocked{"not a host and a port"}
	}
	d := net.Dialer{
		Timeout:  c.o.ConnectTimeout,
		Resolver: c.o.Resolver,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return &blocked{"not TCP"}
			}
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return &blocked{"not an IP address"}
			}
			return c.rules.permit(host, to, plain)
		},
	}
	return d.DialContext(ctx, network, addr)
}

// failure tells an error of the network in words that quote nothing of the request. ctx is the caller's.
func failure(ctx context.Context, host string, err error) *Error {
	e := &Error{Kind: ErrRefused, Host: host, Detail: describe(err), ctx: ctx.Err()}
	var (
		b       *blocked
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &b):
		e.Kind = ErrBlocked
	case errors.As(err, &timeout) && timeout.Timeout(): // also the error of a context whose time is over
		e.Kind = ErrTimeout
	case e.ctx != nil:
		e.Detail = "given up"
	case strings.Contains(err.Error(), "response headers exceeded"): // net/http has no type for it
		e.Kind = ErrTooLarge
	}
	return e
}
