package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"wabek/internal/app/apiapp"
	"wabek/internal/app/senderapp"
	"wabek/internal/config"
	"wabek/internal/job"
	"wabek/internal/queue"
	"wabek/internal/whatsapp"
)

const (
	benchKey    = "a-key-for-measurements-alone"
	benchSecret = "a-secret-for-measurements-alone-on-loopback"
)

// runServe is a whole API node with the queue inside, as cmd/api runs it. Its sender is the null sender, or with
// -sim the product's own.
func runServe(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	dir := flags.String("data", "", "data directory")
	sim := flags.String("sim", "", "URL of the simulator")
	rootKey := flags.String("root", "", "root key of the simulator")
	wait := flags.Duration("wait", 10*time.Minute, "WABEK_MAX_WAIT; jobs wait between the phases of other benches, as nothing takes them in one")
	sessions := flags.Int("sessions", 0, "with -sim: so many sessions")
	notices := flags.Int("notices", 0, "notices a minute that each of them sends, 0 for no bound")
	if err := flags.Parse(args); err != nil {
		return err
	}
	environ := []string{
		"WABEK_ADDR=127.0.0.1:0", "WABEK_DATA_DIR=" + *dir, "WABEK_API_KEY=" + benchKey, "WABEK_SECRET=" + benchSecret,
		"WABEK_MAX_WAIT=" + wait.String(),
	}
	if *sim != "" {
		environ = append(environ, "WABEK_WHATSAPP_ENDPOINT="+*sim, "WABEK_WHATSAPP_ROOT_KEY="+*rootKey)
		// The same phones get one message after the other.
		environ = append(environ, "OTP_COOLDOWN_SECONDS=0", "OTP_MAX_PER_HOUR=0", "OTP_MAX_PER_DAY=0")
	}
	cfg, _, err := config.LoadAPI(environ)
	if err != nil {
		return err
	}
	o := apiapp.Options{
		Config: cfg, Stdout: io.Discard,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), // refusals are what some benches are about
		ShowQR: func(c whatsapp.QRCode) { go scan(ctx, *sim, c.Text) },
	}
	null := newNullSender()
	switch {
	case *sim == "":
		o.Sender = null.run
	case *sessions > 0:
		o.Sender = severalSessions(*sessions, *notices, *dir, cfg, o.ShowQR)
	}
	app, err := apiapp.New(ctx, o)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- app.Run(running) }()
	err = answerCalls(ctx, in, out, map[string]handler{
		"ready": on(func(ctx context.Context, _ nothing) (readyInfo, error) {
			u, err := url.Parse(app.URL())
			if err != nil {
				return readyInfo{}, err
			}
			return readyInfo{Addr: u.Host}, until(ctx, func() (bool, error) {
				h := app.Health()
				return h.Ready && len(h.Degraded) == 0 && h.Sessions.Up >= *sessions, nil
			})
		}),
		"notices": on(func(context.Context, nothing) (noticeCounts, error) {
			n := app.Health().Notices
			return noticeCounts{n.Waiting, n.Pending}, nil
		}),
		// mark tells how many jobs the stream has ever stored.
		"mark": on(func(ctx context.Context, _ nothing) (uint64, error) { return null.stored(ctx) }),
		// published waits until the stream has stored that many, and the node knows it, and tells when.
		"published": on(func(ctx context.Context, target uint64) (time.Time, error) {
			err := until(ctx, func() (bool, error) {
				n, err := null.stored(ctx)
				if n > target {
					return false, fmt.Errorf("the stream has stored %d jobs, but only %d were accepted: one was published twice", n, target)
				}
				return n == target && null.broker.InFlight() == 0, err
			})
			return time.Now(), err
		}),
		// drain sends what waits, by the null sender, until the node knows the outcome of every job.
		"drain": on(func(ctx context.Context, _ nothing) (nothing, error) {
			return nothing{}, null.drain(ctx, func() bool { return app.Health().Relay.Pending == 0 })
		}),
	})
	stop()
	return errors.Join(err, <-served)
}

// severalSessions are senders of a session each, in directories of their own.
func severalSessions(n, notices int, dir string, cfg config.API, show func(whatsapp.QRCode)) func(context.Context, *nats.Conn, *queue.Broker, job.Opener) error {
	return func(ctx context.Context, _ *nats.Conn, broker *queue.Broker, opener job.Opener) error {
		var group errgroup.Group
		for i := range n {
			app := senderapp.New(senderapp.Options{
				Name: fmt.Sprint("bench-", i), Pool: cfg.Pool, DataDir: filepath.Join(dir, fmt.Sprint("sender-", i)), Place: senderapp.Place(cfg.WhatsApp),
				Broker: broker, Opener: opener, ShowQR: show, NoticesPerMinute: notices, Drain: cfg.DrainTimeout, Now: time.Now, Logger: quietLog(),
			})
			group.Go(func() error { return app.Run(ctx) })
		}
		return group.Wait()
	}
}

// until polls every millisecond, for a minute at most.
func until(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// scan lets a virtual phone of the simulator scan a code. It fails where the code was old: a new one follows.
func scan(ctx context.Context, sim, qr string) {
	body := strings.NewReader(fmt.Sprintf(`{"qr":%q}`, qr))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sim+"/pair", body)
	if err != nil {
		return
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
	}
}

// stored is how many jobs the OTP stream has ever stored.
func (n *nullSender) stored(ctx context.Context) (uint64, error) {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	js, err := jetstream.New(n.nc)
	if err != nil {
		return 0, err
	}
	stream, err := js.Stream(ctx, "WABEK_OTP")
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}
