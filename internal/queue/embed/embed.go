// Package embed runs a NATS server with JetStream inside this process.
//
// In: a directory. Out: in-process connections, and a TCP port only where one is asked for.
// On failure: Start says why; what the server itself has to complain about later goes to the logger.
package embed

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	startTimeout = 20 * time.Second // a big store takes a while to open: 1 M status subjects took 1.4 s
	// syncInterval bounds what a power loss can take from the transport. A process kill loses nothing: the
	// server writes before it acknowledges. The records, not this store, are what an answer rests on.
	syncInterval = 2 * time.Second
)

// Options say where the server keeps its streams and whether it listens.
type Options struct {
	Dir    string // for the streams; made with 0700 where it is missing
	Logger *slog.Logger
	// Listen is host:port for TCP clients, port 0 for a free one. Empty: no port at all.
	Listen string
	// User and Password are asked of every client where User is set; Connect brings them by itself. A Listen
	// beyond the loopback needs them.
	User, Password string
}

// Server is a running NATS server.
type Server struct {
	srv  *server.Server
	opts Options
	done sync.WaitGroup
}

// Start starts a server and returns once it takes connections.
func Start(o Options) (*Server, error) {
	if o.Dir == "" || o.Logger == nil {
		return nil, errors.New("embedded nats: needs a directory and a logger")
	}
	so := &server.Options{
		ServerName:             "wabek-embedded",
		JetStream:              true,
		StoreDir:               filepath.Clean(o.Dir),
		SyncInterval:           syncInterval,
		DontListen:             true,
		NoSigs:                 true, // the program stops the server, not the program's signals
		DisableJetStreamBanner: true,
		Username:               o.User,
		Password:               o.Password,
	}
	if o.Listen != "" {
		if err := listen(so, o); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(so.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded nats: %w", err)
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("embedded nats: %w", err)
	}
	srv.SetLoggerV2(slogAdapter{o.Logger.With("component", "nats-server")}, false, false, false)

	s := &Server{srv: srv, opts: o}
	s.done.Go(srv.Start)
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("embedded nats: not ready after %s, see its log", startTimeout)
	}
	return s, nil
}

func listen(so *server.Options, o Options) error {
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("embedded nats: listen address: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("embedded nats: listen port: %w", err)
	}
	ip := net.ParseIP(host)
	if o.User == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("embedded nats: listening beyond the loopback needs a user")
	}
	if n == 0 {
		n = server.RANDOM_PORT
	}
	so.DontListen, so.Host, so.Port = false, host, n
	return nil
}

// Connect opens an in-process connection.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	opts = append(opts, nats.InProcessServer(s.srv))
	if s.opts.User != "" {
		opts = append(opts, nats.UserInfo(s.opts.User, s.opts.Password))
	}
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to embedded nats: %w", err)
	}
	return nc, nil
}

// Addr is where the server listens, "" where it doesn't.
func (s *Server) Addr() string {
	if a := s.srv.Addr(); a != nil {
		return a.String()
	}
	return ""
}

// Shutdown stops the server and waits until its files are closed.
func (s *Server) Shutdown() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.done.Wait()
}

// slogAdapter is the server's logger. What it notices (thirty lines at each start) is for debugging.
type slogAdapter struct{ log *slog.Logger }

func (a slogAdapter) Noticef(f string, v ...any) { a.log.Debug("notice", "text", fmt.Sprintf(f, v...)) }

func (a slogAdapter) Warnf(f string, v ...any) { a.log.Warn("warning", "text", fmt.Sprintf(f, v...)) }

func (a slogAdapter) Errorf(f string, v ...any) { a.log.Error("error", "text", fmt.Sprintf(f, v...)) }

func (a slogAdapter) Fatalf(f string, v ...any) { a.log.Error("fatal", "text", fmt.Sprintf(f, v...)) }
func (slogAdapter) Debugf(string, ...any)       {}
func (slogAdapter) Tracef(string, ...any)       {}
