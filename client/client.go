// Package client is a Go client of a wabek API: it issues one-time passwords (OTPs), verifies them and follows them.
//
// In: an API's address and a key. Out: answers as Go values. On failure: an *Error with the API's code, after trying again
// whatever may be tried again. It needs the standard library alone.
//
// A request that fails without an answer, or with one that says to try again, is sent again with the same Idempotency-Key,
// so nothing is sent to a phone twice, and a code that was right stays right where only its answer was lost. An answer that
// says to try again in more than a minute is returned at once.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client talks to one wabek, or to several behind one address. Its methods may be called from many goroutines.
type Client struct {
	base   string // without a slash at its end
	key    string
	http   *http.Client
	stream *http.Client // the same without a bound on the time of a whole answer
	policy policy
}

// Defaults.
const (
	tryTimeout   = 30 * time.Second
	idlePerHost  = 64      // connections kept open, for bursts
	longestBody  = 1 << 20 // bytes of an answer
	longestName  = 255     // bytes of an Idempotency-Key
	userAgent    = "wabek-go/1"
	headerKey    = "X-API-Key"
	headerOnce   = "Idempotency-Key"
	headerReplay = "Idempotent-Replayed"
)

// Option changes how a Client works.
type Option func(*Client)

// WithHTTPClient uses this client's transport, and its Timeout for each try of a request. Redirects are never followed:
// the key would go along.
func WithHTTPClient(h *http.Client) Option {
	return func(c *Client) { c.http = h }
}

// WithTries bounds how often a request is sent, the first time included; 0 leaves it to the context alone. Without it 8.
func WithTries(n int) Option {
	return func(c *Client) { c.policy.tries = n }
}

// WithPauses sets the pause after a first failed try, which each further one doubles, and the longest. Up to half of a
// pause is left to chance. Without it 250 ms and 5 s.
func WithPauses(first, longest time.Duration) Option {
	return func(c *Client) { c.policy.first, c.policy.longest = first, longest }
}

// WaitWhenLimited tries again after a 429 whose Retry-After is at most so long. Without it a 429 is returned at once.
func WaitWhenLimited(longest time.Duration) Option {
	return func(c *Client) { c.policy.limited = longest }
}

// New makes a Client of the API at an address like https://otp.example.org, with a key that the API knows.
func New(baseURL, key string, options ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("wabek: the address must be like https://otp.example.org")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, errors.New("wabek: the address may have no user, no query and no fragment")
	case key == "" || strings.ContainsFunc(key, notPrintable):
		return nil, errors.New("wabek: the key must be printable ASCII without spaces")
	}
	c := &Client{base: strings.TrimRight(baseURL, "/"), key: key, policy: policy{tries: 8, first: 250 * time.Millisecond, longest: 5 * time.Second}}
	for _, o := range options {
		o(c)
	}
	if c.http == nil {
		transport := http.DefaultTransport
		if own, ok := transport.(*http.Transport); ok { // not where the program has wrapped it
			own = own.Clone()
			own.MaxIdleConnsPerHost = idlePerHost
			transport = own
		}
		c.http = &http.Client{Timeout: tryTimeout, Transport: transport}
	}
	own := *c.http
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	stream := own
	stream.Timeout = 0
	c.http, c.stream = &own, &stream
	return c, nil
}

// notPrintable says that a character is a space or none of printable ASCII.
func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

// CallOption changes one call.
type CallOption func(*call)

// Once names what is asked for, so that it happens once however often the call is made: within 24 hours the same name with
// the same request gets the same answer. Keep it with what asks for the OTP, and the call may be made again after your own
// program has ended. 1 to 255 printable ASCII characters without space. Without it each call draws a name of its own.
func Once(name string) CallOption {
	return func(c *call) { c.once = name }
}

// call is a request that may be sent more than once, each time the same.
type call struct {
	method, path string
	body         []byte
	once         string // empty where doing it twice does no harm
}

// newCall makes a call that is to happen once.
func newCall(path string, body any, options []CallOption) (*call, error) {
	k := &call{method: http.MethodPost, path: path, once: rand.Text()}
	if body != nil {
		var err error
		if k.body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("wabek: %w", err)
		}
	}
	for _, o := range options {
		o(k)
	}
	if k.once == "" || len(k.once) > longestName || strings.ContainsFunc(k.once, notPrintable) {
		return nil, errors.New("wabek: Once needs a name of 1 to 255 printable ASCII characters without space")
	}
	return k, nil
}

// do makes a call until it has an answer that is final, and reads that. It reports whether it is the answer of an earlier
// request of the same name.
func (c *Client) do(ctx context.Context, k *call, into any) (replayed bool, err error) {
	err = c.policy.run(ctx, func() error {
		replayed, err = c.try(ctx, k, into)
		return err
	})
	return replayed, err
}

// try sends a call once.
func (c *Client) try(ctx context.Context, k *call, into any) (replayed bool, err error) {
	resp, err := c.send(ctx, c.http, k)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestBody))
	if err != nil {
		return false, fmt.Errorf("wabek: read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return false, newError(resp, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return false, &malformedError{cause: err}
	}
	return resp.Header.Get(headerReplay) == "true", nil
}

func (c *Client) send(ctx context.Context, h *http.Client, k *call, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, k.method, c.base+k.path, bytes.NewReader(k.body))
	if err != nil {
		return nil, &malformedError{cause: err}
	}
	req.Header.Set(headerKey, c.key)
	req.Header.Set("User-Agent", userAgent)
	if len(k.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if k.once != "" {
		req.Header.Set(headerOnce, k.once)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("wabek: %w", err)
	}
	return resp, nil
}
