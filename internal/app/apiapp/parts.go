package apiapp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"wabek/internal/api"
	"wabek/internal/app/senderapp"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/whatsapp"
)

// dial connects to the queue: the one configured, which needn't be there yet, or one of our own.
func (a *App) dial() (*nats.Conn, error) {
	if !a.standalone() {
		return queue.Dial(a.o.Config.NATSURL.Reveal(), queue.DialOptions{Name: "wabek-api", Logger: a.o.Logger})
	}
	server, err := embed.Start(embed.Options{Dir: filepath.Join(a.o.Config.DataDir, "nats"), Logger: a.o.Logger})
	if err != nil {
		return nil, err
	}
	a.onClose("NATS server", func() error { server.Shutdown(); return nil })
	return server.Connect(queue.ConnOptions(queue.DialOptions{Name: "wabek-api", Logger: a.o.Logger})...)
}

// connected says whether the queue can be reached, and how often it has been reached anew.
func (a *App) connected() (bool, uint64) {
	return a.broker.Connected(), a.nc.Stats().Reconnects
}

func (a *App) offer(e job.Envelope) { a.relay.Offer(e) }

// withdrawn hears that nobody needs a job's message any more: its OTP was superseded or cancelled.
func (a *App) withdrawn(id job.ID) {
	a.relay.Withdrawn(id)
	a.hub.Nudge(otpOf(id))
}

func (a *App) noted(_ context.Context, statuses []job.Status) error {
	a.relay.Note(statuses)
	taken := map[string]int{} // by pool
	for _, s := range statuses {
		if s.State == job.Sending && s.Try == 1 && isOTP(s.Job) {
			taken[s.Pool]++
		}
	}
	for pool, n := range taken {
		a.paces.of(pool).took(n)
	}
	return nil
}

// isOTP says that a job is one of an OTP, not of a notice.
func isOTP(id job.ID) bool {
	_, _, ok := otp.ParseJobID(id)
	return ok
}

// metaSessionSeen is set once a session was ever up: from then on OTPs are taken on trust while it is away.
const metaSessionSeen = "session-seen"

func (a *App) openPresence(ctx context.Context) error {
	seen, err := a.records.Meta(metaSessionSeen)
	if err != nil {
		return fmt.Errorf("read metadata: %w", err)
	}
	remember := func() {
		if err := a.records.SetMeta(context.WithoutCancel(ctx), metaSessionSeen, []byte{1}); err != nil {
			a.o.Logger.Warn("not remembered that a session is there", "err", err)
		}
	}
	a.presence = newPresence(a.o.Config.QueueGrace, len(seen) > 0, a.o.Now, a.nc.IsConnected, remember)
	stop, err := a.broker.Heartbeats(a.presence.beat)
	if err != nil {
		return fmt.Errorf("listen to heartbeats: %w", err)
	}
	a.onClose("heartbeats", func() error { stop(); return nil })
	return nil
}

func (a *App) openSender(seal *keys.SealKeys) error {
	if own := a.o.Sender; own != nil {
		a.send = func(ctx context.Context) error { return own(ctx, a.nc, a.broker, seal) }
		return nil
	}
	if !a.standalone() {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this host: %w", err)
	}
	show := a.o.ShowQR
	if show == nil {
		show = func(c whatsapp.QRCode) { senderapp.PrintQR(a.o.Stdout, c) }
	}
	a.send = senderapp.New(senderapp.Options{
		Name: name, Pool: a.o.Config.Pool, DataDir: a.o.Config.DataDir, Place: senderapp.Place(a.o.Config.WhatsApp),
		Broker: a.broker, Opener: seal, Sealer: seal, ShowQR: show, NoticesPerMinute: a.o.Config.NoticesPerMinute, Drain: a.o.Config.DrainTimeout, Now: a.o.Now, Logger: a.o.Logger,
	}).Run
	return nil
}

func (a *App) runSender(ctx context.Context) error {
	if a.send == nil {
		<-ctx.Done()
		return nil
	}
	return a.send(ctx)
}

// showFirstKey shows the key made at the first start, once: to the person at the terminal, else in a file.
func (a *App) showFirstKey(key string) error {
	text := fmt.Sprintf(`Your API key, shown this once:

  %s

Send an OTP:

  curl -X POST %s/api/v1/otp -H 'X-API-Key: %s' -H 'Content-Type: application/json' \
    -d '{"phone":"+905551234567","purpose":"verification"}'

`, key, a.URL(), key)
	if a.o.Terminal {
		_, err := fmt.Fprint(a.o.Stdout, "\n", text)
		return err
	}
	path := filepath.Join(a.o.Config.DataDir, "first-run")
	if err := writePrivate(path, text); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err := fmt.Fprintf(a.o.Stdout, "The API key made at this first start is in %s; keep it and delete the file.\n", path)
	return err
}

// Health reports how this node is, for /readyz.
func (a *App) Health() api.Report {
	r := api.Report{Degraded: []string{}}
	up, _ := a.connected()
	if !up {
		r.Degraded = append(r.Degraded, "nats")
	}
	r.Sessions.Up, r.Sessions.Total = a.presence.count()
	if r.Sessions.Up == 0 {
		r.Degraded = append(r.Degraded, "sessions")
	}
	stats := a.relay.Stats()
	r.Relay.Pending, r.Relay.Republished = stats.Pending, stats.Republished
	r.Notices.Waiting, r.Notices.Pending = a.records.Stats().Unresolved, a.notices.Stats().Pending
	failed := a.records.Err()
	if failed != nil {
		r.Degraded = append(r.Degraded, "records")
	}
	r.Ready = errors.Join(failed, a.presence.Admit(a.o.Config.Pool)) == nil
	return r
}
