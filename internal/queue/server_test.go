package queue_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"wabek/internal/queue"
	"wabek/internal/queue/embed"
)

const (
	envServeDir  = "WABEK_QUEUE_TEST_SERVE" // where set, this test binary is a NATS server and nothing else
	envServeAddr = "WABEK_QUEUE_TEST_ADDR"
)

// serveAlone is what the test binary does as a server: until it is killed, or its stdin ends.
func serveAlone(dir, addr string) int {
	srv, err := embed.Start(embed.Options{Dir: dir, Listen: addr, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, srv.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test, also where that is killed
	srv.Shutdown()
	return 0
}

// server is a NATS server with a port, which can be stopped and started again on it.
type server struct {
	t    *testing.T
	dir  string
	addr string

	embedded *embed.Server // this, or
	cmd      *exec.Cmd     // that
	stdin    io.Closer
}

// startProcessless starts a server in this process.
func startProcessless(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	s.t.Helper()
	log, _ := logger(s.t)
	var err error
	s.embedded, err = embed.Start(embed.Options{Dir: s.dir, Listen: s.addr, Logger: log})
	require.NoError(s.t, err)
	s.addr = s.embedded.Addr()
}

func (s *server) stop() {
	if s.embedded != nil {
		s.embedded.Shutdown()
		s.embedded = nil
	}
}

// startProcess starts a server in a process of its own, to be killed.
func startProcess(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	s.startAgain()
	t.Cleanup(s.kill)
	return s
}

func (s *server) startAgain() {
	s.t.Helper()
	s.cmd = exec.CommandContext(s.t.Context(), os.Args[0])
	s.cmd.Env = append(os.Environ(), envServeDir+"="+s.dir, envServeAddr+"="+s.addr)
	in, err := s.cmd.StdinPipe()
	require.NoError(s.t, err)
	s.stdin = in
	out, err := s.cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(s.t, err)
	s.addr = strings.TrimSpace(line)
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = s.stdin.Close()
}

func (s *server) loseDisk() {
	s.t.Helper()
	require.NoError(s.t, os.RemoveAll(s.dir))
}

func dial(tb testing.TB, addr string) *nats.Conn {
	tb.Helper()
	log, _ := logger(tb)
	nc, err := queue.Dial("nats://"+addr, queue.DialOptions{Name: "test", Logger: log, InboxPrefix: "_INBOX_test"})
	require.NoError(tb, err)
	tb.Cleanup(nc.Close)
	return nc
}
