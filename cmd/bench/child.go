package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

// A bench and its processes speak in JSON lines: a call goes in, its answer comes out, one at a time.

type call struct {
	Do  string          `json:"do"`
	Arg json.RawMessage `json:"arg"`
}

type answer struct {
	Error string          `json:"error,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// quietLog tells only what a run shouldn't have.
func quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// nothing is the argument or the answer of a call that has none.
type nothing struct{}

type handler func(ctx context.Context, arg json.RawMessage) (any, error)

// on makes a handler of a function with types.
func on[A, R any](do func(context.Context, A) (R, error)) handler {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var arg A
		if err := json.Unmarshal(raw, &arg); err != nil {
			return nil, fmt.Errorf("read argument: %w", err)
		}
		return do(ctx, arg)
	}
}

// answerCalls answers until the parent closes our input.
func answerCalls(ctx context.Context, in io.Reader, out io.Writer, handlers map[string]handler) error {
	var profile *os.File
	handlers["profile"] = on(func(_ context.Context, path string) (_ nothing, err error) {
		if profile, err = os.Create(path); err != nil { //nolint:gosec // where the caller wants it
			return nothing{}, err
		}
		return nothing{}, pprof.StartCPUProfile(profile)
	})
	handlers["profiled"] = on(func(context.Context, nothing) (nothing, error) {
		pprof.StopCPUProfile()
		return nothing{}, profile.Close()
	})
	handlers["cpu"] = on(func(context.Context, nothing) (time.Duration, error) {
		var u syscall.Rusage
		err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
	})
	calls, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var c call
		switch err := calls.Decode(&c); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read call: %w", err)
		}
		var a answer
		value, err := any(nil), fmt.Errorf("unknown call %q", c.Do)
		if h, ok := handlers[c.Do]; ok {
			value, err = h(ctx, c.Arg)
		}
		if err == nil {
			a.Value, err = json.Marshal(value)
		}
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
}

// child is a process of our own. Calls of one child must not overlap.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	once sync.Once
	err  error
}

// patience is how long a child may take to end once its input is closed.
const patience = 30 * time.Second

// spawn starts this program again as one of its children.
func (l *lab) spawn(ctx context.Context, name string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, append([]string{name}, args...)...) //nolint:gosec // this very program
	cmd.Stderr = l.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us; the child ends with its input
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &child{name: name, cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}, nil
}

// ask makes a call and waits for its answer. A child whose call was broken off by ctx can't be asked again.
func ask[R any](ctx context.Context, c *child, do string, arg any) (R, error) {
	var value R
	raw, err := json.Marshal(arg)
	if err != nil {
		return value, fmt.Errorf("%s: %s: %w", c.name, do, err)
	}
	if err := json.NewEncoder(c.in).Encode(call{Do: do, Arg: raw}); err != nil {
		return value, fmt.Errorf("%s: %s: %w", c.name, do, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	defer stop()
	var a answer
	switch err := c.out.Decode(&a); {
	case ctx.Err() != nil:
		return value, fmt.Errorf("%s: %s: %w", c.name, do, ctx.Err())
	case err != nil:
		return value, fmt.Errorf("%s: %s: it has ended: %w", c.name, do, err)
	case a.Error != "":
		return value, fmt.Errorf("%s: %s: %s", c.name, do, a.Error)
	}
	if err := json.Unmarshal(a.Value, &value); err != nil {
		return value, fmt.Errorf("%s: %s: %w", c.name, do, err)
	}
	return value, nil
}

// end closes the child's input and waits until it is gone. It may be called again.
func (c *child) end() error {
	c.once.Do(func() {
		err := c.in.Close()
		kill := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
		defer kill.Stop()
		if werr := c.cmd.Wait(); werr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, werr))
		}
		c.err = err
	})
	return c.err
}

// profiled runs a part under a CPU profile of the child, where one was asked for.
func (l *lab) profiled(ctx context.Context, c *child, part func() error) error {
	if l.profile == "" {
		return nil
	}
	if _, err := ask[nothing](ctx, c, "profile", l.profile); err != nil {
		return err
	}
	err := part()
	_, perr := ask[nothing](ctx, c, "profiled", nothing{})
	return errors.Join(err, perr)
}

// cpuOf runs a part and returns how much CPU the child used for it.
func cpuOf(ctx context.Context, c *child, part func() error) (time.Duration, error) {
	before, err := ask[time.Duration](ctx, c, "cpu", nothing{})
	if err != nil {
		return 0, err
	}
	if err := part(); err != nil {
		return 0, err
	}
	after, err := ask[time.Duration](ctx, c, "cpu", nothing{})
	return after - before, err
}
