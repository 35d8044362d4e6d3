package stories_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/config"
)

func TestStory_HelpListsEverySetting(t *testing.T) {
	t.Parallel()
	for _, program := range []string{config.ProgramAPI, config.ProgramSender} {
		for _, flag := range []string{"-h", "--help"} {
			out, stderr, code := call(t, program, nil, flag)
			require.Zero(t, code)
			require.Empty(t, stderr)
			for _, v := range config.Variables(program) {
				require.Contains(t, out, v.Name)
				require.Contains(t, out, v.Doc)
			}
		}
	}
}

func TestStory_WhatStopsAStart(t *testing.T) {
	t.Parallel()
	secret, elsewhere := "WABEK_SECRET="+random(), "WABEK_NATS_URL=nats://127.0.0.1:1"
	for name, c := range map[string]struct {
		program string
		env     []string
		args    []string
		says    []string
	}{
		"a variable that nobody knows":          {program: "api", env: []string{"WABEK_ADR=:1"}, says: []string{"WABEK_ADR", "WABEK_ADDR"}},
		"a variable that nobody knows, sender":  {program: "sender", env: []string{elsewhere, secret, "WABEK_POOLS=a"}, says: []string{"WABEK_POOLS", "WABEK_POOL"}},
		"a number that is none":                 {program: "api", env: []string{"OTP_LENGTH=six"}, says: []string{"OTP_LENGTH"}},
		"a code that is too short":              {program: "api", env: []string{"OTP_LENGTH=4"}, says: []string{"OTP_LENGTH", "6"}},
		"a key that is too short":               {program: "api", env: []string{"WABEK_API_KEY=short"}, says: []string{"WABEK_API_KEY", "16"}},
		"a queue elsewhere and no secret":       {program: "api", env: []string{elsewhere}, says: []string{"WABEK_SECRET", "32"}},
		"a queue elsewhere and a short secret":  {program: "api", env: []string{elsewhere, "WABEK_SECRET=short"}, says: []string{"WABEK_SECRET", "32"}},
		"a sender without a queue":              {program: "sender", env: []string{secret}, says: []string{"WABEK_NATS_URL"}},
		"a sender without keys":                 {program: "sender", env: []string{elsewhere}, says: []string{"WABEK_POOL_KEYS"}},
		"a sender with the keys of other pools": {program: "sender", env: []string{elsewhere, "WABEK_POOL_KEYS=" + otherPoolKeys(t), "WABEK_POOL=default"}, says: []string{"WABEK_POOL"}},
		"half a place of WhatsApp":              {program: "sender", env: []string{"WABEK_WHATSAPP_ENDPOINT=http://127.0.0.1:1"}, args: []string{"pair"}, says: []string{"WABEK_WHATSAPP_ROOT_KEY"}},
		"a call that nobody understands":        {program: "api", args: []string{"serve"}, says: []string{"serve", "Usage"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, stderr, code := call(t, c.program, c.env, c.args...)
			require.Equal(t, 2, code, stderr)
			require.Empty(t, out)
			for _, s := range c.says {
				require.Contains(t, stderr, s)
			}
			require.NotContains(t, stderr, strings.TrimPrefix(secret, "WABEK_SECRET="))
		})
	}
}

// otherPoolKeys are the keys of a pool called other.
func otherPoolKeys(t *testing.T) string {
	t.Helper()
	out, stderr, code := call(t, "api", []string{"WABEK_SECRET=" + random()}, "pool-keys", "other")
	require.Zero(t, code, stderr)
	return strings.TrimSpace(out)
}

func TestStory_KubernetesServiceLinksAreNoSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.prepareNATS() // and never start it
	w.prepareAPI("WABEK_API_SERVICE_HOST=10.0.0.1", "WABEK_API_SERVICE_PORT=8080", "WABEK_API_PORT=tcp://10.0.0.1:8080",
		"WABEK_API_PORT_8080_TCP=tcp://10.0.0.1:8080", "WABEK_API_PORT_8080_TCP_PROTO=tcp", "WABEK_API_PORT_8080_TCP_ADDR=10.0.0.1")
	w.startAPI()
	require.Zero(t, w.api.stop())
}

func TestStory_PairPrintsNothingButCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startWhatsApp()
	w.pairSession(w.mkdir("sender"))

	var out safeBuffer
	p := w.program("watched", "sender", append([]string{"WABEK_DATA_DIR=" + w.mkdir("second")}, w.place...), "pair", "-text")
	stderr, err := os.Create(p.log)
	require.NoError(t, err)
	defer stderr.Close()
	p.startWith(&out, stderr)
	eventually(t, func() bool { return strings.Contains(out.String(), "\n") }, "no code is shown")
	// Simulator gone = WhatsApp hangs up: nobody has scanned, and no code is good any more.
	w.whatsim.kill()
	require.Equal(t, 1, p.wait())
	for line := range strings.Lines(out.String()) {
		require.Regexp(t, `^(https://wa\.me/settings/linked_devices#)?2@[^\s,]+(,[^\s,]+){3,4}\n$`, line)
	}
	require.Contains(t, read(t, p.log), "sender pair:")
}

// safeBuffer may be written and read at once.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestStory_EverybodyStartsBeforeNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startWhatsApp()
	w.prepareNATS()
	w.prepareAPI()
	w.startAPI()
	w.pairSession(w.mkdir("sender"))
	w.prepareSender()
	w.startSender()

	h, _ := w.client.health()
	require.False(t, h.Ready)
	require.Contains(t, h.Degraded, "nats")
	a, err := w.client.issue("905554000001")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	requireProblem(t, a, "queue_unavailable")

	w.startNATS()
	w.untilReady()
	w.client.mustIssue(t, "905554000001")
	w.phones.receives(t, "905554000001")
}

func TestStory_NoOTPIsTakenBeforeASessionWasEverThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startWhatsApp()
	w.prepareNATS()
	w.startNATS()
	w.prepareAPI()
	w.startAPI()
	eventually(t, func() bool { h, _ := w.client.health(); return len(h.Degraded) == 1 }, "the queue isn't reached")
	a, err := w.client.issue("905554000002")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	requireProblem(t, a, "no_session")

	// A sender with no paired session is no session either; pairing beside it is what brings one.
	w.prepareSender()
	w.startSender()
	sh, _ := w.senderHealth()
	require.Contains(t, sh.Degraded, "sessions")
	w.pairSession(w.mkdir("sender"))
	w.untilReady()
	w.client.mustIssue(t, "905554000002")
	w.phones.receives(t, "905554000002")
}

func requireProblem(t *testing.T, a answer, code string) {
	t.Helper()
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	require.Contains(t, string(a.body), `"code":"`+code+`"`)
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
}

func TestStory_AStoppedSenderFinishesWhatItSends(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	w.phones.fault(t, "ack_delay", map[string]any{"ms": 1000, "count": 1})
	id := w.client.mustIssue(t, "905554000003")
	w.phones.receives(t, "905554000003") // and it isn't acknowledged for a second
	require.Zero(t, w.sender.stop())
	w.startSender()
	eventually(t, func() bool { h, there := w.client.health(); return there && h.Relay.Pending == 0 }, "the job isn't settled")
	steps := w.history()[jobID(id)]
	require.Equal(t, []string{"sending", "sent"}, firstStates(steps, 2))
	require.Equal(t, steps[0].Fence, steps[1].Fence, "by the sender that was stopped")
	require.Equal(t, 1, w.phones.receives(t, "905554000003").Copies)
	h, _ := w.senderHealth()
	require.Zero(t, h.Redelivered)
}

func TestStory_AStoppedAPIHandsItsJobsOver(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	var fresh numbers
	ids := map[string]string{}
	for range 50 {
		digits := fresh.next()
		ids[digits] = w.client.mustIssue(t, digits)
	}
	require.Zero(t, w.api.stop())
	w.startAPI()
	for digits, id := range ids {
		v, err := w.client.verify(id, w.phones.receives(t, digits).code())
		require.NoError(t, err)
		require.True(t, v.Valid)
	}
}

func TestStory_StandaloneIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startWhatsApp()
	dir := w.mkdir("alone")
	w.pairSession(dir)
	addr := freeAddr(t)
	w.client = apiClient{url: "http://" + addr, key: w.secrets.apiKey}
	w.api = w.program("alone", "api", append([]string{
		"WABEK_ADDR=" + addr, "WABEK_DATA_DIR=" + dir, "WABEK_API_KEY=" + w.secrets.apiKey,
	}, w.place...))
	for _, digits := range []string{"905554000004", "905554000005"} { // the session survives the restart
		w.startAPI()
		w.untilReady()
		id := w.client.mustIssue(t, digits)
		v, err := w.client.verify(id, w.phones.receives(t, digits).code())
		require.NoError(t, err)
		require.True(t, v.Valid)
		require.Zero(t, w.api.stop())
	}
	for _, name := range []string{"records.db", "nats", "devices.db", "sent.db", "secret"} {
		_, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err, "the names in a data directory are fixed")
	}
	require.NoFileExists(t, filepath.Join(dir, "first-run"), "no key was made")
}
