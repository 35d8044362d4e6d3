package whatsapp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

const patience = 20 * time.Second // how long anything may take before a test fails

var paired template

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "whatsapp-test")
	if err == nil {
		paired, err = newTemplate(context.Background(), dir)
	}
	if err != nil {
		panic(err)
	}
	// whatsmeow's reader stays behind for ever where a frame comes in the moment its connection is given up.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

var nextNumber atomic.Int64

// newNumber is a number that no other test uses.
func newNumber(tb testing.TB) phone.Number {
	tb.Helper()
	n, err := phone.Restore(fmt.Sprintf("+90555%07d", nextNumber.Add(1)))
	require.NoError(tb, err)
	return n
}

// world is a simulator and one paired device, with what a sender keeps on disk.
type world struct {
	sim     *whatsim.Server
	place   whatsapp.Place
	dir     string
	stored  whatsapp.Stored
	account phone.Number
	seal    *keys.SealKeys
	logs    *logBook
}

// template is a simulator's state and a sender's files with one paired device. Pairing makes 812 keys, so it is done
// once and copied.
type template struct {
	simDir, dir string
	stored      whatsapp.Stored
	account     phone.Number
}

// newTemplate pairs the device that most tests use.
func newTemplate(ctx context.Context, dir string) (t template, err error) {
	t = template{simDir: filepath.Join(dir, "sim"), dir: filepath.Join(dir, "sender")}
	sim, err := whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot(), Dir: t.simDir}) //nolint:contextcheck // it ends below
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	w := &world{sim: sim, logs: &logBook{}, place: whatsapp.Place{Endpoint: sim.Endpoint(), RootKey: sim.RootKeyHex()}}
	if w.account, err = phone.Restore("+905559999999"); err != nil {
		return t, err
	}
	devices, err := whatsapp.OpenDevices(ctx, t.dir, w.logs.logger())
	if err != nil {
		return t, err
	}
	t.account = w.account
	t.stored, err = w.pair(ctx, devices)
	return t, errors.Join(err, devices.Close())
}

// newWorld starts a simulator of its own that knows the paired device.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	secret, err := keys.NewSecret(strings.Repeat("s", 32))
	require.NoError(tb, err)
	w := &world{
		dir: filepath.Join(tb.TempDir(), "sender"), stored: paired.stored, account: paired.account, logs: &logBook{},
		seal: keys.DeriveSealKeys(secret, keys.Secret{}),
	}
	simDir := filepath.Join(tb.TempDir(), "sim")
	require.NoError(tb, os.CopyFS(simDir, os.DirFS(paired.simDir)))
	require.NoError(tb, os.CopyFS(w.dir, os.DirFS(paired.dir)))
	w.sim, err = whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot(), Dir: simDir})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		require.NoError(tb, w.sim.Close())
		if strings.Contains(w.logs.String(), "already connected") {
			tb.Error("an earlier connection was not given up")
		}
		if tb.Failed() {
			tb.Log(w.logs.String())
		}
	})
	w.place = whatsapp.Place{Endpoint: w.sim.Endpoint(), RootKey: w.sim.RootKeyHex()}
	return w
}

// pair lets the account's phone scan the first code.
func (w *world) pair(ctx context.Context, devices *whatsapp.Devices) (whatsapp.Stored, error) {
	scanned := make(chan error, 8)
	stored, err := whatsapp.Pair(ctx, devices, w.place, func(code whatsapp.QRCode) {
		go func() {
			_, err := w.sim.Pair(ctx, code.Text, w.account.Digits())
			scanned <- err
		}()
	}, w.logs.logger())
	if err != nil {
		return stored, err
	}
	return stored, <-scanned
}

// node is what a sender process has open.
type node struct {
	*whatsapp.Session
	w        *world
	devices  *whatsapp.Devices
	ledger   *whatsapp.Ledger
	receipts chan job.Receipt
	states   *stateBook
	close    func()
}

// open opens the files of a sender and makes its session, without starting it.
func (w *world) open(tb testing.TB, change ...func(*whatsapp.Config)) *node {
	tb.Helper()
	n := &node{w: w, receipts: make(chan job.Receipt, 1000), states: &stateBook{}}
	var err error
	n.devices, err = whatsapp.OpenDevices(tb.Context(), w.dir, w.logs.logger())
	require.NoError(tb, err)
	n.ledger, err = whatsapp.OpenLedger(tb.Context(), w.dir, time.Now)
	require.NoError(tb, err)
	cfg := whatsapp.Config{
		Stored: w.stored, Devices: n.devices, Place: w.place, Ledger: n.ledger, Fence: 7, Logger: w.logs.logger(),
		Open: func(e job.Envelope) (job.Body, error) { return job.Open(w.seal, e) },
		OnReceipts: func(batch []job.Receipt) {
			for _, r := range batch {
				select {
				case n.receipts <- r:
				default: // nobody looks
				}
			}
		},
		OnState: n.states.add,
	}
	for _, c := range change {
		c(&cfg)
	}
	n.Session, err = whatsapp.NewSession(tb.Context(), cfg)
	require.NoError(tb, err)
	var once sync.Once
	n.close = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			require.NoError(tb, n.Stop(ctx))
			require.NoError(tb, n.ledger.Close())
			require.NoError(tb, n.devices.Close())
		})
	}
	tb.Cleanup(n.close)
	return n
}

// up opens a session and waits until it may send.
func (w *world) up(tb testing.TB) *node {
	tb.Helper()
	n := w.open(tb)
	n.Start(tb.Context())
	require.NoError(tb, n.Ready(within(tb)))
	require.Eventually(tb, func() bool { return n.states.logins() == 1 }, patience, time.Millisecond)
	return n
}

func within(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

var nextMessage atomic.Int64

// message makes a send job.
func (w *world) message(tb testing.TB, to phone.Number, text string) (job.Envelope, job.Body) {
	tb.Helper()
	n := nextMessage.Add(1)
	body := job.Body{To: to, Text: text, MessageID: fmt.Sprintf("3EB0%018X", n), Expires: time.Now().Add(10 * time.Minute).Truncate(time.Millisecond)}
	env, err := job.Seal(w.seal, job.ID(fmt.Sprintf("job-%d", n)), job.LaneOTP, job.DefaultPool, body)
	require.NoError(tb, err)
	return env, body
}

// shows waits until a phone shows a text.
func (w *world) shows(tb testing.TB, to phone.Number, text string) whatsim.Message {
	tb.Helper()
	m, err := w.sim.WaitMessage(within(tb), to.Digits(), func(m whatsim.Message) bool { return m.Text == text })
	require.NoError(tb, err)
	return m
}

func (w *world) fault(tb testing.TB, f whatsim.Fault) {
	tb.Helper()
	if f.Account == "" {
		f.Account = w.account.Digits()
	}
	_, err := w.sim.AddFault(f)
	require.NoError(tb, err)
}

// awaitReceipt waits for a receipt of a job.
func (n *node) awaitReceipt(tb testing.TB, id job.ID, state job.State) job.Receipt {
	tb.Helper()
	ctx := within(tb)
	for {
		select {
		case r := <-n.receipts:
			if r.Job == id && r.State == state {
				return r
			}
		case <-ctx.Done():
			require.FailNow(tb, "no receipt", "%s of %s", state, id)
		}
	}
}

// stateBook remembers the states a session has told.
type stateBook struct {
	mu  sync.Mutex
	all []whatsapp.State
}

func (b *stateBook) add(s whatsapp.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, s)
}

func (b *stateBook) codes() []whatsapp.Code {
	b.mu.Lock()
	defer b.mu.Unlock()
	codes := make([]whatsapp.Code, 0, len(b.all))
	for _, s := range b.all {
		codes = append(codes, s.Code)
	}
	return codes
}

// logins counts how often the session has come up.
func (b *stateBook) logins() (n int) {
	for _, c := range b.codes() {
		if c == whatsapp.Connected {
			n++
		}
	}
	return n
}

// awaitCode waits until a session is in a state.
func (n *node) awaitCode(tb testing.TB, code whatsapp.Code) whatsapp.State {
	tb.Helper()
	require.Eventually(tb, func() bool { return n.State().Code == code }, patience, 2*time.Millisecond, "never came to be %s", code)
	return n.State()
}

// logBook keeps what was logged.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
