package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/app/apiapp"
	"wabek/internal/config"
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
	if err := flags.Parse(args); err != nil {
		return err
	}
	environ := []string{
		"WABEK_ADDR=127.0.0.1:0", "WABEK_DATA_DIR=" + *dir, "WABEK_API_KEY=" + benchKey, "WABEK_SECRET=" + benchSecret,
		"WABEK_MAX_WAIT=10m", // jobs wait between the phases, as nothing takes them in one
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
		Logger: quietLog(),
		ShowQR: func(c whatsapp.QRCode) { go scan(ctx, *sim, c.Text) },
	}
	null := newNullSender()
	if *sim == "" {
		o.Sender = null.run
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
			return readyInfo{Addr: u.Host}, until(ctx, func() (bool, error) { return app.Health().Ready && len(app.Health().Degraded) == 0, nil })
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
