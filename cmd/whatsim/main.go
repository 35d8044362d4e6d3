// Command whatsim runs the WhatsApp simulator alone. In flow WABEK_SIM_ADDR and the flags; out flow the file of
// -env, which tells clients where it listens. On failure it says why on standard error and exits with 1.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"wabek/internal/config"
	"wabek/internal/whatsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], config.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("whatsim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprint(stdout, "whatsim runs the WhatsApp simulator alone: docs/simulator.md.\n\nFlags:\n")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		_, _ = fmt.Fprint(stdout, "\n", config.Usage(config.ProgramSim))
	}
	env := flags.String("env", "", "write the settings clients need to this `file` once the simulator listens")
	dir := flags.String("dir", "", "keep the state in this `directory` (default: in memory)")
	advertise := flags.String("advertise", "", "the `URL` under which clients reach the simulator (default: where it listens)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	cfg, _, err := config.LoadSim(environ)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "whatsim can't start:\n%v\n", err)
		return 2
	}
	s, err := whatsim.Start(whatsim.Options{Addr: cfg.SimAddr, Dir: *dir, Logger: slog.New(slog.NewTextHandler(stderr, nil))}) //nolint:contextcheck // it lives until Close
	if err == nil {
		settings := fmt.Sprintf("WABEK_WHATSAPP_ENDPOINT=%s\nWABEK_WHATSAPP_ROOT_KEY=%s\nWABEK_SIM_ADDR=%s\n", cmp.Or(*advertise, s.Endpoint()), s.RootKeyHex(), s.Addr())
		if *env != "" {
			err = writeFile(*env, settings)
		}
		if err == nil {
			_, err = io.WriteString(stdout, settings)
		}
		if err == nil {
			<-ctx.Done()
		}
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "whatsim:", err)
		return 1
	}
	return 0
}
