package senderapp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

const patient = time.Minute

// fleet is senders of one pool, each with an account of its own.
type fleet struct {
	t        *testing.T
	log      *slog.Logger
	sim      *whatsim.Server
	seal     *keys.SealKeys
	broker   *queue.Broker
	to       phone.Number
	accounts map[string]string // by sender

	mu    sync.Mutex
	beats map[string]int             // heartbeats of each sender whose session is up
	last  map[string]queue.Heartbeat // of each sender
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{
		t: t, log: slog.New(slog.DiscardHandler), seal: sealKeys(t), accounts: map[string]string{},
		beats: map[string]int{}, last: map[string]queue.Heartbeat{},
	}
	var err error
	f.to, err = phone.Restore("+905551234567")
	require.NoError(t, err)
	f.sim, err = whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.sim.Close()) })
	server, err := embed.Start(embed.Options{Dir: t.TempDir(), Logger: f.log})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	nc, err := server.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: f.log})...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	f.broker, err = queue.New(nc, queue.Options{Logger: f.log})
	require.NoError(t, err)
	f.background(f.broker.Run)
	<-f.broker.Ready()
	stop, err := f.broker.Heartbeats(func(h queue.Heartbeat) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last[h.Sender] = h
		if h.Up {
			f.beats[h.Sender]++
		}
	})
	require.NoError(t, err)
	t.Cleanup(stop)
	return f
}

func (f *fleet) background(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	f.t.Cleanup(func() {
		stop()
		require.NoError(f.t, <-ended)
	})
}

// start starts a sender, pairs an account with it and waits until it is up.
func (f *fleet) start(name string, perMinute int) {
	f.t.Helper()
	var first sync.Once // one that is logged out stays so
	paired := make(chan string, 1)
	a := New(Options{
		Name: name, Pool: job.DefaultPool, DataDir: f.t.TempDir(), Broker: f.broker, Opener: f.seal, Sealer: f.seal,
		Place: whatsapp.Place{Endpoint: f.sim.Endpoint(), RootKey: f.sim.RootKeyHex()}, NoticesPerMinute: perMinute,
		ShowQR: func(code whatsapp.QRCode) {
			go first.Do(func() {
				if p, err := f.sim.Pair(context.Background(), code.Text, ""); err == nil {
					paired <- p.Account
				}
			})
		},
		Drain: 10 * time.Second, Now: time.Now, Logger: f.log,
	})
	f.background(a.Run)
	select {
	case f.accounts[name] = <-paired:
	case <-time.After(patient):
		require.Fail(f.t, "never paired")
	}
	f.hear(name, 1)
}

// hear waits for so many more heartbeats of a sender that is up.
func (f *fleet) hear(name string, more int) queue.Heartbeat {
	f.t.Helper()
	f.mu.Lock()
	enough := f.beats[name] + more
	f.mu.Unlock()
	require.Eventually(f.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.beats[name] >= enough
	}, patient, time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[name]
}

func (f *fleet) publish(lane job.Lane, text string) {
	f.t.Helper()
	body := job.Body{To: f.to, Text: text, MessageID: "WA-" + text, Expires: time.Now().Add(10 * time.Minute)}
	e, err := job.Seal(f.seal, job.ID(text), lane, job.DefaultPool, body)
	require.NoError(f.t, err)
	stored := make(chan error, 1)
	f.broker.Publish(f.t.Context(), e, 10*time.Minute, func(err error) { stored <- err })
	require.NoError(f.t, <-stored)
}

// shown waits until the phone shows a text, and returns the message.
func (f *fleet) shown(text string) whatsim.Message {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patient)
	defer cancel()
	m, err := f.sim.WaitMessage(ctx, f.to.Digits(), func(m whatsim.Message) bool { return m.Text == text })
	require.NoError(f.t, err, text)
	return m
}

// The only session takes notices too, but at their pace; OTPs aren't held to it, and don't wait behind notices.
func TestNotices_ArePacedAndOTPsAreNot(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for n := range 3 {
		f.publish(job.LaneNotice, fmt.Sprint("notice-", n))
	}
	f.start("one", 1)
	f.shown("notice-0")
	for n := range 10 {
		f.publish(job.LaneOTP, fmt.Sprint("otp-", n))
		f.shown(fmt.Sprint("otp-", n))
	}
	require.Len(t, f.sim.Messages(f.to.Digits()), 11, "the next notice has its turn in 40 seconds at the earliest")
	h := f.hear("one", 2)
	require.EqualValues(t, 11, h.Sent)
	require.EqualValues(t, 1, h.Notices)
}

// Of two sessions one takes no notice, and OTPs arrive all the same. When it is the only one that is left, it does.
func TestNotices_OneOfTwoSessionsTakesNone(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("one", 0)
	f.start("two", 0)
	one, two := f.hear("one", 2), f.hear("two", 2) // each has heard the other before the second beat
	kept, other := one, two
	if two.Session < one.Session {
		kept, other = two, one
	}
	for n := range 20 {
		f.publish(job.LaneNotice, fmt.Sprint("notice-", n))
		if n%4 == 0 {
			f.publish(job.LaneOTP, fmt.Sprint("otp-", n))
		}
	}
	for n := range 20 {
		require.Equal(t, f.accounts[other.Sender], f.shown(fmt.Sprint("notice-", n)).From)
		if n%4 == 0 {
			f.shown(fmt.Sprint("otp-", n))
		}
	}
	require.Zero(t, f.hear(kept.Sender, 1).Notices)

	_, err := f.sim.AddFault(whatsim.Fault{Account: f.accounts[other.Sender], Kind: "stream_error", Code: 401})
	require.NoError(t, err)
	f.publish(job.LaneNotice, "last")
	require.Equal(t, f.accounts[kept.Sender], f.shown("last").From)
}
