package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"wabek/internal/app/apiapp"
	"wabek/internal/app/senderapp"
	"wabek/internal/config"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

const usage = `demo is wabek with a WhatsApp simulator: no phone and no configuration are needed. Any number exists.

Usage:
  demo         serve, and print what to paste
  demo -once   play the whole story once, on free ports, and exit 0 if every answer was right
  demo -h      this page

`

// demoKey is the API key unless WABEK_API_KEY is set: short, known to everybody, and only good on loopback.
const demoKey = "demo"

// clock is the time of day, turned forward at will.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) turn(d time.Duration) { c.ahead.Add(int64(d)) }

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stdout, usage, config.Usage(config.ProgramDemo)) }
	once := flags.Bool("once", false, "play the story once")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	cfg, warnings, err := config.LoadAPI(environ)
	sim, _, simErr := config.LoadSim(environ)
	if err := errors.Join(err, simErr); err != nil {
		fmt.Fprintf(stderr, "demo can't start:\n%v\n", err)
		return 2
	}
	cfg.NATSURL = config.NATSURL{} // the demo is always whole
	if cfg.Addr == ":8080" && !given(environ, "WABEK_ADDR", "PORT") {
		cfg.Addr = "127.0.0.1:8080" // everybody knows the key
	}
	if *once {
		cfg.Addr, sim.SimAddr, cfg.Log.Level = "127.0.0.1:0", "127.0.0.1:0", slog.LevelWarn
	}
	logger := senderapp.NewLogger(cfg.Log, stderr)
	for _, w := range warnings {
		logger.Warn("setting", "variable", w.Variable, "warning", w.Text)
	}
	if err := demonstrate(ctx, cfg, sim, *once, logger, stdout); err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// given says that one of the variables is set.
func given(environ []string, names ...string) bool {
	return slices.ContainsFunc(environ, func(e string) bool {
		name, value, _ := strings.Cut(e, "=")
		return value != "" && slices.Contains(names, name)
	})
}

// demonstrate starts the simulator and wabek, pairs the two, and plays the story or serves until ctx ends.
func demonstrate(ctx context.Context, cfg config.API, simCfg config.Sim, once bool, logger *slog.Logger, stdout io.Writer) (err error) {
	if !cfg.DataDirSet {
		if cfg.DataDir, err = os.MkdirTemp("", "wabek-demo-"); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.DataDir)) }()
	}
	simDir := filepath.Join(cfg.DataDir, "whatsim")
	if err := os.MkdirAll(simDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	sim, err := whatsim.Start(whatsim.Options{Addr: simCfg.SimAddr, Dir: simDir, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	if cfg.WhatsApp, err = placeOf(sim); err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var time clock
	phone := scanner{sim: sim, logger: logger}
	app, err := apiapp.New(ctx, apiapp.Options{
		Config: cfg, Logger: logger, Stdout: stdout, APIKey: demoKey, ShowQR: func(c whatsapp.QRCode) { phone.scan(ctx, c) }, Now: time.now,
	})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- app.Run(ctx) }()
	key := demoKey
	if !cfg.APIKey.IsZero() {
		key = cfg.APIKey.Reveal()
	}
	err = waitReady(ctx, app.URL(), served)
	switch {
	case err != nil:
	case once:
		s := story{out: stdout, api: app.URL(), key: key, sim: sim, clock: &time, cfg: cfg}
		err = s.play(ctx)
	default:
		shown := key
		if !cfg.APIKey.IsZero() {
			shown = "$WABEK_API_KEY"
		}
		fmt.Fprintf(stdout, paste, app.URL(), sim.Endpoint(), shown, app.SignInLink())
		<-ctx.Done()
	}
	stop()
	err = errors.Join(err, <-served)
	phone.wait()
	return err
}

const paste = `
wabek runs at %[1]s, the WhatsApp simulator at %[2]s.

Send an OTP:
  curl -s -X POST %[1]s/api/v1/otp -H 'X-API-Key: %[3]s' -d '{"phone":"+905551234567","purpose":"verification"}'
Read it on the virtual phone:
  curl -s %[2]s/phones/905551234567/messages
Verify it, with the otpId and the code of the two answers:
  curl -s -X POST %[1]s/api/v1/otp-verify -H 'X-API-Key: %[3]s' -d '{"otp_id":"OTPID","otp":"CODE"}'
Or try it in a browser; the link is for one, within 15 minutes:
  %[4]s

Ctrl-C ends it.
`

func placeOf(sim *whatsim.Server) (config.WhatsApp, error) {
	key, err := hex.DecodeString(sim.RootKeyHex())
	if err != nil {
		return config.WhatsApp{}, fmt.Errorf("simulator's key: %w", err)
	}
	return config.WhatsApp{Endpoint: sim.Endpoint(), RootKey: config.RootKey(key)}, nil
}

// waitReady waits until OTPs are accepted, for half a minute at most.
func waitReady(ctx context.Context, api string, served <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if code, _, err := call(ctx, http.MethodGet, api+"/readyz", "", ""); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case err := <-served:
			return errors.Join(errors.New("wabek stopped"), err)
		case <-ctx.Done():
			return fmt.Errorf("wait until OTPs are accepted: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
