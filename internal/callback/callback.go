// Package callback posts what becomes of OTPs to the apps that asked for them, as signed webhooks.
//
// In: events, once their record is durable. Out: requests by the Standard Webhooks rules (standardwebhooks.com), each
// at least once, in no promised order. On failure: tried again for a day, then kept as a dead letter to be replayed; an
// app whose receiver is slow or away delays no other.
//
// Crash sequences: Enqueue returns nil once the queue has stored the event, so whoever acknowledges a status only after
// it loses none. A callback whose try isn't over, or whose acknowledgement got lost, is handed out again, so a receiver
// may get it twice, with the same webhook-id. What is known of a callback (tries, when the next one is due) stands in
// its message, which is replaced as one step; a crash right before costs one try that isn't counted.
package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"wabek/internal/outbound"
)

// Config is what a Service needs. Queue, Endpoints, Client and Logger must be set; the zero values of the rest stand
// for the defaults given.
type Config struct {
	Queue     Queue
	Endpoints Endpoints
	Client    Client
	Logger    *slog.Logger
	// Gone hears that an app's receiver wants no callbacks any more (410). From then on none is posted to that URL; it
	// is for whoever keeps the endpoints to make it last. It must be quick.
	Gone func(app, url string)
	Now  func() time.Time // the wall clock (time.Now)

	InFlight int           // requests under way at once for one app (16)
	Backlog  int           // callbacks of one app that wait; what comes beyond becomes a dead letter at once (100,000)
	Life     time.Duration // after which a callback that can't be posted becomes a dead letter (24 h)
	// Schedule is the pause after the first failed try, the second …; the last one repeats. Each is varied by a quarter
	// (5 s, 15 s, 1 min, 3 min, 10 min, 30 min, 1 h).
	Schedule []time.Duration
	// PauseFirst is how long an app is left alone after three failures without a success between. Then one callback is
	// tried alone; each time that fails the pause doubles, up to PauseLast (1 s, 60 s).
	PauseFirst, PauseLast time.Duration
	Park                  time.Duration // how long the queue keeps a callback that isn't due yet at a time, at most 60 s (60 s)
	Grace                 time.Duration // how long requests under way may take when Run is to end (5 s)
}

// Client posts; *outbound.Client does.
type Client interface {
	Do(ctx context.Context, r outbound.Request) (*outbound.Response, error)
}

var _ Client = (*outbound.Client)(nil)

func (c Config) withDefaults() (Config, error) {
	if c.Queue == nil || c.Endpoints == nil || c.Client == nil || c.Logger == nil {
		return c, errors.New("callback: needs a queue, endpoints, a client and a logger")
	}
	c.Logger = c.Logger.With("component", "callback")
	set(&c.InFlight, 16)
	set(&c.Backlog, 100_000)
	set(&c.Life, 24*time.Hour)
	set(&c.PauseFirst, time.Second)
	set(&c.PauseLast, time.Minute)
	set(&c.Park, time.Minute)
	set(&c.Grace, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Gone == nil {
		c.Gone = func(string, string) {}
	}
	if len(c.Schedule) == 0 {
		c.Schedule = []time.Duration{
			5 * time.Second, 15 * time.Second, time.Minute, 3 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
		}
	}
	return c, nil
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Service posts callbacks while Run runs. Its methods may be called from many goroutines.
type Service struct {
	cfg Config

	mu      sync.Mutex
	workers map[string]*worker
}

// New makes a Service.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, workers: map[string]*worker{}}, nil
}

// Run posts callbacks until ctx ends: for each app with an endpoint by a worker of its own, which comes and goes with
// the endpoint. It returns once no request is under way any more, at most Config.Grace after ctx. Call it once.
func (s *Service) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		changed := s.cfg.Endpoints.Changed()
		s.follow(ctx, &workers)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// follow starts and stops workers, so that there is one for each endpoint.
func (s *Service) follow(ctx context.Context, running *sync.WaitGroup) {
	apps := s.cfg.Endpoints.Apps()
	s.mu.Lock()
	defer s.mu.Unlock()
	for app, w := range s.workers {
		if !slices.Contains(apps, app) {
			w.stop()
			delete(s.workers, app)
		}
	}
	for _, app := range apps {
		e, ok := s.cfg.Endpoints.Endpoint(app)
		if !ok {
			continue // gone again; another change is on its way
		}
		w, ok := s.workers[app]
		if !ok {
			ctx, stop := context.WithCancel(ctx)
			w = newWorker(s, app, stop)
			s.workers[app] = w
			running.Go(func() { w.run(ctx) })
		}
		if e.Secret.IsZero() {
			s.cfg.Logger.Error("endpoint has no secret, its callbacks wait", "app", app)
		}
		w.follow(e.URL)
	}
}

func (s *Service) worker(app string) *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[app]
}

// wanted says whether an app has somewhere to post to.
func (s *Service) wanted(app string) bool {
	e, ok := s.cfg.Endpoints.Endpoint(app)
	if !ok {
		return false
	}
	w := s.worker(app)
	return w == nil || !w.isGone(e.URL)
}

// Enqueue stores events to be posted. It is durable when it returns nil. An event given twice is posted once, or where
// the first one was posted already, again with the same id. Events of apps without an endpoint are passed over. Those
// of an app that has too many waiting become dead letters. Errors wrap ErrEvent, which no second try mends, or are the
// queue's: then give it all of them again. Call it after the record was updated, and acknowledge what the event came
// from after it.
func (s *Service) Enqueue(ctx context.Context, events ...Event) error {
	puts := make([]*put, 0, len(events))
	var wrong error
	for _, e := range events {
		if !s.wanted(e.OTP.App) {
			continue
		}
		body, err := e.encode()
		if err != nil {
			wrong = errors.Join(wrong, err) // the others go on their way
			continue
		}
		puts = append(puts, &put{app: e.OTP.App, id: e.id(), stored: stored{First: s.cfg.Now().UnixMilli(), Body: body}})
	}
	if err := s.putAll(ctx, puts); err != nil {
		return err
	}
	return wrong
}

// put is a callback on its way to the queue.
type put struct {
	app, id string
	stored  stored
	err     error
}

// putAll hands callbacks to the queue, all at once, and waits for its answers.
func (s *Service) putAll(ctx context.Context, puts []*put) error {
	var answers sync.WaitGroup
	for _, p := range puts {
		w := s.worker(p.app)
		if w != nil && w.waiting.Load() >= int64(s.cfg.Backlog) {
			p.err = errBacklog
			continue
		}
		data, err := p.stored.encode()
		if err != nil {
			p.err = err
			continue
		}
		answers.Add(1)
		s.cfg.Queue.PutCallback(ctx, p.app, p.id, data, func(taken bool, err error) {
			if p.err = err; taken && w != nil {
				w.waiting.Add(1)
			}
			answers.Done()
		})
	}
	answers.Wait()
	for _, p := range puts {
		switch {
		case p.err == nil:
		case errors.Is(p.err, errBacklog), s.cfg.Queue.Full(p.err):
			if err := s.bury(ctx, p.app, p.id, p.stored, ReasonOverflow); err != nil {
				return err
			}
		default:
			return fmt.Errorf("enqueue callback: %w", p.err)
		}
	}
	return nil
}

// errBacklog says that an app has too many callbacks waiting.
var errBacklog = errors.New("too many callbacks of the app wait")

// State is how an app's callbacks fare.
type State struct {
	App     string
	Waiting int       // not done yet, about
	Posted  uint64    // taken by the receiver, since this process started
	Failed  uint64    // failed tries
	Dead    uint64    // given up
	Paused  time.Time // until when the app is left alone; zero where it isn't
	Gone    bool      // the receiver wants none any more
	Last    string    // how the latest failed try ended, without anything secret
}

// States tells how the callbacks of each app with an endpoint fare, sorted by app.
func (s *Service) States() []State {
	s.mu.Lock()
	states := make([]State, 0, len(s.workers))
	for _, w := range s.workers {
		states = append(states, w.state())
	}
	s.mu.Unlock()
	slices.SortFunc(states, func(a, b State) int { return strings.Compare(a.App, b.App) })
	return states
}
