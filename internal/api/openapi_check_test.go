package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"wabek/docs"
)

// contract holds requests and answers against docs/openapi.json, by kin-openapi: it validates by JSON Schema 2020-12 where a
// document is of OpenAPI 3.1.
type contract struct {
	doc    *openapi3.T
	router routers.Router
}

// newContract reads a document. Its objects may come to have more fields, and say so by saying nothing; here they are as
// they are today, so that a field which isn't described is found.
func newContract(text []byte) (*contract, error) {
	for _, pages := range []string{"text/html", "text/markdown", "text/event-stream"} {
		openapi3filter.RegisterBodyDecoder(pages, openapi3filter.PlainBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	for _, s := range doc.Components.Schemas {
		if len(s.Value.Properties) > 0 && s.Value.AdditionalProperties.Has == nil && s.Value.AdditionalProperties.Schema == nil {
			s.Value.AdditionalProperties.Has = new(bool)
		}
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &contract{doc: doc, router: router}, nil
}

// exchange is a request that was answered.
type exchange struct {
	request  *http.Request
	sent     []byte // its body
	response *http.Response
	body     []byte
}

// check says what of an exchange isn't as described, and which operation it was; "" for an address or a method that has none.
// A request that the server takes must be one that the document describes; a refused one needn't.
func (c *contract) check(ctx context.Context, x exchange) (operation string, err error) {
	path := &http.Request{Method: x.request.Method, URL: &url.URL{Path: x.request.URL.Path, RawQuery: x.request.URL.RawQuery}, Header: x.request.Header.Clone()}
	path.Header.Set("Content-Type", "application/json") // the server doesn't look at it
	path.Body = io.NopCloser(bytes.NewReader(x.sent))
	route, params, err := c.router.FindRoute(path)
	if err != nil || strings.Count(route.Path, "/") != strings.Count(path.URL.Path, "/") { // it overlooks a slash too many or few
		return "", c.checkNowhere(x)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: path.WithContext(ctx), PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	operation = route.Operation.OperationID
	if x.response.StatusCode < http.StatusMultipleChoices {
		if err := openapi3filter.ValidateRequest(ctx, in); err != nil {
			return operation, fmt.Errorf("%s took a request that isn't described: %w", operation, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: x.response.StatusCode, Header: x.response.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	out.SetBodyBytes(x.body)
	if err := openapi3filter.ValidateResponse(ctx, out); err != nil {
		return operation, fmt.Errorf("%s answered %d as isn't described: %w", operation, x.response.StatusCode, err)
	}
	return operation, c.checkHead(x, route.Operation)
}

// checkHead looks at what kin-openapi doesn't: that an answer without a body has the headers that are described.
func (c *contract) checkHead(x exchange, o *openapi3.Operation) error {
	if x.request.Method != http.MethodHead {
		return nil
	}
	described := o.Responses.Status(x.response.StatusCode)
	if described == nil {
		return fmt.Errorf("%s answered %d, which isn't described", o.OperationID, x.response.StatusCode)
	}
	for name, h := range described.Value.Headers {
		if h.Value.Required && x.response.Header.Get(name) == "" {
			return fmt.Errorf("%s answered without the header %s", o.OperationID, name)
		}
	}
	return nil
}

// checkNowhere looks at the answer to an address or a method that isn't described: the router's own.
func (c *contract) checkNowhere(x exchange) error {
	want := map[int]string{http.StatusNotFound: "not_found", http.StatusMethodNotAllowed: "method_not_allowed", http.StatusNoContent: ""}
	code, ok := want[x.response.StatusCode]
	switch {
	case !ok:
		return fmt.Errorf("%s %s isn't described, and is answered %d", x.request.Method, x.request.URL.Path, x.response.StatusCode)
	case code == "": // OPTIONS
		return nil
	}
	var problem map[string]any
	if err := json.Unmarshal(x.body, &problem); err != nil {
		return err
	}
	if problem["code"] != code {
		return fmt.Errorf("a %d with the code %v", x.response.StatusCode, problem["code"])
	}
	return c.checkJSON("Problem", x.body)
}

// checkJSON holds JSON against a schema of the document.
func (c *contract) checkJSON(schema string, text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	return c.doc.Components.Schemas[schema].Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse())
}

// witness is a transport that holds whatever goes through it against the contract, and remembers what was driven.
type witness struct {
	*contract
	t    *testing.T
	next http.RoundTripper

	mu     sync.Mutex
	driven map[string]bool // by operation and status, and operation alone
}

// RoundTrip sends a request and looks at both.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchange{request: r.Clone(r.Context())}
	if r.Body != nil {
		var err error
		if x.sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(x.sent))
	}
	var err error
	if x.response, err = w.next.RoundTrip(r); err != nil {
		return nil, err
	}
	if strings.HasPrefix(x.response.Header.Get("Content-Type"), "text/event-stream") {
		x.response.Body = &eventWitness{ReadCloser: x.response.Body, w: w}
	} else {
		if x.body, err = io.ReadAll(x.response.Body); err != nil {
			return nil, err
		}
		_ = x.response.Body.Close()
		x.response.Body = io.NopCloser(bytes.NewReader(x.body))
	}
	operation, err := w.check(r.Context(), x)
	if err != nil {
		w.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.driven[operation] = true
	w.driven[fmt.Sprintf("%s %d", operation, x.response.StatusCode)] = true
	return x.response, nil
}

// eventWitness holds the data of each event against the schema of an OTP, as it is read.
type eventWitness struct {
	io.ReadCloser
	w    *witness
	rest []byte
}

func (e *eventWitness) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.rest = append(e.rest, p[:n]...)
	for {
		end := bytes.IndexByte(e.rest, '\n')
		if end < 0 {
			return n, err
		}
		line := string(e.rest[:end])
		e.rest = e.rest[end+1:]
		e.look(line)
	}
}

func (e *eventWitness) look(line string) {
	name, value, _ := strings.Cut(line, ": ")
	switch name {
	case "data":
		if err := e.w.checkJSON("OTP", []byte(value)); err != nil {
			e.w.t.Errorf("an event that isn't described: %v", err)
		}
	case "event":
		if value != "status" {
			e.w.t.Errorf("an event called %s", value)
		}
	case "", "id":
	default:
		e.w.t.Errorf("a line of an event that isn't described: %s", line)
	}
}

// described is the contract of docs/openapi.json, read once.
var described = sync.OnceValues(func() (*contract, error) { return newContract(docs.OpenAPI) })

// witnessed lets a test's requests be held against the contract.
func (b *bundle) witnessed() *witness {
	b.t.Helper()
	c, err := described()
	require.NoError(b.t, err)
	w := &witness{contract: c, t: b.t, next: b.client.Transport, driven: map[string]bool{}}
	b.client = &http.Client{Transport: w}
	return w
}
