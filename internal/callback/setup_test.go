package callback_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/callback"
	"wabek/internal/outbound"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
)

const (
	app     = "shop"
	other   = "other"
	patient = 20 * time.Second // how long a test waits for what must come
	tick    = 5 * time.Millisecond
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// callbackQueue is the broker as a callback.Queue, as the wiring has it.
type callbackQueue struct{ *queue.Broker }

func (callbackQueue) Full(err error) bool { return errors.Is(err, queue.ErrFull) }

func (q callbackQueue) OpenCallbacks(app string) (callback.Source, error) {
	c, err := q.Callbacks(app)
	if err != nil {
		return nil, err
	}
	return callbackSource{c}, nil
}

type callbackSource struct{ *queue.Tasks }

func (s callbackSource) Next(ctx context.Context) (callback.Delivery, error) {
	d, err := s.Tasks.Next(ctx)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// logbook is a logger's output, kept.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// endpoints is a list of endpoints that may change.
type endpoints struct {
	mu      sync.Mutex
	list    map[string]callback.Endpoint
	changed chan struct{}
}

func (e *endpoints) Apps() (apps []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for app := range e.list {
		apps = append(apps, app)
	}
	return apps
}

func (e *endpoints) Endpoint(app string) (callback.Endpoint, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.list[app]
	return p, ok
}

func (e *endpoints) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

func (e *endpoints) change(f func(map[string]callback.Endpoint)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.list)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *endpoints) set(app, url string) callback.Secret {
	secret := callback.NewSecret()
	e.change(func(list map[string]callback.Endpoint) { list[app] = callback.Endpoint{URL: url, Secret: secret} })
	return secret
}

// clock is a wall clock that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// got is a callback as a receiver got it.
type got struct {
	ID     string
	Header http.Header
	Body   []byte
	Data   callback.OTP
}

// receiver is an app's receiver. It answers as answer says, which may change.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	all    []got // every request
	answer func(http.ResponseWriter, got) bool
	taken  map[string]int // answered with 2xx, by webhook-id
}

func (r *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	g := got{ID: q.Header.Get("webhook-id"), Header: q.Header, Body: body}
	var payload struct{ Data callback.OTP }
	_ = json.Unmarshal(body, &payload)
	g.Data = payload.Data
	r.mu.Lock()
	r.all = append(r.all, g)
	answer := r.answer
	r.mu.Unlock()
	if answer != nil && !answer(w, g) {
		return
	}
	r.mu.Lock()
	r.taken[g.ID]++
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) set(answer func(http.ResponseWriter, got) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) requests() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func (r *receiver) count() int { return len(r.requests()) }

// distinct counts the callbacks that were taken, each once.
func (r *receiver) distinct() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.taken)
}

func (r *receiver) took(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken[id] > 0
}

func (r *receiver) port() string {
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	return port
}

func (r *receiver) waitFor(t *testing.T, distinct int) {
	t.Helper()
	require.Eventually(t, func() bool { return r.distinct() == distinct }, patient, tick, "want %d callbacks", distinct)
}

// answer answers with a status that isn't 2xx.
func answer(code int) func(http.ResponseWriter, got) bool {
	return func(w http.ResponseWriter, _ got) bool {
		w.WriteHeader(code)
		return false
	}
}

func receive(t *testing.T, answer func(http.ResponseWriter, got) bool) *receiver {
	t.Helper()
	return receiveAt(t, "127.0.0.1:0", answer)
}

func receiveAt(t *testing.T, address string, answer func(http.ResponseWriter, got) bool) *receiver {
	t.Helper()
	r := &receiver{answer: answer, taken: map[string]int{}}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	r.Server = &httptest.Server{Listener: l, Config: &http.Server{
		Handler: http.HandlerFunc(r.serve), ReadHeaderTimeout: patient, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}}
	r.Start()
	t.Cleanup(r.Close)
	return r
}

// bundle is a service on a NATS server of its own.
type bundle struct {
	*callback.Service
	t     *testing.T
	log   *slog.Logger
	book  *logbook
	srv   *embed.Server
	nc    *nats.Conn
	queue callbackQueue
	to    *endpoints
	cfg   callback.Config
	stop  func() // ends Run and waits for it
}

// setup makes one whose pauses are short, and doesn't run it yet.
func setup(t *testing.T, change func(*callback.Config)) *bundle {
	t.Helper()
	b := &bundle{t: t, book: &logbook{}, to: &endpoints{list: map[string]callback.Endpoint{}, changed: make(chan struct{})}}
	b.log = slog.New(slog.NewTextHandler(b.book, nil))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.book.String())
		}
	})
	var err error
	b.srv, err = embed.Start(embed.Options{Dir: t.TempDir(), Logger: b.log})
	require.NoError(t, err)
	t.Cleanup(b.srv.Shutdown)
	client := outbound.New(outbound.Options{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: patient})
	t.Cleanup(client.Close)
	b.cfg = callback.Config{
		Endpoints: b.to, Client: client, Logger: b.log, Grace: patient, Park: 10 * time.Millisecond,
		Schedule: []time.Duration{20 * time.Millisecond}, PauseFirst: 10 * time.Millisecond, PauseLast: 50 * time.Millisecond,
	}
	if change != nil {
		change(&b.cfg)
	}
	b.connect(queue.Options{})
	b.Service, err = callback.New(b.cfg)
	require.NoError(t, err)
	return b
}

// connect gives the service a connection and a broker of its own.
func (b *bundle) connect(o queue.Options) {
	b.t.Helper()
	nc, err := b.srv.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: b.log})...)
	require.NoError(b.t, err)
	b.use(nc, o)
}

// use gives the service a broker of its own on a connection.
func (b *bundle) use(nc *nats.Conn, o queue.Options) {
	b.t.Helper()
	b.nc = nc
	o.Logger = b.log
	broker, err := queue.New(nc, o)
	require.NoError(b.t, err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = broker.Run(ctx) })
	b.t.Cleanup(func() {
		stop()
		running.Wait()
		nc.Close()
	})
	select {
	case <-broker.Ready():
	case <-time.After(patient):
		require.Fail(b.t, "broker isn't ready")
	}
	b.queue = callbackQueue{broker}
	b.cfg.Queue = b.queue
}

// run runs the service until the test ends, or stop is called.
func (b *bundle) run() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	service := b.Service
	running.Go(func() { service.Run(ctx) })
	b.stop = func() {
		cancel()
		running.Wait()
	}
	b.t.Cleanup(b.stop)
}

func running(t *testing.T, change func(*callback.Config)) *bundle {
	t.Helper()
	b := setup(t, change)
	b.run()
	return b
}

func (b *bundle) enqueue(app string, ids ...int) {
	b.t.Helper()
	events := make([]callback.Event, 0, len(ids))
	for _, id := range ids {
		events = append(events, event(app, id))
	}
	require.NoError(b.t, b.Enqueue(within(b.t), events...))
}

// stored counts what the queue has, of all apps.
func (b *bundle) stored() int {
	b.t.Helper()
	js, err := jetstream.New(b.nc)
	require.NoError(b.t, err)
	s, err := js.Stream(within(b.t), "WABEK_CALLBACK")
	require.NoError(b.t, err)
	return int(s.CachedInfo().State.Msgs)
}

// bound makes the stream smaller.
func (b *bundle) bound(messages int64) {
	b.t.Helper()
	js, err := jetstream.New(b.nc)
	require.NoError(b.t, err)
	s, err := js.Stream(within(b.t), "WABEK_CALLBACK")
	require.NoError(b.t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = messages
	_, err = js.UpdateStream(within(b.t), cfg)
	require.NoError(b.t, err)
}

// due is when an app's callback is to be tried again, and how many tries it has had; zero where it isn't there.
func (b *bundle) due(id string) (at time.Time, tries int) {
	b.t.Helper()
	js, err := jetstream.New(b.nc)
	require.NoError(b.t, err)
	s, err := js.Stream(within(b.t), "WABEK_CALLBACK")
	require.NoError(b.t, err)
	m, err := s.GetLastMsgForSubject(within(b.t), "wabek.callback."+app+"."+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, 0
	}
	require.NoError(b.t, err)
	var c struct {
		Due   int64
		Tries int
	}
	require.NoError(b.t, json.Unmarshal(m.Data, &c))
	return time.UnixMilli(c.Due), c.Tries
}

func (b *bundle) empty() {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.stored() == 0 }, patient, tick, "the queue runs empty")
}

// state is how the app's callbacks fare; zero where nobody posts them yet.
func (b *bundle) state() callback.State {
	for _, s := range b.States() {
		if s.App == app {
			return s
		}
	}
	return callback.State{}
}

func (b *bundle) dead() []callback.Letter {
	b.t.Helper()
	letters, err := b.Dead(within(b.t), app, 0, 100)
	require.NoError(b.t, err)
	return letters
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	return ctx
}

func event(app string, id int) callback.Event {
	at := time.Date(2026, 11, 24, 12, 0, 0, 123_456_789, time.FixedZone("", 3*3600))
	return callback.Event{At: at, OTP: callback.OTP{
		ID: fmt.Sprintf("01935f6c-0000-7000-8000-%012d", id), App: app, State: "open", Status: "sent", To: "+90•••••4567", Purpose: "login",
		CreatedAt: at.Add(-time.Second), ExpiresAt: at.Add(time.Minute), SentAt: at,
		Metadata: json.RawMessage(`{"order":"7"}`), Seq: 20,
	}}
}

func eventID(id int) string { return event(app, id).OTP.ID + "-20" }

func numbers(n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	return ids
}

// verify checks a callback by the library of Standard Webhooks.
func verify(t *testing.T, secret callback.Secret, g got) error {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret.Reveal())
	require.NoError(t, err)
	return wh.Verify(g.Body, g.Header)
}

// cable leads to a server, and can be cut.
type cable struct {
	net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	ends  map[net.Conn]struct{}
	lines sync.WaitGroup
}

func layCable(t *testing.T, to string) *cable {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{Listener: l, to: to, ends: map[net.Conn]struct{}{}}
	c.lines.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			c.lines.Go(func() { c.carry(near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.set(true)
		c.lines.Wait()
	})
	return c
}

func (c *cable) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.to) //nolint:noctx // loopback
	if err != nil {
		return
	}
	defer far.Close()
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	c.ends[near], c.ends[far] = struct{}{}, struct{}{}
	c.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
		})
	}
	both.Wait()
}

// set cuts the cable or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for end := range c.ends {
		if cut {
			_ = end.Close()
			delete(c.ends, end)
		}
	}
}
