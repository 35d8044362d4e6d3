package whatsim_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"wabek/internal/whatsim"
)

const patience = 20 * time.Second // how long anything may take before a test fails

func TestMain(m *testing.M) {
	whatsmeow.WACertPubKey = *keys.NewKeyPairFromPrivateKey(*whatsim.SharedRoot()).Pub
	dir, err := os.MkdirTemp("", "whatsim")
	if err != nil {
		panic(err)
	}
	template.dir = dir
	// Two goroutines that whatsmeow leaves behind, not the server: the reader of a client that disconnects while a
	// frame arrives, and the wait for an answer (75 s) of one that disconnects while it asks.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).issuePrivacyToken"),
		goleak.Cleanup(func(code int) {
			_ = os.RemoveAll(dir)
			os.Exit(code)
		}))
}

// start starts a simulator that ends with the test.
func start(t testing.TB, dir string) *whatsim.Server {
	t.Helper()
	s, err := whatsim.Start(whatsim.Options{Dir: dir, RootKey: whatsim.SharedRoot()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	pub, err := hex.DecodeString(s.RootKeyHex())
	require.NoError(t, err)
	require.Equal(t, whatsmeow.WACertPubKey[:], pub)
	return s
}

// line is where a client dials: it survives the restart of a simulator on another port.
type line struct {
	mu      sync.Mutex
	addr    string
	wrapped func(net.Conn) net.Conn
}

// wrap lets the next connections go through f.
func (l *line) wrap(f func(net.Conn) net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrapped = f
}

func (l *line) use(s *whatsim.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr = s.Addr()
}

func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	addr, wrap := l.addr, l.wrapped
	l.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err == nil && wrap != nil {
		conn = wrap(conn)
	}
	return conn, err
}

// template is the state of a simulator and the database of a client that is paired with it, made once: pairing
// costs 812 key pairs.
var template struct {
	once sync.Once
	dir  string
}

const owner = "905550000001" // the account most tests send from

// ready gives a simulator and a connected client of owner, as they are after a restart of both.
func ready(t testing.TB) (*whatsim.Server, *client) {
	t.Helper()
	state, db := filepath.Join(template.dir, "sim"), filepath.Join(template.dir, "wa.db")
	template.once.Do(func() {
		s := start(t, state)
		l := &line{}
		l.use(s)
		devices := openDatabase(t, db)
		c := newClient(t, l, devices, devices.NewDevice())
		c.pair(t, s, owner)
		c.Disconnect()
		require.NoError(t, devices.Close())
		require.NoError(t, s.Close())
	})
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "sim"), os.DirFS(state)))
	raw, err := os.ReadFile(db)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "wa.db"), raw, 0o600))
	s := start(t, filepath.Join(dir, "sim"))
	first := &client{line: &line{}, db: openDatabase(t, filepath.Join(dir, "wa.db")), number: owner}
	first.line.use(s)
	return s, first.again(t)
}

// database is an empty device database of a client.
func database(t testing.TB) *sqlstore.Container {
	t.Helper()
	return openDatabase(t, filepath.Join(t.TempDir(), "wa.db"))
}

func openDatabase(t testing.TB, path string) *sqlstore.Container {
	t.Helper()
	dsn := "file:" + path +
		"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	c := sqlstore.NewWithDB(db, "sqlite", waLog.Noop)
	require.NoError(t, c.Upgrade(t.Context()))
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// client is an unmodified whatsmeow client with its events.
type client struct {
	*whatsmeow.Client
	line   *line
	db     *sqlstore.Container
	events chan any
	number string

	skipped []any // events that nobody has waited for yet
}

func newClient(t testing.TB, l *line, db *sqlstore.Container, dev *store.Device) *client {
	t.Helper()
	transport := &http.Transport{
		DialTLSContext: l.dial,
		DialContext:    func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
	}
	c := &client{Client: whatsmeow.NewClient(dev, waLog.Noop), line: l, db: db, events: make(chan any, 10_000)}
	h := &http.Client{Transport: transport}
	c.SetWebsocketHTTPClient(h)
	c.SetPreLoginHTTPClient(h)
	c.SetMediaHTTPClient(h)
	c.RefreshCAT = func(context.Context) error { return errors.New("no CAT") }
	c.AddEventHandler(func(e any) {
		select {
		case c.events <- e:
		default:
		}
	})
	t.Cleanup(func() {
		c.Disconnect()
		transport.CloseIdleConnections()
	})
	return c
}

// paired pairs a new client and waits until it is connected.
func paired(t testing.TB, s *whatsim.Server, number string) *client {
	t.Helper()
	l := &line{}
	l.use(s)
	db := database(t)
	c := newClient(t, l, db, db.NewDevice())
	c.pair(t, s, number)
	return c
}

func (c *client) pair(t testing.TB, s *whatsim.Server, number string) {
	t.Helper()
	c.number = number
	got, err := s.Pair(t.Context(), c.showQR(t), number)
	require.NoError(t, err)
	require.Equal(t, number, got.Account)
	await[*events.Connected](t, c)
	require.Equal(t, got.JID, c.Store.ID.String())
}

// showQR connects an unpaired client and returns its first code.
func (c *client) showQR(t testing.TB) string {
	t.Helper()
	codes, err := c.GetQRChannel(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Connect())
	item := <-codes
	require.Equal(t, "code", item.Event)
	ctx := t.Context()
	go func() { // the client hangs up when nobody reads
		for more := true; more; {
			select {
			case _, more = <-codes:
			case <-ctx.Done():
				return
			}
		}
	}()
	return item.Code
}

// again makes a second client of the same device, as a restarted program does.
func (c *client) again(t testing.TB) *client {
	t.Helper()
	devices, err := c.db.GetAllDevices(t.Context())
	require.NoError(t, err)
	require.Len(t, devices, 1)
	next := newClient(t, c.line, c.db, devices[0])
	next.number = c.number
	require.NoError(t, next.Connect())
	await[*events.Connected](t, next)
	return next
}

// await waits for an event that is a T and for which all of ok are true. Others are kept for later calls.
func await[T any](t testing.TB, c *client, ok ...func(T) bool) T {
	t.Helper()
	fits := func(e any) (T, bool) {
		v, is := e.(T)
		for _, f := range ok {
			is = is && f(v)
		}
		return v, is
	}
	for i, e := range c.skipped {
		if v, is := fits(e); is {
			c.skipped = slices.Delete(c.skipped, i, i+1)
			return v
		}
	}
	timeout := time.After(patience)
	for {
		select {
		case e := <-c.events:
			if v, is := fits(e); is {
				return v
			}
			c.skipped = append(c.skipped, e)
		case <-timeout:
			var none T
			require.Failf(t, "event missing", "no %T among %T", none, c.skipped)
		}
	}
}

func receipt(id string, typ types.ReceiptType) func(*events.Receipt) bool {
	return func(r *events.Receipt) bool { return r.MessageIDs[0] == id && r.Type == typ }
}

func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (c *client) say(t testing.TB, to, text, id string) (whatsmeow.SendResponse, error) {
	t.Helper()
	return c.SendMessage(patient(t), types.NewJID(to, types.DefaultUserServer),
		&waE2E.Message{Conversation: &text}, whatsmeow.SendRequestExtra{ID: id})
}

func (c *client) mustSay(t testing.TB, to, text, id string) {
	t.Helper()
	_, err := c.say(t, to, text, id)
	require.NoError(t, err)
}

// arrives waits for a message with that id.
func arrives(t testing.TB, s *whatsim.Server, number, id string) whatsim.Message {
	t.Helper()
	m, err := s.WaitMessage(patient(t), number, func(m whatsim.Message) bool { return m.ID == id })
	require.NoError(t, err)
	return m
}
