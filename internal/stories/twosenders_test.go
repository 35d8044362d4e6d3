package stories_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/sender"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

// TestStory_TwoSendersOneJob hands each job to two senders at the same moment: two real sessions of two accounts, one
// status stream. Exactly one of them sends it; the other loses the claim and forwards its copy to the winner.
func TestStory_TwoSendersOneJob(t *testing.T) {
	t.Parallel()
	jobs := inLongForm(10_000, 1_000)
	d := newDuel(t)
	d.warmUp()
	for n := range jobs {
		d.hand(d.envelope(n))
	}
	d.untilAllEnded(2 * jobs)
	shown := map[string]int{}
	for _, to := range d.phones {
		for _, m := range d.sim.Messages(to.Digits()) {
			if m.Text != warm {
				shown[m.Text]++
				require.Equal(t, 1, m.Copies, "%s", m.Text)
			}
		}
	}
	require.Len(t, shown, jobs)
	for text, n := range shown {
		require.Equal(t, 1, n, "%s came through both senders", text)
	}
	lost := d.senders[0].Stats().ClaimsLost + d.senders[1].Stats().ClaimsLost
	t.Logf("%d jobs handed to both; sent %d + %d; claims lost %d, copies forwarded %d", jobs,
		d.senders[0].Stats().Sent, d.senders[1].Stats().Sent, lost, d.forwarded.Load())
	require.Positive(t, lost)
	require.EqualValues(t, jobs, d.senders[0].Stats().Sent+d.senders[1].Stats().Sent)
}

// warm is the text of the first message to each phone.
const warm = "warm"

// duel is two senders that are given the same jobs.
type duel struct {
	t       *testing.T
	log     *slog.Logger
	sim     *whatsim.Server
	seal    *keys.SealKeys
	broker  *queue.Broker
	phones  []phone.Number
	senders [2]*sender.Sender
	session [2]*whatsapp.Session
	source  [2]chan sender.Delivery

	ended, forwarded atomic.Int64
}

func newDuel(t *testing.T) *duel {
	t.Helper()
	secret, err := keys.NewSecret(random())
	require.NoError(t, err)
	d := &duel{
		t: t, seal: keys.DeriveSealKeys(secret, keys.Secret{}),
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	d.sim, err = whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.sim.Close()) })
	d.startQueue()
	var fresh numbers
	for range 8 {
		to, err := phone.Restore("+" + fresh.next())
		require.NoError(t, err)
		d.phones = append(d.phones, to)
	}
	for i := range d.senders {
		d.source[i] = make(chan sender.Delivery, 50_000)
		d.startSession(i)
	}
	for i := range d.senders {
		d.startSender(i)
	}
	return d
}

func (d *duel) startQueue() {
	t := d.t
	t.Helper()
	server, err := embed.Start(embed.Options{Dir: t.TempDir(), Logger: d.log})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	nc, err := server.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: d.log})...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	d.broker, err = queue.New(nc, queue.Options{Logger: d.log})
	require.NoError(t, err)
	d.background(func(ctx context.Context) error { return d.broker.Run(ctx) })
	<-d.broker.Ready()
}

// background runs something until the test ends.
func (d *duel) background(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	d.t.Cleanup(func() {
		stop()
		require.NoError(d.t, <-ended)
	})
}

// startSession pairs an account of its own and brings it up.
func (d *duel) startSession(i int) {
	t := d.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	place := whatsapp.Place{Endpoint: d.sim.Endpoint(), RootKey: d.sim.RootKeyHex()}
	dir := t.TempDir()
	devices, err := whatsapp.OpenDevices(ctx, dir, d.log)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, devices.Close()) })
	var scans sync.WaitGroup
	stored, err := whatsapp.Pair(ctx, devices, place, func(code whatsapp.QRCode) {
		scans.Go(func() { _, _ = d.sim.Pair(ctx, code.Text, "") }) // Pair's own error says it
	}, d.log)
	require.NoError(t, err)
	scans.Wait()
	ledger, err := whatsapp.OpenLedger(ctx, dir, time.Now)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ledger.Close()) })
	s, err := whatsapp.NewSession(ctx, whatsapp.Config{
		Stored: stored, Devices: devices, Place: place, Ledger: ledger, Fence: 1, Logger: d.log,
		Open: func(e job.Envelope) (job.Body, error) { return job.Open(d.seal, e) },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		require.NoError(t, s.Stop(ctx))
	})
	s.Start(ctx)
	require.NoError(t, s.Ready(ctx))
	d.session[i] = s
}

func (d *duel) startSender(i int) {
	d.senders[i] = sender.New(sender.Config{
		Session: duelist{d.session[i]}, Opener: d.seal, Log: d.broker, Now: time.Now, Logger: d.log,
		Next: func(ctx context.Context) (sender.Delivery, error) {
			select {
			case given := <-d.source[i]:
				return given, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Bury: func(context.Context, job.Envelope, job.Reason) error { return errors.New("nothing fails here") },
	})
	d.background(func(ctx context.Context) error { return d.senders[i].Run(ctx, context.WithoutCancel(ctx)) })
}

// duelist is a session as package sender wants it.
type duelist struct{ *whatsapp.Session }

func (s duelist) Send(ctx context.Context, m sender.Message) error {
	return s.Session.Send(ctx, m.Job, m.Body)
}

// warmUp writes to every phone from both accounts, so that no first contact slows one of them down.
func (d *duel) warmUp() {
	d.t.Helper()
	for i, s := range d.session {
		for n, to := range d.phones {
			e, body := d.seals(fmt.Sprintf("warm-%d-%d", i, n), to, warm)
			require.NoError(d.t, s.Send(d.t.Context(), e, body))
		}
	}
}

func (d *duel) seals(id string, to phone.Number, text string) (job.Envelope, job.Body) {
	d.t.Helper()
	body := job.Body{To: to, Text: text, MessageID: "WA-" + id, Expires: time.Now().Add(10 * time.Minute)}
	e, err := job.Seal(d.seal, job.ID(id), job.LaneOTP, job.DefaultPool, body)
	require.NoError(d.t, err)
	return e, body
}

func (d *duel) envelope(n int) job.Envelope {
	id := fmt.Sprintf("job-%d", n)
	e, _ := d.seals(id, d.phones[n%len(d.phones)], id)
	return e
}

// hand gives a job to both, the one that is first by turns.
func (d *duel) hand(e job.Envelope) {
	for i := range d.source {
		d.source[i] <- &handed{d: d, e: e}
	}
}

func (d *duel) untilAllEnded(deliveries int) {
	d.t.Helper()
	require.Eventually(d.t, func() bool { return d.ended.Load() == int64(deliveries) }, 5*time.Minute, 10*time.Millisecond)
}

// handed is a delivery as the queue makes it, but given to both.
type handed struct {
	d *duel
	e job.Envelope
}

func (h *handed) Job() job.Envelope     { return h.e }
func (h *handed) Deliveries() int       { return 1 }
func (h *handed) Left() time.Duration   { return 10 * time.Minute }
func (h *handed) InProgress() error     { return nil }
func (h *handed) Drop(why string) error { return fmt.Errorf("job %s was given up: %s", h.e.ID, why) }

func (h *handed) Ack() error {
	h.d.ended.Add(1)
	return nil
}

// Retry hands the job out again at once.
func (h *handed) Retry(time.Duration) error {
	for i := range h.d.source {
		if h.e.Target == h.d.session[i].ID() {
			h.d.source[i] <- h
		}
	}
	return nil
}

// Forward hands the job to the session it belongs to.
func (h *handed) Forward(_ context.Context, session string) error {
	h.d.forwarded.Add(1)
	for i := range h.d.source {
		if h.d.session[i].ID() == session {
			h.d.source[i] <- h
			return nil
		}
	}
	return fmt.Errorf("no session %s", session)
}
