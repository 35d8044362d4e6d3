package stories_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patient is how long a story waits for what must come soon.
const patient = 30 * time.Second

// program is one of the story's processes. It may be killed and started again; its log goes on.
type program struct {
	t    *testing.T
	name string
	args []string
	env  []string
	log  string // the file of standard error
	out  string // the file of standard output

	cmd  *exec.Cmd
	done chan struct{}
	code int
}

// program makes one that isn't started yet. Its environment is env alone.
func (w *world) program(name, executable string, env []string, args ...string) *program {
	p := &program{
		t: w.t, name: name, args: append([]string{filepath.Join(bin, executable)}, args...), env: env,
		log: filepath.Join(w.logs, name+".log"), out: filepath.Join(w.logs, name+".out"),
	}
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() {
			w.t.Logf("the end of the log of %s:\n%s", name, tail(p.log, 25))
		}
	})
	return p
}

// start starts the process.
func (p *program) start() {
	p.t.Helper()
	stderr, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer stderr.Close()
	stdout, err := os.OpenFile(p.out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer stdout.Close()
	p.startWith(stdout, stderr)
}

func (p *program) startWith(stdout, stderr io.Writer) {
	p.t.Helper()
	//nolint:noctx // it ends by kill, and its own end is part of many stories
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Dir = p.env, filepath.Dir(p.log)
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also where the test itself is killed
	require.NoError(p.t, p.cmd.Start(), p.name)
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait() // the exit code says it
		p.code = cmd.ProcessState.ExitCode()
	}(p.cmd, p.done)
}

// kill ends the process as a crash does, and waits until it is gone.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the process to end and returns its exit code.
func (p *program) stop() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.wait()
}

// wait waits for the process to end by itself and returns its exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patient):
		require.FailNow(p.t, p.name+" doesn't end")
	}
	return p.code
}

// running says whether the process is there.
func (p *program) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// call runs a program to its end, with env alone as its environment.
func call(t *testing.T, executable string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(bin, executable), args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, t.TempDir(), &out, &errs
	_ = cmd.Run() // the exit code says it
	require.NoError(t, ctx.Err(), "%s %v doesn't end", executable, args)
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// lines hands each whole line written to it to fn.
type lines struct {
	mu   sync.Mutex
	rest []byte
	fn   func(string)
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.fn(string(line))
		l.rest = rest
	}
}

// freeAddr is an address on loopback that nobody listens on now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// eventually waits until something is so.
func eventually(t *testing.T, so func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, so, patient, 10*time.Millisecond, append([]any{what}, args...)...)
}
