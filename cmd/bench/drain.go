package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.mau.fi/whatsmeow"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/sender"
	"wabek/internal/whatsapp"
)

// trust makes the simulator's key the one that whatsmeow believes.
func trust(rootKey string) error {
	raw, err := hex.DecodeString(rootKey)
	if err != nil || len(raw) != len(whatsmeow.WACertPubKey) {
		return errors.New("malformed root key")
	}
	whatsmeow.WACertPubKey = [32]byte(raw)
	return nil
}

// drainer is the product's sender and session over an embedded queue, wired as a sender wires them, but for this:
// it takes jobs only when told to.
type drainer struct {
	nats    *embed.Server
	nc      *nats.Conn
	broker  *queue.Broker
	stop    context.CancelFunc // of the broker
	running sync.WaitGroup
	devices *whatsapp.Devices
	ledger  *whatsapp.Ledger
	session *whatsapp.Session
	jobs    *queue.Jobs
	sender  *sender.Sender
	seal    *keys.SealKeys
	ring    *keys.Ring

	log      *slog.Logger
	receipts atomic.Int64
	acks     chan time.Time // of messages, by WhatsApp
}

// runDrain is the product's side of bench send.
func runDrain(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("drain", flag.ContinueOnError)
	dir := flags.String("data", "", "data directory")
	sim := flags.String("sim", "", "URL of the simulator")
	rootKey := flags.String("root", "", "root key of the simulator")
	if err := flags.Parse(args); err != nil {
		return err
	}
	d := &drainer{acks: make(chan time.Time, 1024)}
	err := d.open(ctx, *dir, *sim, *rootKey)
	if err == nil {
		err = answerCalls(ctx, in, out, map[string]handler{
			"ready":  on(func(ctx context.Context, _ nothing) (nothing, error) { return nothing{}, d.session.Ready(ctx) }),
			"fill":   on(d.fill),
			"run":    on(d.run),
			"settle": on(func(ctx context.Context, _ nothing) (nothing, error) { return nothing{}, quiet(ctx, &d.receipts) }),
		})
	}
	return errors.Join(err, d.close())
}

func (d *drainer) open(ctx context.Context, dir, sim, rootKey string) (err error) {
	log := quietLog()
	d.log = log
	secret, err := keys.NewSecret(benchSecret)
	if err != nil {
		return err
	}
	d.seal = keys.DeriveSealKeys(secret, keys.Secret{})
	if d.ring, _, err = keys.OpenRing(nil, secret, keys.Secret{}); err != nil {
		return err
	}
	if err := d.openQueue(ctx, dir, log); err != nil {
		return err
	}
	place := whatsapp.Place{Endpoint: sim, RootKey: rootKey}
	if d.devices, err = whatsapp.OpenDevices(ctx, dir, log); err != nil {
		return err
	}
	stored, err := whatsapp.Pair(ctx, d.devices, place, func(c whatsapp.QRCode) { go scan(ctx, sim, c.Text) }, log)
	if err != nil {
		return err
	}
	fence, err := d.broker.Fence(ctx, stored.ID, "bench")
	if err != nil {
		return err
	}
	if d.ledger, err = whatsapp.OpenLedger(ctx, dir, time.Now); err != nil {
		return err
	}
	d.session, err = whatsapp.NewSession(ctx, whatsapp.Config{
		Stored: stored, Devices: d.devices, Place: place, Ledger: d.ledger, Fence: fence, Logger: log,
		Open:       func(e job.Envelope) (job.Body, error) { return job.Open(d.seal, e) },
		OnReceipts: func(batch []job.Receipt) { d.receive(ctx, batch) },
	})
	if err != nil {
		return err
	}
	if d.jobs, err = d.broker.Jobs(ctx, job.DefaultPool, stored.ID, nil); err != nil {
		return err
	}
	d.sender = sender.New(sender.Config{
		Session: timed{d.session, d.acks}, Opener: d.seal, Log: d.broker, Now: time.Now, Logger: log,
		Next: func(ctx context.Context) (sender.Delivery, error) {
			delivery, err := d.jobs.Next(ctx)
			if err != nil {
				return nil, err
			}
			return delivery, nil
		},
		Bury: func(ctx context.Context, e job.Envelope, reason job.Reason) error {
			return d.broker.Dead(ctx, e.Lane, e.Pool, e.ID, string(reason))
		},
	})
	d.session.Start(ctx)
	return nil
}

func (d *drainer) openQueue(ctx context.Context, dir string, log *slog.Logger) (err error) {
	if d.nats, err = embed.Start(embed.Options{Dir: filepath.Join(dir, "nats"), Logger: log}); err != nil {
		return err
	}
	if d.nc, err = d.nats.Connect(queue.ConnOptions(queue.DialOptions{Name: "bench", Logger: log})...); err != nil {
		return err
	}
	if d.broker, err = queue.New(d.nc, queue.Options{Logger: log}); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	d.stop = stop
	d.running.Go(func() {
		if err := d.broker.Run(running); err != nil {
			log.Error("queue", "err", err)
		}
	})
	select {
	case <-d.broker.Ready():
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("the queue is not ready")
	}
}

func (d *drainer) receive(ctx context.Context, batch []job.Receipt) {
	d.receipts.Add(int64(len(batch)))
	if err := d.sender.Receipts(ctx, batch); err != nil {
		d.log.Error("receipts", "err", err)
	}
}

// timed notes when WhatsApp has acknowledged a message.
type timed struct {
	*whatsapp.Session
	acks chan time.Time
}

func (t timed) Send(ctx context.Context, m sender.Message) error {
	err := t.Session.Send(ctx, m.Job, m.Body)
	if err == nil {
		t.acks <- time.Now()
	}
	return err
}

// fill puts jobs into the queue.
func (d *drainer) fill(ctx context.Context, s sendSpec) (nothing, error) {
	done := make(chan error, s.N)
	for i := range s.N {
		id, err := otp.NewID(time.Now(), rand.Reader)
		if err != nil {
			return nothing{}, err
		}
		to, err := phone.Restore("+" + s.to(i))
		if err != nil {
			return nothing{}, err
		}
		e, err := job.Seal(d.seal, job.ID(id.String()), job.LaneOTP, job.DefaultPool, job.Body{
			To: to, Text: otpText, MessageID: d.ring.MessageID(id.String()), Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			return nothing{}, err
		}
		d.broker.Publish(ctx, e, time.Hour, func(err error) { done <- err })
	}
	for range s.N {
		if err := <-done; err != nil {
			return nothing{}, err
		}
	}
	return nothing{}, nil
}

// run drains the queue of the jobs that were filled in.
func (d *drainer) run(ctx context.Context, s sendSpec) (r sendResult, err error) {
	take, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.sender.Run(take, ctx) }()
	limit := time.NewTimer(5 * time.Minute)
	defer limit.Stop()
	for r.Acked < s.N && err == nil {
		select {
		case at := <-d.acks:
			r.note(at)
		case <-limit.C:
			err = fmt.Errorf("only %d of %d messages were acknowledged in time", r.Acked, s.N)
		}
	}
	stop()
	return r, errors.Join(err, <-ended)
}

func (d *drainer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var errs []error
	if d.session != nil {
		errs = append(errs, d.session.Stop(ctx))
	}
	if d.jobs != nil {
		errs = append(errs, d.jobs.Close())
	}
	if d.ledger != nil {
		errs = append(errs, d.ledger.Close())
	}
	if d.devices != nil {
		errs = append(errs, d.devices.Close())
	}
	if d.stop != nil {
		d.stop()
	}
	d.running.Wait()
	if d.nc != nil {
		d.nc.Close()
	}
	if d.nats != nil {
		d.nats.Shutdown()
	}
	return errors.Join(errs...)
}
