// Package whatsim is a WhatsApp server on loopback for unmodified whatsmeow clients. In flow their connections
// and HTTP calls that steer phones and faults; out flow acks, receipts and what the virtual phones have decrypted.
// On failure it does what WhatsApp does: it refuses, cuts or stays silent, and never takes the program down.
package whatsim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/util/keys"
)

// ErrClosed says that the server has been closed.
var ErrClosed = errors.New("the simulator is closed")

// Options says how a simulator is started. The zero value is a simulator in memory on a free port.
type Options struct {
	// Addr is the listen address of the WhatsApp endpoint (/ws/chat) and of the HTTP control; "" is 127.0.0.1:0.
	Addr string
	// Dir is where the state is kept between starts; "" keeps it in memory.
	Dir string
	// RootKey is the private key that signs the server's certificate. nil takes the one in Dir, or a new one.
	// Clients hold the public key in a global (whatsmeow.WACertPubKey), so several servers of one process must
	// share it: see SharedRoot.
	RootKey *[32]byte
	// Logger is told about connections, pairings and refused stanzas; nil is silence.
	Logger *slog.Logger
}

// SharedRoot returns a random private root key, the same for the whole life of the process.
func SharedRoot() *[32]byte { return sharedRoot() }

//nolint:gochecknoglobals // whatsmeow.WACertPubKey is a global of the process, so its counterpart is one too
var sharedRoot = sync.OnceValue(func() *[32]byte { return keys.NewKeyPair().Priv })

// Server is a running simulator. All its methods may be called at the same time.
type Server struct {
	log    *slog.Logger
	ln     net.Listener
	http   *http.Server
	root   *keys.KeyPair
	seed   [32]byte // what the keys of all phones are derived from
	static [32]byte
	hello  *hello
	disk   *disk
	faults faults
	pairs  pairings

	cancel context.CancelFunc
	stop   chan struct{} // closed by Close

	mu     sync.Mutex // guards closed, conns and the start of goroutines
	closed bool
	conns  map[*conn]struct{}
	wg     sync.WaitGroup

	dirMu    sync.RWMutex // guards the two maps and what accounts hold
	phones   map[string]*phone
	accounts map[string]*account
}

// account is a number that companions are paired with.
type account struct {
	phone   *phone
	last    uint16 // the highest device number given out
	devices map[uint16]*device
}

// Start starts a simulator. It is listening when Start returns. An unreadable state directory and a taken
// address are errors.
func Start(o Options) (*Server, error) {
	s := &Server{
		log: o.Logger, stop: make(chan struct{}), conns: make(map[*conn]struct{}),
		phones: make(map[string]*phone), accounts: make(map[string]*account),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.pairs.tickets = make(map[string]ticket)
	if err := s.open(o); err != nil {
		return nil, fmt.Errorf("start simulator: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, rawConnKey{}, c)
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.spawn(func() {
		if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("listener stopped", "err", err)
		}
	})
	if s.disk.dir != "" {
		s.spawn(s.saveLoop)
	}
	return s, nil
}

// open restores or makes the server's keys and binds its address.
func (s *Server) open(o Options) error {
	s.disk = newDisk(o.Dir)
	kept, err := s.disk.loadAccounts()
	if err != nil {
		return err
	}
	rootKey, static, seed := kept.Root, kept.Static, kept.Seed
	if o.RootKey != nil {
		rootKey = o.RootKey[:]
	}
	for _, key := range []*[]byte{&rootKey, &static, &seed} {
		if len(*key) == 0 {
			*key = make([]byte, 32)
			_, _ = rand.Read(*key) // never fails
		}
		if len(*key) != 32 {
			return fmt.Errorf("%s: a key is not 32 bytes long: delete the file to start anew", s.disk.path(accountsFile))
		}
	}
	s.root = keys.NewKeyPairFromPrivateKey([32]byte(rootKey))
	s.static, s.seed = [32]byte(static), [32]byte(seed)
	if s.hello, err = newHello(s.root.Priv, &s.static, time.Now()); err != nil {
		return err
	}
	if err := s.restore(kept); err != nil {
		return err
	}
	if err := s.saveAccounts(); err != nil {
		return err
	}
	addr := o.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	s.ln, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	return err
}

// Addr returns the address the simulator listens on, host:port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Endpoint returns the base URL of the simulator, http://host:port: what WABEK_WHATSAPP_ENDPOINT takes.
func (s *Server) Endpoint() string { return "http://" + s.Addr() }

// RootKeyHex returns the public root key as 64 hex digits: what WABEK_WHATSAPP_ROOT_KEY takes, and in bytes
// what whatsmeow.WACertPubKey must be.
func (s *Server) RootKeyHex() string { return hex.EncodeToString(s.root.Pub[:]) }

// Close cuts all connections, waits for every goroutine and saves the state. Only the saving can fail.
// Calling it again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.wg.Wait()
		return nil
	}
	s.closed = true
	close(s.stop)
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	s.cancel()
	_ = s.http.Close() // it only reports that the listener is closed already
	for _, c := range open {
		c.cut()
	}
	s.wg.Wait()
	if err := s.save(); err != nil {
		return fmt.Errorf("close simulator: %w", err)
	}
	return nil
}

// spawn runs f in a goroutine that Close waits for. After Close it does nothing.
func (s *Server) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(f)
	}
}

// after runs f in d, unless the server is closed first.
func (s *Server) after(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	s.spawn(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			f()
		case <-s.stop:
		}
	})
}

// phone returns the phone with that number, made at first use; digits have been checked.
func (s *Server) phone(digits string) *phone {
	s.dirMu.RLock()
	p := s.phones[digits]
	s.dirMu.RUnlock()
	if p != nil {
		return p
	}
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	if p = s.phones[digits]; p == nil {
		p = newPhone(s.seed, digits)
		s.phones[digits] = p
	}
	return p
}

// device returns a paired companion, or nil.
func (s *Server) device(digits string, number uint16) *device {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	if a := s.accounts[digits]; a != nil {
		return a.devices[number]
	}
	return nil
}

// companions returns an account's paired devices, by number.
func (s *Server) companions(digits string) []*device {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	a := s.accounts[digits]
	if a == nil {
		return nil
	}
	out := make([]*device, 0, len(a.devices))
	for _, d := range a.devices {
		out = append(out, d)
	}
	slices.SortFunc(out, byNumber)
	return out
}

func byNumber(a, b *device) int { return int(a.number) - int(b.number) }

// Messages returns what the phone with that number shows, oldest first; an unknown phone shows nothing.
func (s *Server) Messages(digits string) []Message {
	if checkDigits(digits) != nil {
		return []Message{}
	}
	shown, _ := s.phone(digits).messages()
	return shown
}

// WaitMessage waits for a message on the phone for which ok is true, and returns the oldest such; a nil ok takes
// any. It fails with ErrBadNumber, with ctx's error, or with ErrClosed.
func (s *Server) WaitMessage(ctx context.Context, digits string, ok func(Message) bool) (Message, error) {
	if err := checkDigits(digits); err != nil {
		return Message{}, err
	}
	p := s.phone(digits)
	for {
		shown, changed := p.messages()
		for _, m := range shown {
			if ok == nil || ok(m) {
				return m, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("wait for a message: %w", ctx.Err())
		case <-s.stop:
			return Message{}, ErrClosed
		}
	}
}

// PhoneSettings are the changes SetPhone makes: nil and false leave things as they are.
type PhoneSettings struct {
	// Exists says whether the number is on WhatsApp (default true).
	Exists *bool `json:"exists,omitempty"`
	// Read says whether the owner reads messages, so that a read receipt follows the delivered one (default true).
	Read *bool `json:"read,omitempty"`
	// Online says whether the phone has a network (default true). Going online delivers what waits.
	Online *bool `json:"online,omitempty"`
	// Reinstall gives the phone new keys, as a new installation of WhatsApp does.
	Reinstall bool `json:"reinstall,omitempty"`
}

// SetPhone changes a phone, which need not have been used before. It fails with ErrBadNumber.
func (s *Server) SetPhone(digits string, p PhoneSettings) error {
	_, err := s.setPhone(context.Background(), digits, p)
	return err
}

// setPhone is SetPhone, and tells the new settings.
func (s *Server) setPhone(ctx context.Context, digits string, change PhoneSettings) (phoneState, error) {
	if err := checkDigits(digits); err != nil {
		return phoneState{}, err
	}
	state, replies := s.phone(digits).set(ctx, change)
	for _, r := range replies {
		s.answer(r)
	}
	s.disk.touch()
	return state, nil
}

// Session is a paired companion as the server sees it.
type Session struct {
	// Account is the number it is paired with, digits.
	Account string `json:"account"`
	// Device is its device number, 1 to 255.
	Device int `json:"device"`
	// Connected says whether it is logged in now.
	Connected bool `json:"connected"`
	// Stanzas counts the message stanzas taken from it since the server's start.
	Stanzas int64 `json:"stanzas"`
	// FromReplaced counts the message stanzas that came over a connection that another one had replaced. They are
	// neither acked nor delivered; a client that sends any is at fault.
	FromReplaced int64 `json:"from_replaced"`
}

// Sessions lists all paired companions by account and device number.
func (s *Server) Sessions() []Session {
	out := []Session{}
	for _, d := range s.allDevices() {
		out = append(out, Session{
			Account: d.account.digits, Device: int(d.number), Connected: d.current() != nil,
			Stanzas: d.stanzas.Load(), FromReplaced: d.fromReplaced.Load(),
		})
	}
	return out
}

// Reset forgets faults, shown messages and phone settings. Paired devices and the phones' keys stay.
func (s *Server) Reset() {
	s.ClearFaults()
	s.dirMu.RLock()
	phones := make([]*phone, 0, len(s.phones))
	for _, p := range s.phones {
		phones = append(phones, p)
	}
	s.dirMu.RUnlock()
	for _, p := range phones {
		p.forget()
	}
	s.disk.touch()
}
