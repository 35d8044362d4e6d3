package apiapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"wabek/internal/app/senderapp"
	"wabek/internal/config"
	"wabek/internal/job"
	"wabek/internal/keys"
)

const usage = `api serves wabek's HTTP API. With nothing configured it is whole: queue, records and a sender are inside.

Usage:
  api                     serve
  api pool-keys POOL...   print the WABEK_POOL_KEYS of a sender that serves these pools
` + commandsUsage + `  api -h                  this page

All of these but pool-keys work on the data directory, whether an API runs there or not; but a sign-in link and the callbacks that
were given up are there only while one runs. A change holds at once.

`

// Main is the program api: it runs until ctx ends and returns the exit code, 2 for a call or a setting that
// can't be understood, 1 for any other failure.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && senderapp.AsksForHelp(args[0]) {
		fmt.Fprint(stdout, usage, config.Usage(config.ProgramAPI))
		return 0
	}
	cfg, warnings, err := config.LoadAPI(environ)
	if err != nil {
		fmt.Fprintf(stderr, "api can't start:\n%v\n", err)
		return 2
	}
	switch {
	case len(args) == 0:
	case slices.Contains([]string{"app", "key", "callback", "whmcs", "opt-out", "opt-in", "sign-in"}, args[0]):
		return runCommand(ctx, cfg, args, stdout, stderr)
	case args[0] == "pool-keys" && len(args) > 1:
		return printPoolKeys(cfg, args[1:], stdout, stderr)
	default:
		fmt.Fprintf(stderr, "api: unknown call %q\n\n%s", strings.Join(args, " "), usage)
		return 2
	}
	logger := senderapp.NewLogger(cfg.Log, stderr)
	for _, w := range warnings {
		logger.Warn("setting", "variable", w.Variable, "warning", w.Text)
	}
	senderapp.TuneGC(environ)
	app, err := New(ctx, Options{Config: cfg, Logger: logger, Stdout: stdout, Terminal: isTerminal(stdout)})
	if err != nil {
		fmt.Fprintf(stderr, "api can't start: %v\n", err)
		return 1
	}
	if err := app.Run(ctx); err != nil {
		fmt.Fprintf(stderr, "api: %v\n", err)
		return 1
	}
	return 0
}

func runCommand(ctx context.Context, cfg config.API, args []string, stdout, stderr io.Writer) int {
	err := administer(ctx, Options{Config: cfg, Logger: senderapp.NewLogger(cfg.Log, stderr)}, args, stdout)
	switch {
	case errors.Is(err, errCall):
		fmt.Fprintf(stderr, "api: %v\n", err)
		return 2
	case err != nil:
		fmt.Fprintf(stderr, "api %s: %v\n", strings.Join(args[:min(2, len(args))], " "), err)
		return 1
	}
	return 0
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printPoolKeys prints what a sender of these pools, and of no other, may know.
func printPoolKeys(cfg config.API, pools []string, stdout, stderr io.Writer) int {
	for _, p := range pools {
		if err := job.CheckPool(p); err != nil {
			fmt.Fprintf(stderr, "api pool-keys: %v\n", err)
			return 2
		}
	}
	secret := cfg.Secret
	if secret.IsZero() {
		var err error
		if secret, err = readSecret(cfg.DataDir); err != nil {
			fmt.Fprintf(stderr, "api pool-keys: %v; set WABEK_SECRET\n", err)
			return 1
		}
	}
	fmt.Fprintln(stdout, keys.DeriveSealKeys(secret, cfg.SecretPrevious).Export(pools...))
	return 0
}
