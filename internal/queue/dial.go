package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// DialOptions say how to reach a NATS server.
type DialOptions struct {
	Name   string // of this program, as the server's monitoring shows it
	Logger *slog.Logger
	// InboxPrefix is where answers come to, one of its own for each role, so that a server can keep roles from
	// reading each other's (default "_INBOX").
	InboxPrefix string
	// Extra options, such as credentials or TLS; they win.
	Extra []nats.Option
}

// Dial prepares a connection. It doesn't wait for the server: where none answers, the connection goes on trying
// for ever, twice a second or so, and everything that needs it fails at once meanwhile.
func Dial(url string, o DialOptions) (*nats.Conn, error) {
	nc, err := nats.Connect(url, append(ConnOptions(o), o.Extra...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	return nc, nil
}

// ConnOptions are the options with which wabek connects, also to an embedded server.
func ConnOptions(o DialOptions) []nats.Option {
	log := o.Logger.With("component", "nats")
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(400 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 200*time.Millisecond),
		nats.Timeout(2 * time.Second),
		// No buffer: while disconnected a publish fails at once. Buffered, it would wait unseen, and come out
		// after the caller had given up on it and published again, or not at all.
		nats.ReconnectBufSize(-1),
		// A dead host says nothing: ask it, and give it up after some ten seconds.
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Error("nats error", "error", err, "subject", subject) // a refused permission shows up only here
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				log.Warn("nats connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("nats connected again") }),
		nats.ConnectHandler(func(*nats.Conn) { log.Info("nats connected") }),
	}
	if o.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	return opts
}
