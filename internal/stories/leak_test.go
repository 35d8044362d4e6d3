package stories_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// TestStory_NothingLeaks searches all that wabek writes for what must not be there: codes, numbers and keys.
func TestStory_NothingLeaks(t *testing.T) {
	t.Parallel()
	w := startAll(t, "OTP_LENGTH=10", "WABEK_LOG_LEVEL=debug") // ten digits don't stand somewhere by chance
	var fresh numbers
	h := &hunt{t: t}
	h.findsPlantedCodes()
	h.want("the secret", w.secrets.secret)
	h.want("the API key", w.secrets.apiKey)
	h.want("the password of NATS", w.secrets.natsPassword)
	_, key, _ := strings.Cut(strings.TrimPrefix(w.poolKeys(), "default:"), ":")
	raw, err := base64.RawURLEncoding.DecodeString(key)
	require.NoError(t, err)
	h.want("a pool key", key)
	h.want("a pool key", string(raw))
	sessions, err := w.phones.sessions()
	require.NoError(t, err)
	h.number(sessions[0].Account)

	otp := func(digits string) (id, code string) {
		id = w.client.mustIssue(t, digits)
		code = w.phones.receives(t, digits).code()
		require.Len(t, code, 10)
		h.number(digits)
		h.want("a code", code)
		return id, code
	}
	w.phones.post(t, "/phones/905553000001", map[string]any{"exists": false})
	h.number("905553000001")
	w.client.mustIssue(t, "905553000001") // fails
	for i := range 12 {
		id, code := otp(fresh.next())
		switch i % 4 {
		case 0:
			_, err = w.client.verify(id, code)
		case 1:
			_, err = w.client.verify(id, code+"1")
		case 2: // never tried
		case 3:
			w.phones.fault(t, "retry_receipt", map[string]any{"count": 1})
		}
		require.NoError(t, err)
	}
	w.phones.fault(t, "ack_error", map[string]any{"code": 479, "count": 2})
	otp(fresh.next())
	w.phones.fault(t, "drop", map[string]any{"count": 1})
	id, code := otp(fresh.next())
	for _, bad := range []map[string]string{ // what clients get wrong ends in no log either
		{"phone": "905553000002", "purpose": "verification"},
		{"phone": "+905553000002", "purpose": strings.Repeat("x", 100)},
		{"phone": "+90 555 300 00 02 00 00 00", "purpose": "verification"},
	} {
		_, err := w.client.post("/api/v1/otp", bad)
		require.NoError(t, err)
	}
	h.number("905553000002")
	_, err = w.client.post("/api/v1/otp-verify/"+code, map[string]string{"otp_id": id, "otp": code})
	require.NoError(t, err)
	w.sender.kill()
	w.api.kill()
	w.startAPI()
	w.startSender()
	w.untilReady()
	otp(fresh.next())
	require.Zero(t, w.sender.stop())
	require.Zero(t, w.api.stop())
	h.plantInStream(w)
	w.nats.kill()

	h.findsWhatIsInStream(w)
	// Only what SECURITY.md names may hold them.
	h.in(w.dir, func(rel string) bool {
		return strings.HasPrefix(rel, "whatsim") || strings.HasPrefix(filepath.Base(rel), "devices.db")
	})
	require.Greater(t, h.files, 8, "logs, records, ledger and streams were there to search")
	require.Empty(t, h.found)
}

// TestStory_TheFirstKeyIsShownAndNothingElse looks after the keys that a first start makes.
func TestStory_TheFirstKeyIsShownAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startWhatsApp()
	dir := w.mkdir("alone")
	addr := freeAddr(t)
	w.client = apiClient{url: "http://" + addr}
	w.api = w.program("alone", "api", append([]string{"WABEK_ADDR=" + addr, "WABEK_DATA_DIR=" + dir, "WABEK_LOG_LEVEL=debug"}, w.place...))
	w.startAPI()
	first := read(t, filepath.Join(dir, "first-run"))
	_, rest, _ := strings.Cut(first, "wabek_")
	key := "wabek_" + strings.Fields(rest)[0]
	w.client.key = key
	a, err := w.client.issue("905553000009")
	require.NoError(t, err)
	require.Equal(t, 503, a.status, "the key is right, and no session is there: %s", a.body)
	require.Zero(t, w.api.stop())
	require.Contains(t, read(t, w.api.out), filepath.Join(dir, "first-run"))
	for _, name := range []string{"first-run", "secret"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), name)
	}

	require.NoError(t, os.Remove(filepath.Join(dir, "first-run")))
	w.startAPI()
	a, err = w.client.issue("905553000009")
	require.NoError(t, err)
	require.Equal(t, 503, a.status, "the key of the first start goes on: %s", a.body)
	require.Zero(t, w.api.stop())
	require.NoFileExists(t, filepath.Join(dir, "first-run"), "no other is made")

	h := &hunt{t: t}
	h.want("the API key", strings.TrimPrefix(key, "wabek_"))
	h.want("the secret", strings.TrimSpace(read(t, filepath.Join(dir, "secret"))))
	h.number("905553000009")
	h.in(w.dir, func(rel string) bool {
		return strings.HasPrefix(rel, "whatsim") || rel == "alone/secret" || strings.HasPrefix(rel, "alone/devices.db")
	})
	require.Empty(t, h.found)
}

// hunt searches files for secrets, in every form that a careless program would write them in.
type hunt struct {
	t      *testing.T
	wanted []wanted
	files  int
	found  []string
}

type wanted struct {
	what string
	form []byte
}

// number looks for a phone number by its national part, which every way to write it has.
func (h *hunt) number(digits string) {
	national := digits[len(digits)-10:]
	h.want("a number", national)
	h.want("a number", national[:3]+" "+national[3:6]+" "+national[6:])
}

func (h *hunt) want(what, secret string) {
	for _, form := range forms(secret) {
		h.wanted = append(h.wanted, wanted{what: what, form: form})
	}
}

// forms are the bytes themselves, in hex, and in base64 however they are aligned in it.
func forms(secret string) [][]byte {
	plain := []byte(secret)
	lower := hex.EncodeToString(plain)
	all := [][]byte{plain, []byte(lower), []byte(strings.ToUpper(lower))}
	for lead := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, lead), plain...))
			// Of the first and the last characters the neighbours have a part.
			from, to := (lead*8+5)/6, (lead+len(plain))*8/6
			all = append(all, []byte(text[from:to]))
		}
	}
	return all
}

// in searches every file below dir that may hold none of them.
func (h *hunt) in(dir string, may func(rel string) bool) {
	h.t.Helper()
	require.NoError(h.t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || may(rel) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h.files++
		for _, w := range h.wanted {
			if at := bytes.Index(data, w.form); at >= 0 {
				h.found = append(h.found, rel+": "+w.what+": …"+string(data[max(0, at-60):min(len(data), at+60)])+"…")
			}
		}
		return nil
	}))
}

const plantedCode = "4071926358"

// findsPlantedCodes shows that the search finds what is there: in the clear, in hex, and in base64 at each alignment.
func (h *hunt) findsPlantedCodes() {
	h.t.Helper()
	for _, written := range []string{
		"otp=" + plantedCode + "\n", hex.EncodeToString([]byte("x" + plantedCode + "y")),
		strings.ToUpper(hex.EncodeToString([]byte(plantedCode))), base64.StdEncoding.EncodeToString([]byte(plantedCode)),
		base64.StdEncoding.EncodeToString([]byte("a" + plantedCode + "bc")),
		base64.URLEncoding.EncodeToString([]byte("ab" + plantedCode + "c")),
		base64.StdEncoding.EncodeToString([]byte("abc" + plantedCode + "d")),
	} {
		dir := h.t.TempDir()
		require.NoError(h.t, os.WriteFile(filepath.Join(dir, "planted"), []byte(written), 0o600))
		require.NotEmpty(h.t, searchForPlanted(h.t, dir), "not found in %s", written)
	}
}

func searchForPlanted(t *testing.T, dir string) []string {
	t.Helper()
	search := &hunt{t: t}
	search.want("a code", plantedCode)
	search.in(dir, func(string) bool { return false })
	return search.found
}

// plantInStream stores a code where a careless sender would have, in a dead letter.
func (h *hunt) plantInStream(w *world) {
	h.t.Helper()
	nc, err := nats.Connect(w.natsURL)
	require.NoError(h.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(h.t, err)
	_, err = js.Publish(h.t.Context(), "wabek.dead.otp.default.planted", []byte("the code was "+plantedCode))
	require.NoError(h.t, err)
}

// findsWhatIsInStream shows that streams lie on the disk as they are, neither compressed nor encrypted.
func (h *hunt) findsWhatIsInStream(w *world) {
	h.t.Helper()
	require.Len(h.t, searchForPlanted(h.t, filepath.Join(w.dir, "nats")), 1)
}
