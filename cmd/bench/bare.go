package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// sendSpec is a run of messages: to numbers First, First+1, …, or to Known numbers in turn.
type sendSpec struct {
	N     int    `json:"n"`
	First uint64 `json:"first"`
	Known uint64 `json:"known"` // 0: every message to a number of its own
}

// to is the number of message i, as digits.
func (s sendSpec) to(i int) string {
	n := uint64(i) //nolint:gosec // counts up from 0
	if s.Known > 0 {
		n %= s.Known
	}
	return fmt.Sprintf("4479%08d", s.First+n)
}

// sendResult is when the first and the last message were acknowledged by WhatsApp.
type sendResult struct {
	Acked int       `json:"acked"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`

	cpu time.Duration // of the process that sent
}

// cost is its CPU in µs for one message, receipts included.
func (r sendResult) cost() float64 { return float64(r.cpu.Microseconds()) / float64(max(1, r.Acked)) }

// rate is messages a second, from the first acknowledgement to the last.
func (r sendResult) rate() float64 { return float64(r.Acked-1) / r.Last.Sub(r.First).Seconds() }

// otpText is a message as long as an OTP's.
const otpText = "Your verification code:\n\n123456\n\nValid for 10 minutes. Do not share it with anyone."

// runBare is a whatsmeow client and nothing else: its messages go out in a loop. Its device database has the
// settings of the product's.
func runBare(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("bare", flag.ContinueOnError)
	dir := flags.String("data", "", "data directory")
	sim := flags.String("sim", "", "URL of the simulator")
	rootKey := flags.String("root", "", "root key of the simulator")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := openBareClient(ctx, *dir, *sim, *rootKey)
	if err != nil {
		return err
	}
	err = answerCalls(ctx, in, out, map[string]handler{
		"ready": on(func(ctx context.Context, _ nothing) (nothing, error) { return nothing{}, c.pair(ctx, *sim) }),
		"run": on(func(ctx context.Context, s sendSpec) (r sendResult, err error) {
			for i := range s.N {
				if err := c.send(ctx, s.to(i)); err != nil {
					return r, err
				}
				r.note(time.Now())
			}
			return r, nil
		}),
		// send sends one message and tells when it began.
		"send": on(func(ctx context.Context, to string) (time.Time, error) {
			start := time.Now()
			return start, c.send(ctx, to)
		}),
		"settle": on(func(ctx context.Context, _ nothing) (nothing, error) { return nothing{}, quiet(ctx, &c.receipts) }),
	})
	c.cli.Disconnect()
	return errors.Join(err, c.container.Close())
}

func (r *sendResult) note(now time.Time) {
	if r.Acked == 0 {
		r.First = now
	}
	r.Acked, r.Last = r.Acked+1, now
}

// quiet waits until no receipt has come for a while.
func quiet(ctx context.Context, receipts *atomic.Int64) error {
	const calm = 100 * time.Millisecond
	last, since := receipts.Load(), time.Now()
	return until(ctx, func() (bool, error) {
		if n := receipts.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > calm, nil
	})
}

// bareClient is the ceiling of sending.
type bareClient struct {
	cli       *whatsmeow.Client
	container *sqlstore.Container
	connected chan struct{}
	receipts  atomic.Int64
}

func openBareClient(ctx context.Context, dir, sim, rootKey string) (*bareClient, error) {
	if err := trust(rootKey); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare-devices.db")+
		"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	container := sqlstore.NewWithDB(db, "sqlite", waLog.Noop)
	if err := container.Upgrade(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	where, err := url.Parse(sim)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c := &bareClient{cli: whatsmeow.NewClient(container.NewDevice(), waLog.Noop), container: container, connected: make(chan struct{}, 4)}
	h := &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, where.Host)
		},
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("only loopback is dialled")
		},
	}}
	c.cli.SetWebsocketHTTPClient(h)
	c.cli.SetPreLoginHTTPClient(h)
	c.cli.AddEventHandler(func(event any) {
		switch event.(type) {
		case *events.Connected:
			c.connected <- struct{}{}
		case *events.Receipt:
			c.receipts.Add(1)
		}
	})
	return c, nil
}

func (c *bareClient) pair(ctx context.Context, sim string) error {
	codes, err := c.cli.GetQRChannel(ctx)
	if err != nil {
		return err
	}
	if err := c.cli.ConnectContext(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	go scan(ctx, sim, (<-codes).Code)
	select {
	case <-c.connected:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("the bare client was not paired in time")
	}
}

func (c *bareClient) send(ctx context.Context, to string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := c.cli.SendMessage(ctx, types.NewJID(to, types.DefaultUserServer), &waE2E.Message{Conversation: new(otpText)})
	return err
}
