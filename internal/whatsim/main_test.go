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
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
func start(tb testing.TB, dir string) *whatsim.Server {
	tb.Helper()
	s, err := whatsim.Start(whatsim.Options{Dir: dir, RootKey: whatsim.SharedRoot()})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	pub, err := hex.DecodeString(s.RootKeyHex())
	require.NoError(tb, err)
	require.Equal(tb, whatsmeow.WACertPubKey[:], pub)
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
func ready(tb testing.TB) (*whatsim.Server, *client) {
	tb.Helper()
	state, db := filepath.Join(template.dir, "sim"), filepath.Join(template.dir, "wa.db")
	template.once.Do(func() {
		s := start(tb, state)
		l := &line{}
		l.use(s)
		devices := openDatabase(tb, db)
		c := newClient(tb, l, devices, devices.NewDevice())
		c.pair(tb, s, owner)
		c.Disconnect()
		require.NoError(tb, devices.Close())
		require.NoError(tb, s.Close())
	})
	dir := tb.TempDir()
	require.NoError(tb, os.CopyFS(filepath.Join(dir, "sim"), os.DirFS(state)))
	raw, err := os.ReadFile(db)
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "wa.db"), raw, 0o600))
	s := start(tb, filepath.Join(dir, "sim"))
	first := &client{line: &line{}, db: openDatabase(tb, filepath.Join(dir, "wa.db")), number: owner}
	first.line.use(s)
	return s, first.again(tb)
}

// database is an empty device database of a client.
func database(tb testing.TB) *sqlstore.Container {
	tb.Helper()
	return openDatabase(tb, filepath.Join(tb.TempDir(), "wa.db"))
}

func openDatabase(tb testing.TB, path string) *sqlstore.Container {
	tb.Helper()
	dsn := "file:" + path +
		"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	require.NoError(tb, err)
	db.SetMaxOpenConns(1)
	c := sqlstore.NewWithDB(db, "sqlite", waLog.Noop)
	require.NoError(tb, c.Upgrade(tb.Context()))
	tb.Cleanup(func() { require.NoError(tb, c.Close()) })
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

	ups, downs atomic.Int64 // connections, and ends of one
}

// Disconnect hangs up.
func (c *client) Disconnect() {
	c.downs.Add(1)
	c.Client.Disconnect()
}

func newClient(tb testing.TB, l *line, db *sqlstore.Container, dev *store.Device) *client {
	tb.Helper()
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
		switch e.(type) {
		case *events.Connected:
			c.ups.Add(1)
		case *events.Disconnected, *events.StreamReplaced, *events.LoggedOut, *events.StreamError, *events.ConnectFailure, *events.TemporaryBan:
			c.downs.Add(1)
		}
		select {
		case c.events <- e:
		default:
		}
	})
	tb.Cleanup(func() {
		// Disconnect races with the end of a connection that the server has just closed: that comes first.
		assert.Eventually(tb, func() bool { return c.IsConnected() || c.downs.Load() >= c.ups.Load() }, patience, time.Millisecond)
		c.Client.Disconnect()
		transport.CloseIdleConnections()
	})
	return c
}

// paired pairs a new client and waits until it is connected.
func paired(tb testing.TB, s *whatsim.Server, number string) *client {
	tb.Helper()
	l := &line{}
	l.use(s)
	db := database(tb)
	c := newClient(tb, l, db, db.NewDevice())
	c.pair(tb, s, number)
	return c
}

func (c *client) pair(tb testing.TB, s *whatsim.Server, number string) {
	tb.Helper()
	c.number = number
	got, err := s.Pair(tb.Context(), c.showQR(tb), number)
	require.NoError(tb, err)
	require.Equal(tb, number, got.Account)
	await[*events.Connected](tb, c)
	require.Equal(tb, got.JID, c.Store.ID.String())
}

// showQR connects an unpaired client and returns its first code.
func (c *client) showQR(tb testing.TB) string {
	tb.Helper()
	codes, err := c.GetQRChannel(tb.Context())
	require.NoError(tb, err)
	require.NoError(tb, c.Connect())
	item := <-codes
	require.Equal(tb, "code", item.Event)
	ctx := tb.Context()
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
func (c *client) again(tb testing.TB) *client {
	tb.Helper()
	devices, err := c.db.GetAllDevices(tb.Context())
	require.NoError(tb, err)
	require.Len(tb, devices, 1)
	next := newClient(tb, c.line, c.db, devices[0])
	next.number = c.number
	require.NoError(tb, next.Connect())
	await[*events.Connected](tb, next)
	return next
}

// await waits for an event that is a T and for which all of ok are true. Others are kept for later calls.
func await[T any](tb testing.TB, c *client, ok ...func(T) bool) T {
	tb.Helper()
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
			require.Failf(tb, "event missing", "no %T among %T", none, c.skipped)
		}
	}
}

func receipt(id string, typ types.ReceiptType) func(*events.Receipt) bool {
	return func(r *events.Receipt) bool { return r.MessageIDs[0] == id && r.Type == typ }
}

func patient(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func (c *client) say(tb testing.TB, to, text, id string) (whatsmeow.SendResponse, error) {
	tb.Helper()
	return c.SendMessage(patient(tb), types.NewJID(to, types.DefaultUserServer),
		&waE2E.Message{Conversation: &text}, whatsmeow.SendRequestExtra{ID: id})
}

func (c *client) mustSay(tb testing.TB, to, text, id string) {
	tb.Helper()
	_, err := c.say(tb, to, text, id)
	require.NoError(tb, err)
}

// arrives waits for a message with that id.
func arrives(tb testing.TB, s *whatsim.Server, number, id string) whatsim.Message {
	tb.Helper()
	m, err := s.WaitMessage(patient(tb), number, func(m whatsim.Message) bool { return m.ID == id })
	require.NoError(tb, err)
	return m
}
