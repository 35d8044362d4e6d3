package whatsapp_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"wabek/internal/job"
	"wabek/internal/whatsapp"
)

// BenchmarkSend compares a warm Session.Send with a bare SendMessage loop: the same simulator, the same settings of
// the device database, turn and turn about in slices of 100 messages, so that both meet the same noise.
// It reports the time of a bare send and ours/bare as a rate (1 is as fast).
func BenchmarkSend(b *testing.B) {
	w := newWorld(b)
	n := w.up(b)
	bare := bareClient(b, w)
	to := newNumber(b)
	jid := types.NewJID(to.Digits(), types.DefaultUserServer)

	type prepared struct {
		env  job.Envelope
		body job.Body
	}
	ours := func(m prepared) { require.NoError(b, n.Send(b.Context(), m.env, m.body)) }
	bareSend := func(m prepared) {
		ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
		defer cancel()
		_, err := bare.SendMessage(ctx, jid, &waE2E.Message{Conversation: new(m.body.Text)},
			whatsmeow.SendRequestExtra{ID: m.body.MessageID})
		require.NoError(b, err)
	}
	message := func() prepared {
		env, body := w.message(b, to, "Your code is 123456")
		return prepared{env, body}
	}
	ours(message())
	bareSend(message())

	const slice = 100
	var oursTook, bareTook time.Duration
	rounds := 0
	b.ResetTimer()
	for b.Loop() {
		batch := make([]prepared, slice)
		for i := range batch {
			batch[i] = message()
		}
		start := time.Now()
		for _, m := range batch {
			ours(m)
		}
		oursTook += time.Since(start)
		for i := range batch {
			batch[i] = message()
		}
		start = time.Now()
		for _, m := range batch {
			bareSend(m)
		}
		bareTook += time.Since(start)
		rounds++
	}
	b.ReportMetric(float64(bareTook.Microseconds())/float64(rounds*slice), "bare-µs/send")
	b.ReportMetric(float64(oursTook.Microseconds())/float64(rounds*slice), "ours-µs/send")
	b.ReportMetric(bareTook.Seconds()/oursTook.Seconds(), "ours/bare")
}

// bareClient pairs a whatsmeow client of its own with the settings of our device database and nothing else.
func bareClient(b *testing.B, w *world) *whatsmeow.Client {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+
		"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_txlock=immediate")
	require.NoError(b, err)
	db.SetMaxOpenConns(1)
	container := sqlstore.NewWithDB(db, "sqlite", waLog.Noop)
	require.NoError(b, container.Upgrade(b.Context()))
	cli := whatsmeow.NewClient(container.NewDevice(), waLog.Noop)
	h := &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.sim.Addr())
		},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
	}}
	cli.SetWebsocketHTTPClient(h)
	cli.SetPreLoginHTTPClient(h)
	connected := make(chan struct{}, 4)
	cli.AddEventHandler(func(e any) {
		if _, ok := e.(*events.Connected); ok {
			connected <- struct{}{}
		}
	})
	codes, err := cli.GetQRChannel(b.Context())
	require.NoError(b, err)
	require.NoError(b, cli.ConnectContext(context.WithoutCancel(b.Context())))
	item := <-codes
	_, err = w.sim.Pair(b.Context(), item.Code, newNumber(b).Digits())
	require.NoError(b, err)
	<-connected
	b.Cleanup(func() {
		cli.Disconnect()
		require.NoError(b, container.Close())
	})
	return cli
}

// BenchmarkLedger is an entry and its mark, one after another, as one session makes them.
func BenchmarkLedger(b *testing.B) {
	l, err := whatsapp.OpenLedger(b.Context(), b.TempDir(), time.Now)
	require.NoError(b, err)
	defer func() { require.NoError(b, l.Close()) }()
	sealed := make([]byte, 250)
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprintf("3EB0%09X%09X", rand.Uint32(), i)
		already, err := l.Begin(b.Context(), whatsapp.Entry{
			MessageID: id, Job: job.ID("0192f0c1-2d3e-7abc-8def-" + id[4:16]), Lane: job.LaneOTP, Pool: "default",
			Session: "aaaaaaaa", Sealed: sealed, Expires: time.Now().Add(10 * time.Minute),
		})
		require.NoError(b, err)
		require.False(b, already)
		l.MarkSent(id)
	}
}
