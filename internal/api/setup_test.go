package api_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/api"
	"wabek/internal/api/apitest"
	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/record/bolt"
	"wabek/internal/status"
	"wabek/internal/text"
	"wabek/internal/whmcs"
)

const (
	apiKey = "key-for-the-tests-0001"
	number = "+905551234567"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is an API over a real domain and a real record store, with a clock and a phone in the test's hand.
type bundle struct {
	t        *testing.T
	server   *api.Server
	url      string
	client   *http.Client
	store    *bolt.Store
	log      *syncBuffer
	policy   *admission
	report   *api.Report
	clock    time.Time
	mu       sync.Mutex
	messages []string // what the phone would show
	statuses map[job.ID]job.Status
	stream   []job.Status
	hub      *status.Hub
	letters  letters
	apps     *apps.Registry
	seal     *keys.SealKeys
	hooks    *whmcs.Service
}

// repeatable is a source that gives each test the same ids and codes.
type repeatable struct {
	mu   sync.Mutex
	dice *mathrand.ChaCha8
}

func (r *repeatable) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dice.Read(p)
}

type option func(*api.Options)

func with(o api.OTPs) option { return func(a *api.Options) { a.OTPs = o } }

func setup(t *testing.T, options ...option) *bundle {
	t.Helper()
	b := &bundle{
		t: t, log: &syncBuffer{}, policy: &admission{}, clock: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
		report: &api.Report{Ready: true}, hub: status.NewHub(3, func(id job.ID) string { return string(id)[:36] }),
	}
	secret, err := keys.NewSecret("a-secret-of-some-thirty-six-characters")
	require.NoError(t, err)
	ring, _, err := keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(t, err)
	seal := keys.DeriveSealKeys(secret, keys.Secret{})
	b.seal = seal
	logger := slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	now := func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.clock }
	b.store, err = bolt.Open(bolt.Options{
		Path: filepath.Join(t.TempDir(), "records.db"), Now: now, Logger: logger,
		Committed: func(e job.Envelope) {
			body, err := job.Open(seal, e)
			if err != nil {
				t.Errorf("open job: %v", err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.messages = append(b.messages, body.Text)
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.store.Close() })
	service, err := otp.NewService(b.store, ring, seal, otp.Policy{Length: 6, Expiry: 10 * time.Minute, MaxAttempts: 2},
		&repeatable{dice: mathrand.NewChaCha8([32]byte{})}, now)
	require.NoError(t, err)
	b.apps, err = apps.Open(t.Context(), apps.Config{
		Documents: b.store, Fixed: []apps.FixedKey{{ID: "fixed", Digest: apps.DigestOf(apiKey), Scopes: apps.Scopes()}}, PhoneKey: ring.PhoneHashKey(), CallbackKey: ring.PhoneHashKey(), Now: now, Logger: logger,
		Default: defaultSettings(),
	})
	require.NoError(t, err)
	texts, err := text.Load("")
	require.NoError(t, err)
	b.hooks = apitest.Hooks(t, b.store, b.apps, ring, seal, now)
	o := api.Options{
		OTPs: service, Callers: b.apps, Limiter: apps.NewLimiter(now), Texts: texts, Deliveries: b, Live: b.hub, Callbacks: &b.letters, Hooks: b.hooks, Admission: b.policy, Health: b, Now: now, Logger: logger,
	}
	for _, change := range options {
		change(&o)
	}
	b.server, err = api.New(o)
	require.NoError(t, err)
	srv := httptest.NewServer(b.server.Handler())
	t.Cleanup(srv.Close)
	b.url, b.client = srv.URL, srv.Client()
	b.witnessed() // every answer is held against docs/openapi.json
	return b
}

// defaultSettings are those of an app without limits, but for wrong codes.
func defaultSettings() apps.Settings {
	return apps.Settings{
		Title: new("wabek"), Pool: new(job.DefaultPool), Length: new(6), ExpirySeconds: new(600), Attempts: new(2), Reissue: new(apps.Supersede),
		WrongTries: new(100),
	}
}

// Last is what the queue knows of a job.
func (b *bundle) Last(_ context.Context, _ string, id job.ID) (job.Status, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.statuses[id]; ok {
		return s, 1, nil
	}
	return job.Status{}, 0, nil
}

// History is what the queue has of a job.
func (b *bundle) History(_ context.Context, _ string, id job.ID, after uint64) (all []job.Status, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.stream {
		if s.Job == id && s.Seq > after {
			all = append(all, s)
		}
	}
	return all, nil
}

// says lets a sender say how far a job is.
func (b *bundle) says(s job.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.statuses == nil {
		b.statuses = map[job.ID]job.Status{}
	}
	s.At, s.Seq = b.clock, uint64(len(b.stream)+1)
	b.statuses[s.Job] = s
	b.stream = append(b.stream, s)
	_ = b.hub.Apply(context.Background(), []job.Status{s}) // never fails
}

func (b *bundle) Health() api.Report { return *b.report }

func (b *bundle) after(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

// code is the one in the latest message.
func (b *bundle) code() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return regexp.MustCompile(`(?m)^\d{6}$`).FindString(b.messages[len(b.messages)-1])
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request with the key, unless headers, given as name and value, say otherwise.
func (b *bundle) do(method, path, body string, headers ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("X-API-Key", apiKey)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	return b.send(req)
}

func (b *bundle) send(req *http.Request) answer {
	b.t.Helper()
	resp, err := b.client.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(data)}
}

// admission refuses with what it holds.
type admission struct{ refusal error }

func (a *admission) Admit(string) error { return a.refusal }

// otps is a domain in a state that a real one can't be brought into at will.
type otps struct {
	api.OTPs // what isn't overridden isn't called
	issue    func(context.Context, otp.Request) (otp.Issued, error)
	verify   func(context.Context, otp.Try) (otp.Tried, error)
	resend   func(context.Context, otp.Again) (otp.Issued, error)
}

func (o otps) Answered(context.Context, string, string, *otp.Idempotency) error { return nil }

func (o otps) Find(context.Context, string, otp.ID) (otp.Record, error) { return otp.Record{}, nil }

func (o otps) Resend(ctx context.Context, a otp.Again) (otp.Issued, error) { return o.resend(ctx, a) }

func (o otps) Issue(ctx context.Context, r otp.Request) (otp.Issued, error) { return o.issue(ctx, r) }

func (o otps) Verify(ctx context.Context, t otp.Try) (otp.Tried, error) { return o.verify(ctx, t) }

func failing(err error) otps {
	return otps{
		issue:  func(context.Context, otp.Request) (otp.Issued, error) { return otp.Issued{}, err },
		verify: func(context.Context, otp.Try) (otp.Tried, error) { return otp.Tried{}, err },
		resend: func(context.Context, otp.Again) (otp.Issued, error) { return otp.Issued{}, err },
	}
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}
