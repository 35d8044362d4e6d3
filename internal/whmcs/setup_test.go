package whmcs_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/notice"
	"wabek/internal/outbound"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/record/bolt"
	"wabek/internal/whmcs"
)

const (
	patient = 20 * time.Second // how long a test waits for what must come
	tick    = 5 * time.Millisecond
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a Service over a real record file and a real NATS server, beside a WHMCS that a test answers for.
type bench struct {
	t      *testing.T
	seal   *keys.SealKeys
	ring   *keys.Ring
	store  *bolt.Store
	broker *queue.Broker
	hooks  *whmcs.Service
	apps   *appList
	texts  *notice.Texts
	out    *outbound.Client
	path   string
	stop   func() // ends the service and closes its records

	mu       sync.Mutex
	clock    time.Time
	released []job.Envelope
	held     int64 // released and not settled
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "records.db"), clock: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	secret, err := keys.NewSecret("a-secret-of-some-thirty-six-characters")
	require.NoError(t, err)
	b.ring, _, err = keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(t, err)
	b.seal = keys.DeriveSealKeys(secret, keys.Secret{})
	b.apps = &appList{list: map[string]whmcs.App{}, changed: make(chan struct{})}
	b.apps.set(whmcs.App{Name: "shop", Title: "Shop", Pool: job.DefaultPool, Country: "TR", Locale: "en"})
	b.texts, err = notice.Load("")
	require.NoError(t, err)
	server, err := embed.Start(embed.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	nc, err := server.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: slog.New(slog.DiscardHandler)})...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	b.broker, err = queue.New(nc, queue.Options{Replicas: 1, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.broker.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-b.broker.Ready():
	case <-time.After(patient):
		require.Fail(t, "the queue isn't there")
	}
	b.out = outbound.New(outbound.Options{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(b.out.Close)
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// start opens the records and runs the service.
func (b *bench) start() {
	b.t.Helper()
	var err error
	b.store, err = bolt.Open(bolt.Options{Path: b.path, Now: b.now, Logger: slog.New(slog.DiscardHandler), Released: func(e job.Envelope) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.released = append(b.released, e)
		b.held++
	}})
	require.NoError(b.t, err)
	b.hooks, err = whmcs.New(b.t.Context(), whmcs.Config{
		Store: b.store, Documents: b.store, Queue: events{b.broker}, Apps: b.apps, Texts: b.texts, Outbound: b.out, Sealer: b.seal, PhoneKey: b.ring.PhoneHashKey(), MessageID: b.ring.MessageID,
		Released: func() int64 { b.mu.Lock(); defer b.mu.Unlock(); return b.held },
		Now:      b.now, Logger: slog.New(slog.DiscardHandler), Window: func() int64 { return 4 },
	})
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.hooks.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		require.NoError(b.t, b.store.Close())
	})
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *bench) after(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

// settle lets all that was released be sent.
func (b *bench) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = 0
}

// install is a WHMCS at an address, asked as the app's.
func (b *bench) install(answer http.HandlerFunc) {
	b.t.Helper()
	srv := httptest.NewServer(answer)
	b.t.Cleanup(srv.Close)
	require.NoError(b.t, b.hooks.SetAccess(b.t.Context(), "shop", whmcs.Access{URL: srv.URL + "/billing/", Identifier: "id", Secret: "s3cr3t", AccessKey: "k"}))
}

func (b *bench) accept(h whmcs.Hook) whmcs.ID {
	b.t.Helper()
	id, known, err := b.hooks.Accept(b.t.Context(), "shop", h)
	require.NoError(b.t, err)
	require.False(b.t, known)
	return id
}

// becomes waits until a notice is in a state.
func (b *bench) becomes(id whmcs.ID, state whmcs.State) whmcs.Notice {
	b.t.Helper()
	var n whmcs.Notice
	require.Eventually(b.t, func() bool {
		var err error
		n, err = b.store.Notice(b.t.Context(), id)
		return err == nil && n.State == state
	}, patient, tick, "want %s, is %+v", state, &n)
	return n
}

// message is what would be sent for a notice.
func (b *bench) message(id whmcs.ID) job.Body {
	b.t.Helper()
	n := b.becomes(id, whmcs.Queued)
	body, err := job.Open(b.seal, n.Job())
	require.NoError(b.t, err)
	return body
}

type events struct{ *queue.Broker }

func (e events) Connected() (bool, uint64) { return e.Broker.Connected(), 0 }

func (e events) OpenEvents(app string) (whmcs.Source, error) {
	t, err := e.Events(app)
	if err != nil {
		return nil, err
	}
	return source{t}, nil
}

type source struct{ *queue.Tasks }

func (s source) Next(ctx context.Context) (whmcs.Delivery, error) {
	d, err := s.Tasks.Next(ctx)
	if err != nil {
		return nil, err
	}
	return d, nil
}

type appList struct {
	mu      sync.Mutex
	list    map[string]whmcs.App
	changed chan struct{}
}

func (l *appList) WHMCSApp(name string) (whmcs.App, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.list[name]
	return a, ok
}

func (l *appList) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *appList) set(a whmcs.App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list[a.Name] = a
	close(l.changed)
	l.changed = make(chan struct{})
}
