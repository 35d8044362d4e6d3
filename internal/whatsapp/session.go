// Package whatsapp runs WhatsApp sessions on unmodified whatsmeow; nothing else of wabek knows that library.
//
// In: opened send jobs, and what WhatsApp's servers say. Out: messages on phones, their receipts by job, who wants no more
// notices, and the session's state. On failure: a *job.Failure that says by its class who may try again; a lost connection is
// dialled again, and a device that WhatsApp has logged out is kept until its owner deletes it.
package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"wabek/internal/job"
)

// ErrDead is returned by Ready where the session will never send again by itself; its text says what to do.
var ErrDead = errors.New("session is dead")

// DefaultSendTimeout is the deadline of a send whose context has none.
const DefaultSendTimeout = 20 * time.Second

// Config is what a session is made of. Zero times take their defaults.
type Config struct {
	Stored  Stored
	Devices *Devices
	Place   Place
	Ledger  *Ledger
	Fence   uint64                               // of the session's lease
	Open    func(job.Envelope) (job.Body, error) // opens a sealed body again, for a phone that couldn't read it
	// OnReceipts is told of delivered and read messages, in order of arrival, perhaps more than once: of all that came
	// within 50 ms. The slice is its own only until it returns; while it does not, receipts queue up, 8,192 before
	// further ones are lost. May be nil.
	OnReceipts func([]job.Receipt)
	// OnWish is told who wrote to the account that they want no more notices, or want them again, one after the other and
	// perhaps more than once; of all else that people write nothing leaves this package. It must return soon, since all
	// that WhatsApp says waits for it, and have kept the wish by then: WhatsApp is told only afterwards that the message has
	// come. A crash between its decryption and that, less than a millisecond apart, loses it, for nobody can decrypt it twice.
	// May be nil.
	OnWish func(Wish)
	// OnState is told of each new state, in order. It must return soon: the dial loop waits for it. May be nil.
	OnState func(State)
	Logger  *slog.Logger

	LoginTimeout time.Duration // from dialled to logged in; default 20 s
	SendTimeout  time.Duration // default DefaultSendTimeout
}

// Session is one paired device that sends. Its methods may be called from many goroutines.
type Session struct {
	cfg          Config
	log          *slog.Logger
	cli          *whatsmeow.Client
	own          map[string]bool // users of the account itself, as number and as LID
	loginTimeout time.Duration
	sendTimeout  time.Duration

	signals  chan ending     // from whatsmeow's events to the dial loop
	reset    chan struct{}   // asks the dial loop for a new connection
	receipts chan receiptSet // from whatsmeow's events to their goroutine
	lost     atomic.Uint64   // receipts that found the queue full
	turn     chan struct{}   // one message at a time, as whatsmeow does it, but with a deadline on the waiting
	stopping chan struct{}   // closed by Stop

	mu      sync.Mutex // guards what follows
	state   State
	changed chan struct{} // closed at each new state
	cancel  context.CancelFunc
	stopped bool
	wg      sync.WaitGroup
}

// NewSession makes a session of a stored device. One process may have one session per device.
// Errors: ErrNoDevice, ErrPlace, ErrOtherPlace.
func NewSession(ctx context.Context, cfg Config) (*Session, error) {
	dev, err := cfg.Devices.device(ctx, cfg.Stored)
	if err != nil {
		return nil, fmt.Errorf("new session: %w", err)
	}
	log := cfg.Logger.With("session", cfg.Stored.ID)
	cli, err := newClient(dev, cfg.Place, log)
	if err != nil {
		return nil, fmt.Errorf("new session: %w", err)
	}
	s := &Session{
		cfg: cfg, log: log, cli: cli, own: map[string]bool{dev.ID.User: true, dev.LID.User: true},
		loginTimeout: orDefault(cfg.LoginTimeout, loginTimeout), sendTimeout: orDefault(cfg.SendTimeout, DefaultSendTimeout),
		signals: make(chan ending, 64), reset: make(chan struct{}, 1),
		receipts: make(chan receiptSet, receiptQueue), turn: make(chan struct{}, 1), stopping: make(chan struct{}),
		state: State{Code: Stopped, Text: textStopped, Since: time.Now()}, changed: make(chan struct{}),
	}
	cli.DisableLoginAutoReconnect = true
	dev.Container = keepDevices{dev.Container}
	dev.Sessions = watchedSessions{dev.Sessions}
	dev.Identities = rememberedIdentities{dev.Identities, newMemory[string, [32]byte]()}
	dev.PrivacyTokens = rememberedTokens{dev.PrivacyTokens, newMemory[types.JID, *store.PrivacyToken]()}
	cli.GetMessageForRetry = s.messageForRetry
	cli.AddEventHandler(s.handle)
	return s, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// ID is the session's id.
func (s *Session) ID() string { return s.cfg.Stored.ID }

// Fence is the number of the session's lease.
func (s *Session) Fence() uint64 { return s.cfg.Fence }

// State is how the session is now.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *Session) setState(next State) {
	next.Since = time.Now()
	s.mu.Lock()
	known := next.Code == s.state.Code && next.Text == s.state.Text
	if known {
		next.Since = s.state.Since
	}
	s.state = next
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if !known {
		s.log.Info("session state", "code", string(next.Code), "text", next.Text)
		if s.cfg.OnState != nil {
			s.cfg.OnState(next)
		}
	}
}

// Ready waits until the session may send. Errors: ErrDead, and the context's.
func (s *Session) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		state, changed := s.state, s.changed
		s.mu.Unlock()
		switch {
		case state.Up():
			return nil
		case state.Dead():
			return fmt.Errorf("%w: %s", ErrDead, state.Text)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for session: %w", ctx.Err())
		}
	}
}

// Start begins to dial and returns. A session can be started once; further calls do nothing.
func (s *Session) Start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil || s.stopped {
		return
	}
	// The session ends by Stop, so that what is under way can finish first.
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	offline := make(chan struct{})
	s.wg.Go(func() {
		defer close(offline)
		s.run(ctx)
	})
	s.wg.Go(func() { s.passReceipts(context.WithoutCancel(ctx), offline) })
}

// Stop refuses further messages, waits for the one under way, disconnects and waits for the session's goroutines;
// receipts that have come are still handed over. Stop before Start, and a second one, are fine.
// Error: the context's, where it ends first; the session stops all the same.
func (s *Session) Stop(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopped
	if first {
		s.stopped = true
		close(s.stopping)
	}
	cancel := s.cancel
	s.mu.Unlock()
	if cancel == nil {
		return nil
	}
	if first {
		select {
		case s.turn <- struct{}{}: // never given back
		case <-ctx.Done():
		}
		cancel()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop session: %w", ctx.Err())
	}
}
