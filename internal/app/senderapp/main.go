package senderapp

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"
	_ "golang.org/x/crypto/x509roots/fallback" // WhatsApp is reached by TLS, and an image from scratch has no certificates

	"wabek/internal/config"
	"wabek/internal/queue"
	"wabek/internal/whatsapp"
)

const usage = `sender delivers the jobs of a pool through a WhatsApp session.

Usage:
  sender               deliver; waits for the queue, and for a session to be paired
  sender pair [-text]  pair a session: shows a QR code to scan, exits 0 once the session has logged in,
                       1 when nobody scanned one in time. Needs neither NATS nor a secret.
                       -text prints the raw text of each QR code alone on stdout, one a line
  sender -h            this page

`

// AsksForHelp says that an argument is one of the usual ways to ask for help.
func AsksForHelp(arg string) bool {
	return slices.Contains([]string{"-h", "--help", "-help", "help"}, arg)
}

// NewLogger makes the logger of a program.
func NewLogger(l config.Log, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// Main is the program sender: it runs until ctx ends and returns the exit code, 2 for a call or a setting that
// can't be understood, 1 for any other failure.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	switch {
	case len(args) > 0 && AsksForHelp(args[0]):
		fmt.Fprint(stdout, usage, config.Usage(config.ProgramSender))
		return 0
	case len(args) > 0 && args[0] == "pair":
		return pairMain(ctx, args[1:], environ, stdout, stderr)
	case len(args) > 0:
		fmt.Fprintf(stderr, "sender: unknown call %q\n\n%s", strings.Join(args, " "), usage)
		return 2
	}
	cfg, warnings, err := config.LoadSender(environ)
	if err != nil {
		fmt.Fprintf(stderr, "sender can't start:\n%v\n", err)
		return 2
	}
	logger := NewLogger(cfg.Log, stderr)
	for _, w := range warnings {
		logger.Warn("setting", "variable", w.Variable, "warning", w.Text)
	}
	TuneGC(environ)
	if err := serve(ctx, cfg, logger); err != nil {
		fmt.Fprintf(stderr, "sender: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg config.Sender, logger *slog.Logger) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this host: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("WABEK_DATA_DIR: %w", err)
	}
	nc, err := queue.Dial(cfg.NATSURL.Reveal(), queue.DialOptions{Name: "wabek-sender", Logger: logger})
	if err != nil {
		return err
	}
	defer nc.Close()
	broker, err := queue.New(nc, queue.Options{Replicas: 1, Logger: logger})
	if err != nil {
		return err
	}
	app := New(Options{
		Name: name, Pool: cfg.Pool, DataDir: cfg.DataDir, Place: Place(cfg.WhatsApp), Broker: broker,
		Opener: cfg.SealKeys, Sealer: cfg.SealKeys, NoticesPerMinute: cfg.NoticesPerMinute, Drain: cfg.DrainTimeout, Now: time.Now, Logger: logger,
	})
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- broker.Run(background) }() // ends by stop
	health, err := listenHealth(cfg.SenderAddr, app, broker.Connected)
	if err == nil {
		err = app.Run(ctx)
		err = errors.Join(err, health.stop())
	}
	stop()
	return errors.Join(err, <-done)
}

func pairMain(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sender pair", flag.ContinueOnError)
	flags.SetOutput(stderr)
	text := flags.Bool("text", false, "print the raw text of each QR code alone on stdout, one a line")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	cfg, _, err := config.LoadPair(environ)
	if err != nil {
		fmt.Fprintf(stderr, "sender pair can't start:\n%v\n", err)
		return 2
	}
	logger := NewLogger(cfg.Log, stderr)
	show := func(c whatsapp.QRCode) { fmt.Fprintln(stdout, c.Text) }
	if !*text {
		show = func(c whatsapp.QRCode) { PrintQR(stdout, c) }
	}
	if err := pair(ctx, cfg, show, logger); err != nil {
		fmt.Fprintf(stderr, "sender pair: %v\n", err)
		return 1
	}
	fmt.Fprintln(stderr, "The session is paired.")
	return 0
}

func pair(ctx context.Context, cfg config.Sender, show func(whatsapp.QRCode), logger *slog.Logger) error {
	devices, err := openFree(ctx, cfg.DataDir, logger)
	if err != nil {
		return err
	}
	_, err = whatsapp.Pair(ctx, devices, Place(cfg.WhatsApp), show, logger)
	return errors.Join(err, devices.Close())
}

// lockPatience is how long a pairing waits for the device store: a sender that waits for its session opens it for
// a moment every lookAgain, one that has a session never lets go.
const lockPatience = 2 * lookAgain

// openFree opens the device store once nobody else has it open.
func openFree(ctx context.Context, dataDir string, logger *slog.Logger) (*whatsapp.Devices, error) {
	deadline := time.Now().Add(lockPatience)
	for {
		devices, err := whatsapp.OpenDevices(ctx, dataDir, logger)
		if !errors.Is(err, whatsapp.ErrLocked) || time.Now().After(deadline) {
			return devices, err
		}
		if perr := pause(ctx, lookAgain/20); perr != nil {
			return nil, errors.Join(err, perr)
		}
	}
}

// PrintQR draws a code for a person at a terminal.
func PrintQR(w io.Writer, code whatsapp.QRCode) {
	var b strings.Builder
	qrterminal.GenerateHalfBlock(code.Text, qrterminal.L, &b)
	fmt.Fprintf(w, "\nOn the phone that shall send: WhatsApp > Linked devices > Link a device, and scan this "+
		"(valid for %d seconds, then a new one follows):\n\n%s\n", int(code.Valid.Seconds()), b.String())
}
