// Command bench measures wabek beside the raw ceilings of the machine it runs on.
//
// In: what to measure. Out: a table for people or a JSON line per case, each ours against a ceiling that was
// measured in turn with it. On failure: a request that wasn't answered as it must be ends the run with exit
// code 1; a goal that is missed is printed as MISS and is no failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"wabek/internal/app/senderapp"
	"wabek/internal/config"
)

const usage = `bench measures wabek beside the raw ceilings of this machine, in processes of their own, in turn.

Usage:
  bench issue    POST /api/v1/otp, durable and published, beside an echo handler that only parses;
                 the record store alone beside a bare loop of the same bbolt group commits
  bench verify   POST /api/v1/otp-verify with right codes, each used once, beside the same handler
  bench send     the sender draining a queue beside a bare whatsmeow SendMessage loop
  bench e2e      an idle POST until the virtual phone shows it, above a bare send
  bench fanout   the same beside a run of 50,000 invoice notices, with four sessions and with one, beside the run paused;
                 and the webhook that takes the run
  bench overload four times the OTPs that a session carries: how long the accepted take, how soon the others are refused

Flags:
`

// options are the flags.
type options struct {
	json       bool
	quick      bool
	million    bool
	tenMillion bool
	profile    string
	only       int
	once       bool
	records    int // of the store, instead of a million
	notices    int // of bench fanout: a minute and session, 0 for no bound
}

// plan says how long and how often.
type plan struct {
	pairs     func(conns int) int
	phase     time.Duration
	samples   int    // of e2e, for each kind
	firstSend int    // messages of a phase of bench send: to new numbers,
	warmSend  int    // and to known ones
	known     uint64 // how many numbers the messages to known ones go to
	budget    time.Duration

	events        int           // of bench fanout: invoices announced,
	fanoutBlocks  int           // pairs of halves,
	fanoutSamples int           // OTPs of a half,
	beat          time.Duration // and the time between two
	overload      time.Duration // of bench overload
}

func (o options) plan() plan {
	if o.quick {
		return plan{
			pairs: func(conns int) int { return map[bool]int{true: 3, false: 1}[conns == widest] },
			phase: 500 * time.Millisecond, samples: 60, firstSend: 150, warmSend: 400, known: 50, budget: 3 * time.Minute,
			events: 4000, fanoutBlocks: 2, fanoutSamples: 20, beat: 50 * time.Millisecond, overload: 20 * time.Second,
		}
	}
	return plan{
		pairs: func(conns int) int { return map[bool]int{true: 7, false: 3}[conns == widest] },
		phase: 3 * time.Second, samples: 500, firstSend: 1000, warmSend: 3000, known: 200, budget: time.Hour,
		events: 50_000, fanoutBlocks: 4, fanoutSamples: 30, beat: time.Second, overload: 2 * time.Minute,
	}
}

func main() {
	// With SIGPIPE, so that a reader who has seen enough doesn't leave our directory behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: one of the benches, or one of the processes that a bench starts.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if child, ok := children()[args[0]]; ok {
			senderapp.TuneGC(config.Environ()) // as cmd/api and cmd/sender do
			if err := child(context.WithoutCancel(ctx), args[1:], stdin, stdout); err != nil {
				fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
				return 1
			}
			return 0
		}
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	flags.BoolVar(&o.json, "json", false, "print a JSON line per case")
	flags.BoolVar(&o.quick, "quick", false, "end within 40 seconds: fewer and shorter phases, wider spreads")
	flags.BoolVar(&o.million, "million", false, "issue: only beside a million records")
	flags.BoolVar(&o.tenMillion, "ten-million", false, "issue: only beside ten million records (some 5 GB of disk)")
	flags.BoolVar(&o.once, "keys", false, "issue: each request has an Idempotency-Key")
	flags.IntVar(&o.only, "only", 0, "measure only with this many requests at once, and not the store alone; fanout: this many sessions")
	flags.IntVar(&o.notices, "notices", fanoutPace, "fanout: notices a minute and session, 0 for as many as there can be")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of the process under test to this `file`")
	if len(args) == 0 {
		flags.Usage()
		return 2
	}
	bench, ok := benches()[args[0]]
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || !ok || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	if err := measure(ctx, args[0], bench, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// benches are what a person can ask for.
func benches() map[string]func(context.Context, *lab) error {
	return map[string]func(context.Context, *lab) error{
		"issue": benchIssue, "verify": benchVerify, "send": benchSend, "e2e": benchE2E, "fanout": benchFanout, "overload": benchOverload,
	}
}

// children are the processes that a bench starts; they speak JSON lines with it and end with their input.
func children() map[string]func(context.Context, []string, io.Reader, io.Writer) error {
	return map[string]func(context.Context, []string, io.Reader, io.Writer) error{
		"load": runLoad, "serve": runServe, "echo": runEcho, "store": runStore,
		"sim": runSim, "drain": runDrain, "bare": runBare,
	}
}

// lab is what a bench works with: a directory, processes, a place for results.
type lab struct {
	options
	plan

	name   string
	dir    string
	report *report
	stderr io.Writer
}

// measure runs one bench in a directory of its own.
func measure(ctx context.Context, name string, bench func(context.Context, *lab) error, o options, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "wabek-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l := &lab{options: o, plan: o.plan(), name: name, dir: dir, report: newReport(name, o.json, stdout), stderr: stderr}
	ctx, cancel := context.WithTimeout(ctx, l.budget)
	defer cancel()
	return bench(ctx, l)
}

// widths are the concurrencies to measure.
func (l *lab) widths() []int {
	if l.only > 0 {
		return []int{l.only}
	}
	return []int{1, 16, 64, widest}
}

// note tells a person what is going on.
func (l *lab) note(format string, args ...any) {
	fmt.Fprintf(l.stderr, "# "+format+"\n", args...)
}
