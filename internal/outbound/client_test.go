package outbound_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/outbound"
	"wabek/internal/outbound/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "s3cr3t"

// receiver is an HTTP server on an address of loopback that counts what comes in.
type receiver struct {
	*httptest.Server
	hits atomic.Int64
}

func (r *receiver) port() string {
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	return port
}

func receive(t *testing.T, address string, h http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.hits.Add(1)
		h(w, q)
	}))
	_ = r.Listener.Close()
	r.Listener = listen(t, address)
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }

func client(t *testing.T, o outbound.Options) *outbound.Client {
	t.Helper()
	c := outbound.New(o)
	t.Cleanup(c.Close)
	return c
}

// local allows loopback.
func local() outbound.Options {
	return outbound.Options{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func get(t *testing.T, c *outbound.Client, url string) (*outbound.Response, error) {
	t.Helper()
	return c.Do(t.Context(), outbound.Request{URL: url, Method: http.MethodGet})
}

func TestDo_SendsWhatItIsGivenAndReadsTheAnswer(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	body := make(chan string, 1)
	r := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		body <- string(b)
		got <- q
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "no coffee")
	})
	resp, err := client(t, local()).Do(t.Context(), outbound.Request{
		URL:    strings.Replace(r.URL, "://", "://user:p%40ss@", 1) + "/hook?a=b",
		Header: http.Header{"webhook-id": {"1"}}, Body: []byte("hello"),
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, resp.Status)
	require.Equal(t, "no coffee", string(resp.Body))
	require.Equal(t, "7", resp.Header.Get("Retry-After"))
	require.Equal(t, "hello", <-body)
	q := <-got
	require.Equal(t, http.MethodPost, q.Method)
	require.Equal(t, "/hook?a=b", q.RequestURI)
	require.Equal(t, "1", q.Header.Get("Webhook-Id"))
	require.Equal(t, "wabek", q.UserAgent())
	user, password, _ := q.BasicAuth()
	require.Equal(t, "user p@ss", user+" "+password)
}

func TestDo_ARedirectIsAnAnswer(t *testing.T) {
	t.Parallel()
	inner := receive(t, "127.0.0.1:0", ok)
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, inner.URL, status) })
		resp, err := client(t, local()).Do(t.Context(), outbound.Request{URL: r.URL, Body: []byte("x")})
		require.NoError(t, err)
		require.Equal(t, status, resp.Status)
	}
	require.Zero(t, inner.hits.Load())
}

func TestDo_UsesNoProxyOfTheEnvironment(t *testing.T) { //nolint:paralleltest // the environment is everybody's
	proxy := receive(t, "127.0.0.1:0", ok)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	d := dnstest.Start(t)
	d.Set("receiver.test", "127.0.0.2") // for loopback itself Go uses no proxy anyway
	r := receive(t, "127.0.0.2:0", ok)
	o := local()
	o.Resolver = d.Resolver()
	_, err := get(t, client(t, o), "http://receiver.test:"+r.port())
	require.NoError(t, err)
	require.EqualValues(t, 1, r.hits.Load())
	require.Zero(t, proxy.hits.Load())
}

func TestDo_NothingInsideIsReachedHoweverItIsNamed(t *testing.T) {
	t.Parallel()
	inside := receive(t, "127.0.0.1:0", ok)
	d := dnstest.Start(t)
	d.Set("inside.test", "127.0.0.1")
	d.Set("both.test", "::1", "127.0.0.1")
	d.Set("mapped.test", "::ffff:127.0.0.1")
	c := client(t, outbound.Options{PlainHTTP: true, Resolver: d.Resolver()})
	c.AllowPort(uint16(inside.Listener.Addr().(*net.TCPAddr).Port)) // so that nothing but the address stands in the way
	for _, host := range []string{
		"inside.test", "INSIDE.test.", "both.test", "mapped.test", "localhost", "127.0.0.1", "127.0.0.2", "0.0.0.0",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[::1%25lo]",
	} {
		_, err := get(t, c, "http://"+host+":"+inside.port())
		require.ErrorIs(t, err, outbound.ErrBlocked, host)
	}
	// Spellings that some resolvers take for an address. Go's doesn't; whatever it made of them would be looked at.
	for _, host := range []string{"2130706433", "0x7f.1", "0177.0.0.1", "127.1"} {
		_, err := get(t, c, "http://"+host+":"+inside.port())
		require.Error(t, err, host)
	}
	require.Zero(t, inside.hits.Load())
}

func TestDo_ANameThatLeadsInsideTheSecondTimeGetsNowhere(t *testing.T) {
	t.Parallel()
	inside := receive(t, "127.0.0.1:0", ok)
	outside := receive(t, "127.0.0.2:"+inside.port(), ok) // the same port, so that the URL fits both
	d := dnstest.Start(t)
	d.Set("rebind.test", "127.0.0.2")
	c := client(t, outbound.Options{
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, // stands for the public Internet
		Resolver: d.Resolver(),
	})
	url := "http://rebind.test:" + inside.port()
	_, err := c.CheckURL(url)
	require.NoError(t, err)
	_, err = get(t, c, url)
	require.NoError(t, err)
	require.EqualValues(t, 1, outside.hits.Load())

	d.Set("rebind.test", "127.0.0.1")
	c.Close() // no connection to the good address is kept
	_, err = get(t, c, url)
	require.ErrorIs(t, err, outbound.ErrBlocked)
	require.ErrorContains(t, err, "the address is loopback")

	d.Set("rebind.test", "127.0.0.1", "127.0.0.2")
	_, err = get(t, c, url)
	require.NoError(t, err, "of two addresses the good one serves")
	require.EqualValues(t, 2, outside.hits.Load())
	require.Zero(t, inside.hits.Load())
}

func TestDo_AHostThatTakesTooLong(t *testing.T) {
	t.Parallel()
	o := local()
	o.Timeout = 100 * time.Millisecond
	released := make(chan struct{})
	hang := receive(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) { <-released })
	drip := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, q *http.Request) {
		for q.Context().Err() == nil {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
	})
	t.Cleanup(func() { close(released) }) // before the servers end
	o.MaxBody = 1 << 40
	mute := listen(t, "127.0.0.1:0") // takes connections and says nothing
	for name, url := range map[string]string{
		"to answer": hang.URL, "with the body": drip.URL, "at the TLS handshake": "https://" + mute.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := get(t, client(t, o), url)
			require.ErrorIs(t, err, outbound.ErrTimeout)
			require.NotErrorIs(t, err, context.DeadlineExceeded, "that would be the caller's")
		})
	}
	t.Run("for its caller", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		o := o
		o.Timeout = time.Hour
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := client(t, o).Do(ctx, outbound.Request{URL: hang.URL})
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestDo_AnAnswerThatIsTooLarge(t *testing.T) {
	t.Parallel()
	o := local()
	o.MaxBody = 1000
	body := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, q *http.Request) {
		n := 1000
		if q.URL.Path == "/more" {
			n++
		}
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	})
	headers := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
	})
	c := client(t, o)
	resp, err := get(t, c, body.URL)
	require.NoError(t, err)
	require.Len(t, resp.Body, 1000)
	_, err = get(t, c, body.URL+"/more")
	require.ErrorIs(t, err, outbound.ErrTooLarge)
	_, err = get(t, c, headers.URL)
	require.ErrorIs(t, err, outbound.ErrTooLarge)

	resp, err = c.Do(t.Context(), outbound.Request{URL: body.URL + "/more", DropAnswer: true})
	require.NoError(t, err, "nobody wants the body")
	require.Equal(t, http.StatusOK, resp.Status)
	require.Nil(t, resp.Body)
}

func TestDo_WhatComesPackedStaysPacked(t *testing.T) {
	t.Parallel()
	r := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Accept-Encoding") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 10<<20))
		_ = z.Close()
	})
	resp, err := get(t, client(t, local()), r.URL)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.Status)
	require.Less(t, len(resp.Body), 1<<20)
}

func TestDo_CertificatesAreChecked(t *testing.T) {
	t.Parallel()
	tlsServer := func(t *testing.T, c *tls.Config) *receiver {
		t.Helper()
		r := &receiver{}
		r.Server = httptest.NewUnstartedServer(http.HandlerFunc(ok))
		r.TLS = c
		r.EnableHTTP2 = true
		r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		r.StartTLS()
		t.Cleanup(r.Close)
		return r
	}
	good := tlsServer(t, nil)
	roots := x509.NewCertPool()
	roots.AddCert(good.Certificate())
	o := local()
	_, err := get(t, client(t, o), good.URL)
	require.ErrorIs(t, err, outbound.ErrRefused)
	require.ErrorContains(t, err, "issuer")
	o.Roots = roots
	_, err = get(t, client(t, o), good.URL)
	require.NoError(t, err)

	old := tlsServer(t, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	_, err = get(t, client(t, o), old.URL)
	require.ErrorIs(t, err, outbound.ErrRefused)
	require.ErrorContains(t, err, "tls: protocol version")

	d := dnstest.Start(t)
	d.Set("other.test", "127.0.0.1")
	o.Resolver = d.Resolver()
	_, err = get(t, client(t, o), "https://other.test:"+good.port())
	require.ErrorIs(t, err, outbound.ErrRefused)
	require.ErrorContains(t, err, "another name")

	plain := receive(t, "127.0.0.1:0", ok)
	_, err = get(t, client(t, o), "https://127.0.0.1:"+plain.port())
	require.ErrorIs(t, err, outbound.ErrRefused)
}

// A host that goes away without a word, as when it is moved: HTTP/2 would put request after request on its connection.
func TestDo_AConnectionThatNobodyAnswersIsntUsedForEver(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	line := listen(t, "127.0.0.1:0")
	var lines, silent atomic.Int64 // connections, and how many of them are silent
	var carried sync.WaitGroup
	t.Cleanup(carried.Wait)
	go func() {
		for {
			near, err := line.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server.Listener.Addr().String()) //nolint:noctx // loopback
			if err != nil {
				_ = near.Close()
				continue
			}
			number := lines.Add(1)
			carried.Go(func() {
				_, _ = io.Copy(far, near)
				_, _ = near.Close(), far.Close()
			})
			carried.Go(func() {
				buf := make([]byte, 1<<12)
				for {
					n, err := far.Read(buf)
					if err != nil {
						return
					}
					if number > silent.Load() {
						_, _ = near.Write(buf[:n])
					}
				}
			})
		}
	}()
	o := local()
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(server.Certificate())
	o.Timeout, o.ConnectTimeout = 500*time.Millisecond, 500*time.Millisecond
	c := client(t, o)
	answers := func() bool { _, err := get(t, c, "https://"+line.Addr().String()); return err == nil }
	require.Eventually(t, answers, 20*time.Second, time.Millisecond)
	silent.Store(lines.Load())
	require.Eventually(t, answers, 20*time.Second, time.Millisecond)
}

// Every kind of failure, of a URL with a password, a token in its path and another in its query; and an answer that
// echoes the request.
func TestDo_NoErrorHoldsASecret(t *testing.T) {
	t.Parallel()
	d := dnstest.Start(t)
	d.Set("inside.test", "10.0.0.1")
	o := local()
	o.Resolver, o.MaxBody, o.Timeout = d.Resolver(), 10, 200*time.Millisecond
	c := client(t, o)
	echo := listen(t, "127.0.0.1:0")
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			_, _ = fmt.Fprint(conn, line+line+line)
			_ = conn.Close()
		}
	}()
	closed := listen(t, "127.0.0.1:0")
	require.NoError(t, closed.Close())
	long := receive(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 11)) })
	gone := receive(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mute := listen(t, "127.0.0.1:0")
	with := func(host string) string { return host + "/" + secret + "?t=" + secret }
	user := "user:" + secret + "@"
	for url, kind := range map[string]error{
		with("ftp://" + user + "example.com"):                     outbound.ErrURL,
		with("https://" + user + "exa mple.com"):                  outbound.ErrURL,
		with("https://" + user + "example.com:" + secret):         outbound.ErrURL,
		with("https://"+user+"example.com") + "#" + secret:        outbound.ErrURL,
		with("https://"+user+"example.com/%zz") + secret:          outbound.ErrURL,
		with("https://" + user + "inside.test"):                   outbound.ErrBlocked,
		with("https://" + user + "10.0.0.1"):                      outbound.ErrBlocked,
		with("http://" + user + closed.Addr().String()):           outbound.ErrRefused,
		with("http://" + user + echo.Addr().String()):             outbound.ErrRefused,
		with("http://" + user + gone.Listener.Addr().String()):    outbound.ErrRefused,
		with("https://" + user + "nowhere.test"):                  outbound.ErrRefused,
		with("http://" + user + long.Listener.Addr().String()):    outbound.ErrTooLarge,
		with("http://" + user + mute.Addr().String()):             outbound.ErrTimeout,
		with("https://" + user + long.Listener.Addr().String()):   outbound.ErrRefused,
		with("https://" + user + "example.com%2f" + secret + "x"): outbound.ErrURL,
	} {
		_, err := get(t, c, url)
		require.ErrorIs(t, err, kind, url)
		require.NotContains(t, err.Error(), secret, url)
		require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), secret, url)
		var e *outbound.Error
		require.ErrorAs(t, err, &e)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	strict := outbound.New(outbound.Options{Hosts: []string{"whmcs.internal"}})
	for url, kind := range map[string]error{
		"https://example.com/hook":          nil,
		"https://example.com:8443/hook?a=b": nil,
		"https://user:pw@example.com":       nil,
		"HTTPS://EXAMPLE.COM":               nil,
		"https://[2600::1]/":                nil,
		"http://whmcs.internal:8080/api":    nil,
		"":                                  outbound.ErrURL,
		"example.com":                       outbound.ErrURL,
		"/hook":                             outbound.ErrURL,
		"https:///hook":                     outbound.ErrURL,
		"https://:443/":                     outbound.ErrURL,
		"https://example.com:/":             outbound.ErrURL,
		"https://example.com:0/":            outbound.ErrURL,
		"https://example.com:65536/":        outbound.ErrURL,
		"https:example.com":                 outbound.ErrURL,
		"gopher://example.com":              outbound.ErrURL,
		"file:///etc/passwd":                outbound.ErrURL,
		"https://example.com/#x":            outbound.ErrURL,
		"https://example.com/\n":            outbound.ErrURL,
		"https://example.com/" + strings.Repeat("x", 2048): outbound.ErrURL,
		"http://example.com/":                              outbound.ErrBlocked,
		"https://example.com:22/":                          outbound.ErrBlocked,
		"https://127.0.0.1/":                               outbound.ErrBlocked,
		"https://169.254.169.254/latest/meta-data":         outbound.ErrBlocked,
		"https://[::ffff:10.0.0.1]/":                       outbound.ErrBlocked,
		"https://[fe80::1%25eth0]/":                        outbound.ErrBlocked,
	} {
		_, err := strict.CheckURL(url)
		if kind == nil {
			require.NoError(t, err, url)
		} else {
			require.ErrorIs(t, err, kind, url)
		}
	}
	// A name may lead into a network that is allowed, where plain http and every port are; that is seen when it's dialled.
	_, err := outbound.New(local()).CheckURL("http://receiver.test:1234")
	require.NoError(t, err)
	_, err = outbound.New(local()).CheckURL("http://10.0.0.1:1234")
	require.ErrorIs(t, err, outbound.ErrBlocked)
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://example.com/a?b=c", "http://user:pw@[::1%25lo]:80/#", "https://0x7f.1", "//", "https://[::ffff:127.0.0.1]:443"} {
		f.Add(seed)
	}
	c := outbound.New(outbound.Options{})
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := c.CheckURL(raw)
		if err != nil {
			require.Nil(t, u)
			return
		}
		require.Equal(t, "https", u.Scheme)
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			require.NoError(t, c.Permit(u.Hostname(), netip.AddrPortFrom(addr, 443), false))
		}
	})
}
