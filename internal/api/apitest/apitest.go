// Package apitest runs an API for the tests of what talks to one: its Go client, the snippets of the documentation.
//
// In: nothing. Out: a real API over a real record store, and in the place of queue and sender a phone that the test reads.
// On failure: the test's.
package apitest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/callback"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/record/bolt"
	"wabek/internal/status"
	"wabek/internal/text"
)

// Key is an API key of the default app, good for everything.
const Key = "key-for-the-tests-0001"

// followers is how many may follow OTPs at once.
const followers = 100

// Server is an API. Its methods may be called from many goroutines.
type Server struct {
	URL  string
	Apps *apps.Registry

	mu       sync.Mutex
	refusal  *api.Refusal
	messages []Message
	arrived  chan struct{} // closed and made anew with each message
	stream   []job.Status
	hub      *status.Hub
}

// Message is one that a phone would show.
type Message struct {
	To   string // E.164
	Text string
}

// Code is the code in it.
func (m Message) Code() string { return regexp.MustCompile(`(?m)^\d{6,10}$`).FindString(m.Text) }

// New runs an API until the test ends. around, if not nil, goes before its handler. The default app has no limits but on
// wrong codes, and lets five tries.
func New(tb testing.TB, around func(http.Handler) http.Handler) *Server {
	tb.Helper()
	logger := slog.New(slog.DiscardHandler)
	s := &Server{
		arrived: make(chan struct{}),
		hub:     status.NewHub(followers, func(id job.ID) string { of, _, _ := otp.ParseJobID(id); return of.String() }),
	}
	secret, err := keys.NewSecret(rand.Text() + rand.Text())
	require.NoError(tb, err)
	ring, _, err := keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(tb, err)
	seal := keys.DeriveSealKeys(secret, keys.Secret{})
	store, err := bolt.Open(bolt.Options{
		Path: filepath.Join(tb.TempDir(), "records.db"), Now: time.Now, Logger: logger,
		Committed: func(e job.Envelope) {
			body, err := job.Open(seal, e)
			if err != nil {
				tb.Errorf("open job: %v", err)
			}
			s.receive(Message{To: body.To.E164(), Text: body.Text})
		},
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = store.Close() })
	service, err := otp.NewService(store, ring, seal, otp.Policy{Length: 6, Expiry: otp.RecommendedExpiry, MaxAttempts: 5}, rand.Reader, time.Now)
	require.NoError(tb, err)
	s.Apps, err = apps.Open(tb.Context(), apps.Config{
		Documents: store, Fixed: []apps.FixedKey{{ID: "fixed", Digest: apps.DigestOf(Key), Scopes: apps.Scopes()}}, PhoneKey: ring.PhoneHashKey(), CallbackKey: ring.PhoneHashKey(),
		Now: time.Now, Logger: logger, Default: apps.Settings{
			Title: new("wabek"), Pool: new(job.DefaultPool), Length: new(6), ExpirySeconds: new(600), Attempts: new(5), Reissue: new(apps.Supersede),
			WrongTries: new(otp.MostGuesses),
		},
	})
	require.NoError(tb, err)
	texts, err := text.Load("")
	require.NoError(tb, err)
	server, err := api.New(api.Options{
		OTPs: service, Callers: s.Apps, Limiter: apps.NewLimiter(time.Now), Texts: texts, Deliveries: s, Live: s.hub, Callbacks: noCallbacks{}, Hooks: Hooks(tb, store, s.Apps, ring, seal, time.Now), Admission: s, Health: s,
		Now: time.Now, Logger: logger,
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = server.Shutdown(context.Background()) }) // a stream of events ends with the server
	handler := server.Handler()
	if around != nil {
		handler = around(handler)
	}
	listener := httptest.NewServer(handler)
	tb.Cleanup(func() { server.Drain(); listener.Close() })
	s.URL = listener.URL
	return s
}

func (s *Server) receive(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// Messages are all that were sent so far.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Wait gives the nth message, the first is 1, once it is there. The error is the context's.
func (s *Server) Wait(ctx context.Context, n int) (Message, error) {
	for {
		s.mu.Lock()
		have, arrived := s.messages, s.arrived
		s.mu.Unlock()
		if len(have) >= n {
			return have[n-1], nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// Refuse lets admission refuse OTPs from now on; nil lets it admit them again.
func (s *Server) Refuse(r *api.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = r
}

// Admit is api.Admission.
func (s *Server) Admit(string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return s.refusal
	}
	return nil
}

// Say lets a sender say how far the first message of an OTP is.
func (s *Server) Say(id string, state job.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := job.Status{Job: job.ID(id), State: state, At: time.Now(), Seq: uint64(len(s.stream) + 1)}
	s.stream = append(s.stream, st)
	_ = s.hub.Apply(context.Background(), []job.Status{st}) // never fails
}

// Last is api.Deliveries.
func (s *Server) Last(ctx context.Context, pool string, id job.ID) (job.Status, uint64, error) {
	all, err := s.History(ctx, pool, id, 0)
	if len(all) == 0 {
		return job.Status{}, 0, err
	}
	last := all[len(all)-1]
	return last, last.Seq, nil
}

// History is api.Deliveries.
func (s *Server) History(_ context.Context, _ string, id job.ID, after uint64) (all []job.Status, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.stream {
		if st.Job == id && st.Seq > after {
			all = append(all, st)
		}
	}
	return all, nil
}

// Health is api.Health.
func (s *Server) Health() api.Report { return api.Report{Ready: true} }

// noCallbacks posts nothing.
type noCallbacks struct{}

func (noCallbacks) CheckURL(string) error { return nil }

func (noCallbacks) Dead(context.Context, string, uint64, int) ([]callback.Letter, error) {
	return nil, nil
}

func (noCallbacks) Replay(context.Context, string, string) error { return callback.ErrNoLetter }

func (noCallbacks) ReplayAll(context.Context, string) (int, error) { return 0, nil }

func (noCallbacks) Forget(context.Context, string) error { return nil }

func (noCallbacks) Purge(context.Context, string, string) (int, error) { return 0, nil }
