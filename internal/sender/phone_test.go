package sender_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/sender"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

// What a phone shows, with a real session against the simulator. Its number is that of every job of a kit.
const number = "905551234567"

// device is a paired device and what a sender keeps of it on disk.
type device struct {
	k      *kit
	sim    *whatsim.Server
	place  whatsapp.Place
	dir    string
	stored whatsapp.Stored
}

func (k *kit) pair() *device {
	k.t.Helper()
	sim, err := whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot()})
	require.NoError(k.t, err)
	k.t.Cleanup(func() { require.NoError(k.t, sim.Close()) })
	d := &device{k: k, sim: sim, place: whatsapp.Place{Endpoint: sim.Endpoint(), RootKey: sim.RootKeyHex()}, dir: k.t.TempDir()}
	devices, err := whatsapp.OpenDevices(k.within(), d.dir, k.log)
	require.NoError(k.t, err)
	ctx := k.within()
	var scans sync.WaitGroup
	d.stored, err = whatsapp.Pair(ctx, devices, d.place, func(code whatsapp.QRCode) {
		scans.Go(func() { _, _ = sim.Pair(ctx, code.Text, "905550000000") }) // Pair's own error says it
	}, k.log)
	require.NoError(k.t, err)
	scans.Wait()
	require.NoError(k.t, devices.Close())
	return d
}

// onDevice is a session as package sender wants it, with what it holds open.
type onDevice struct {
	*whatsapp.Session
	close func()
}

func (o onDevice) Send(ctx context.Context, m sender.Message) error {
	return o.Session.Send(ctx, m.Job, m.Body)
}

// session brings the device up under a lease.
func (d *device) session(fence uint64) onDevice {
	t := d.k.t
	t.Helper()
	devices, err := whatsapp.OpenDevices(d.k.within(), d.dir, d.k.log)
	require.NoError(t, err)
	ledger, err := whatsapp.OpenLedger(d.k.within(), d.dir, time.Now)
	require.NoError(t, err)
	s, err := whatsapp.NewSession(d.k.within(), whatsapp.Config{
		Stored: d.stored, Devices: devices, Place: d.place, Ledger: ledger, Fence: fence, Logger: d.k.log,
		Open: func(e job.Envelope) (job.Body, error) { return job.Open(d.k.seal, e) },
	})
	require.NoError(t, err)
	o := onDevice{Session: s, close: sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		require.NoError(t, s.Stop(ctx))
		require.NoError(t, ledger.Close())
		require.NoError(t, devices.Close())
	})}
	t.Cleanup(o.close)
	s.Start(d.k.within())
	require.NoError(t, s.Ready(d.k.within()))
	return o
}

func (d *device) fault(kind string, count int) {
	d.k.t.Helper()
	_, err := d.sim.AddFault(whatsim.Fault{Kind: kind, Count: count})
	require.NoError(d.k.t, err)
}

// impatient gives the first send up as soon as the phone shows its message.
type impatient struct {
	onDevice
	sim   *whatsim.Server
	first *sync.Once
}

func (i impatient) Send(ctx context.Context, m sender.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	i.first.Do(func() {
		watch.Go(func() {
			if _, err := i.sim.WaitMessage(ctx, number, nil); err == nil {
				cancel()
			}
		})
	})
	err := i.onDevice.Send(ctx, m)
	cancel()
	watch.Wait()
	return err
}

// Planted bug: a new WhatsApp id per try.
func TestSender_TriesAgainUnderTheSameWhatsAppID(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	d := k.pair()
	d.fault("receipt_withhold", -1) // else they would tell that the message has arrived
	d.fault("ack_withhold", 1)
	n := k.run(impatient{d.session(1), d.sim, &sync.Once{}})
	k.give("j")
	require.Equal(t, "retry", n.ended().how, "nobody knows whether it went out")
	require.Equal(t, end{job: "j", how: "ack"}, n.ended())
	require.Equal(t, job.Sent, k.last("j").State)
	// WhatsApp acknowledges a message when it has it; the phone has it a moment later.
	require.Eventually(t, func() bool {
		copies := 0
		for _, m := range d.sim.Messages(number) {
			copies += m.Copies
		}
		return copies == 2
	}, patient, time.Millisecond, "it came twice")
	shown := d.sim.Messages(number)
	require.Len(t, shown, 1, "its owner sees one message")
	require.Equal(t, "WA-J", shown[0].ID)
	n.crash()
}

// silent is a log that nothing but claims gets into: the sender is about to die.
type silent struct{ job.Log }

func (s silent) Put(ctx context.Context, st job.Status, expected uint64) (uint64, error) {
	if st.State == job.Sending {
		return s.Log.Put(ctx, st, expected)
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// The ledger remembers what the status stream was never told.
func TestSender_DiesAfterAMessageWasSentAndBeforeThatIsStored(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	d := k.pair()
	s := d.session(1)
	n := k.run(s, func(n *node, c *sender.Config) { c.Log = silent{n.line} })
	k.give("j")
	require.Eventually(t, func() bool { return n.Stats().Sent == 1 }, patient, time.Millisecond)
	require.Equal(t, job.Sending, k.last("j").State)
	n.crash()
	s.close()

	n = k.run(d.session(2))
	k.becomes("j", job.Sent)
	k.isDone()
	shown := d.sim.Messages(number)
	require.Len(t, shown, 1)
	require.Equal(t, 1, shown[0].Copies, "it wasn't even sent again")
	n.crash()
}

func TestSender_ANumberWithoutWhatsAppFailsForGood(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	d := k.pair()
	exists := false
	require.NoError(t, d.sim.SetPhone(number, whatsim.PhoneSettings{Exists: &exists}))
	n := k.run(d.session(1))
	k.give("j")
	require.Equal(t, end{job: "j", how: "drop"}, n.ended())
	require.Equal(t, job.ReasonNotOnWhatsApp, k.last("j").Reason)
	require.Equal(t, 1, k.stored("WABEK_DEAD"))
	n.crash()
}
