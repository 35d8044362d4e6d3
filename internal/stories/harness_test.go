package stories_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// world is a whole wabek: simulator, NATS, API and sender, each a process with a directory of its own.
type world struct {
	t    *testing.T
	dir  string
	logs string

	whatsim, nats, api, sender *program
	phones                     phones
	client                     apiClient
	senderURL                  string
	secrets                    secrets
	place                      []string // where WhatsApp is, as settings
	natsURL                    string
}

// secrets is what must show up nowhere.
type secrets struct{ secret, apiKey, natsPassword, poolKeys string }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), secrets: secrets{secret: random(), apiKey: random(), natsPassword: random()}}
	w.logs = w.mkdir("logs")
	return w
}

func random() string {
	b := make([]byte, 30)
	_, _ = rand.Read(b)                                  // never fails
	return "k" + base64.RawURLEncoding.EncodeToString(b) // a letter first: nats-server reads a variable as it reads its file
}

func (w *world) mkdir(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	require.NoError(w.t, os.MkdirAll(dir, 0o700))
	return dir
}

// startAll starts everything, pairs a session and waits until OTPs are accepted. Settings are for api and sender.
func startAll(t *testing.T, settings ...string) *world {
	t.Helper()
	w := newWorld(t)
	w.startWhatsApp()
	w.prepareNATS()
	w.startNATS()
	w.prepareAPI(settings...)
	w.startAPI()
	w.pairSession(w.mkdir("sender"))
	w.prepareSender(settings...)
	w.startSender()
	w.untilReady()
	return w
}

// startWhatsApp starts the simulator.
func (w *world) startWhatsApp() {
	w.t.Helper()
	file := filepath.Join(w.dir, "whatsim.env")
	w.whatsim = w.program("whatsim", "whatsim", []string{"WABEK_SIM_ADDR=127.0.0.1:0"}, "-env", file, "-dir", w.mkdir("whatsim"))
	w.whatsim.start()
	eventually(w.t, func() bool { _, err := os.Stat(file); return err == nil }, "whatsim doesn't listen")
	for line := range strings.Lines(read(w.t, file)) {
		line = strings.TrimSpace(line)
		if url, ok := strings.CutPrefix(line, "WABEK_WHATSAPP_ENDPOINT="); ok {
			w.phones = phones{url: url}
		}
		if strings.HasPrefix(line, "WABEK_WHATSAPP_") {
			w.place = append(w.place, line)
		}
	}
	require.Len(w.t, w.place, 2)
}

// prepareNATS makes a NATS server like that of deploy/nats.conf.
func (w *world) prepareNATS() {
	w.t.Helper()
	addr := freeAddr(w.t)
	conf := filepath.Join(w.dir, "nats.conf")
	require.NoError(w.t, os.WriteFile(conf, fmt.Appendf(nil, `
server_name: wabek
listen: %s
authorization { user: wabek, password: $WABEK_NATS_PASSWORD }
jetstream { store_dir: %q, sync_interval: 2s }
`, addr, w.mkdir("nats")), 0o600))
	w.nats = w.program("nats", "nats-server", []string{"WABEK_NATS_PASSWORD=" + w.secrets.natsPassword}, "-c", conf)
	w.natsURL = "nats://wabek:" + w.secrets.natsPassword + "@" + addr
}

func (w *world) startNATS() {
	w.t.Helper()
	w.nats.start()
}

func (w *world) prepareAPI(settings ...string) {
	w.t.Helper()
	addr := freeAddr(w.t)
	w.client = apiClient{url: "http://" + addr, key: w.secrets.apiKey}
	w.api = w.program("api", "api", append([]string{
		"WABEK_ADDR=" + addr, "WABEK_DATA_DIR=" + w.mkdir("api"), "WABEK_NATS_URL=" + w.natsURL,
		"WABEK_SECRET=" + w.secrets.secret, "WABEK_API_KEY=" + w.secrets.apiKey,
	}, settings...))
}

// startAPI starts the API and waits until it answers.
func (w *world) startAPI() {
	w.t.Helper()
	w.api.start()
	eventually(w.t, func() bool { _, there := w.client.health(); return there || !w.api.running() }, "the API doesn't answer")
	require.True(w.t, w.api.running(), "the API has ended")
}

// pairSession pairs a session in a sender's data directory, as a person does: by scanning what is shown.
func (w *world) pairSession(dataDir string) {
	w.t.Helper()
	p := w.program("pair", "sender", append([]string{"WABEK_DATA_DIR=" + dataDir}, w.place...), "pair", "-text")
	stderr, err := os.Create(p.log)
	require.NoError(w.t, err)
	defer stderr.Close()
	var scans sync.WaitGroup
	defer scans.Wait()
	var paired atomic.Int32
	p.startWith(&lines{fn: func(qr string) {
		scans.Go(func() {
			if a, err := w.phones.pair(qr); err == nil && a.status == http.StatusOK {
				paired.Add(1)
			}
		})
	}}, stderr)
	require.Zero(w.t, p.wait(), "pairing failed")
	scans.Wait()
	require.EqualValues(w.t, 1, paired.Load())
}

// poolKeys is what a sender may know.
func (w *world) poolKeys() string {
	w.t.Helper()
	if w.secrets.poolKeys == "" {
		out, stderr, code := call(w.t, "api", []string{"WABEK_SECRET=" + w.secrets.secret}, "pool-keys", "default")
		require.Zero(w.t, code, stderr)
		w.secrets.poolKeys = strings.TrimSpace(out)
	}
	return w.secrets.poolKeys
}

func (w *world) prepareSender(settings ...string) {
	w.t.Helper()
	addr := freeAddr(w.t)
	w.senderURL = "http://" + addr
	env := append([]string{
		"WABEK_SENDER_ADDR=" + addr, "WABEK_DATA_DIR=" + w.mkdir("sender"), "WABEK_NATS_URL=" + w.natsURL,
		"WABEK_POOL_KEYS=" + w.poolKeys(),
	}, w.place...)
	for _, s := range settings {
		if !strings.HasPrefix(s, "OTP_") { // a sender doesn't know them
			env = append(env, s)
		}
	}
	w.sender = w.program("sender", "sender", env)
}

// startSender starts the sender and waits until it answers; its session may come up later.
func (w *world) startSender() {
	w.t.Helper()
	w.sender.start()
	eventually(w.t, func() bool { _, there := w.senderHealth(); return there || !w.sender.running() }, "the sender doesn't answer")
	require.True(w.t, w.sender.running(), "the sender has ended")
}

func (w *world) senderHealth() (senderHealth, bool) { return readyz[senderHealth](w.senderURL) }

// untilReady waits until the API has heard of a session that is up.
func (w *world) untilReady() {
	w.t.Helper()
	eventually(w.t, func() bool {
		h, there := w.client.health()
		return there && h.Ready && h.Sessions.Up == 1 && len(h.Degraded) == 0
	}, "the API isn't ready")
}

// numbers makes phone numbers that nobody has used in this world.
type numbers struct{ last atomic.Int64 }

// next is a number in Turkey, digits alone.
func (n *numbers) next() string { return fmt.Sprintf("90555%07d", 1000000+n.last.Add(1)) }
