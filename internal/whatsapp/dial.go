package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"
)

// The times of the dial loop.
const (
	loginTimeout   = 20 * time.Second // from dialled to logged in; WhatsApp may answer neither yes nor no
	firstBackoff   = 250 * time.Millisecond
	lastBackoff    = 30 * time.Second
	stableAfter    = time.Minute // a connection that held so long begins a new series of tries
	refusedPause   = time.Minute // after a login was refused for a reason that may pass
	outdatedPause  = 10 * time.Minute
	banWithoutEnd  = time.Hour       // a ban that doesn't say how long it lasts
	socketCheck    = 5 * time.Second // catches a lost socket that no event told of
	hangUpPatience = 2 * time.Second
)

var (
	errDialTimeout  = errors.New("no connection in time")
	errLoginTimeout = errors.New("neither login nor refusal in time")
)

// dial connects with a deadline. The connection lives as long as conn, which hangUp ends; ctx only bounds the dialling.
//
// In the middle of a handshake whatsmeow waits for 20 s whatever becomes of its context, and holds the lock that
// Disconnect needs. A program that is told to stop doesn't wait for that: the dialling is left to end by itself, with
// its socket closed.
func dial(ctx, conn context.Context, hangUp context.CancelFunc, cli *whatsmeow.Client) error {
	deadline := time.AfterFunc(dialTimeout, hangUp)
	dialled := make(chan error, 1)
	go func() { dialled <- cli.ConnectContext(conn) }()
	select {
	case err := <-dialled:
		if !deadline.Stop() {
			return errDialTimeout
		}
		return masked(err)
	case <-ctx.Done():
		deadline.Stop()
		hangUp()
		return ctx.Err()
	}
}

// ending is why a connection ended, or, with up set, that it is logged in.
type ending struct {
	up    bool
	why   string        // for the log
	state State         // what the session is now; its Code is empty where it simply dials again
	pause time.Duration // until the next try, 0 for at once, backoff for the usual
	lost  bool          // the socket is gone
}

// usual is the pause that grows with each failed try.
const usual = time.Duration(-1)

// ends translates an event of whatsmeow into what it means for the connection.
func ends(event any) (ending, bool) {
	switch e := event.(type) {
	case *events.Connected:
		return ending{up: true}, true
	case *events.Disconnected:
		return ending{why: "connection lost", pause: usual, lost: true}, true
	case *events.ManualLoginReconnect:
		return ending{why: "WhatsApp asks to reconnect"}, true
	case *events.KeepAliveTimeout:
		return ending{why: "no answer to a keep-alive"}, true
	case *events.StreamError:
		return ending{why: "stream error " + maskNumbers(e.Code), pause: usual}, true
	case *events.StreamReplaced:
		return ending{why: "replaced", state: State{Code: Replaced, Text: textReplaced}}, true
	case *events.LoggedOut:
		return ending{why: "logged out: " + e.Reason.String(), state: loggedOut(e.Reason)}, true
	case *events.TemporaryBan:
		pause := e.Expire
		if pause <= 0 {
			pause = banWithoutEnd
		}
		text := fmt.Sprintf("WhatsApp has banned this account for a while: %s. It tries again in %s.", e.Code, pause)
		return ending{why: "banned for a while", state: State{Code: Banned, Text: text}, pause: pause}, true
	case *events.ClientOutdated:
		return ending{why: "client outdated", state: State{Code: Outdated, Text: textOutdated}, pause: outdatedPause}, true
	case *events.ConnectFailure:
		return refused(maskNumbers(e.Reason.String())), true
	case *events.CATRefreshError:
		return refused(errNoCAT.Error()), true
	default:
		return ending{}, false
	}
}

func refused(reason string) ending {
	text := fmt.Sprintf("WhatsApp refuses the login (%s). It tries again in %s.", reason, refusedPause)
	return ending{why: "login refused: " + reason, state: State{Code: Refused, Text: text}, pause: refusedPause}
}

func loggedOut(reason events.ConnectFailureReason) State {
	s := State{Code: LoggedOut, Text: textUnlinked}
	switch reason { //nolint:exhaustive // only these three log a device out
	case events.ConnectFailureMainDeviceGone:
		s.Text = textLocked
	case events.ConnectFailureUnknownLogout:
		s.Text = textBannedGood
	}
	return s
}

// run dials, and dials again, until ctx ends or the session is dead. It alone changes the state.
func (s *Session) run(ctx context.Context) {
	tries := 0
	for ctx.Err() == nil {
		s.setState(State{Code: Connecting, Text: textConnecting})
		end, held := s.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		if held >= stableAfter {
			tries = 0
		}
		pause := end.pause
		if pause == usual {
			pause = backoff(tries)
			tries++
		}
		s.log.WarnContext(ctx, "connection ended", "why", end.why, "next_try_in", pause.Round(time.Millisecond), "dead", end.state.Dead())
		if end.state.Dead() {
			s.setState(end.state)
			<-ctx.Done()
			break
		}
		if end.state.Code != "" {
			end.state.RetryAt = time.Now().Add(pause)
			s.setState(end.state)
		} else {
			s.setState(State{Code: Connecting, Text: textConnecting, RetryAt: time.Now().Add(pause)})
		}
		wait(ctx, pause)
	}
	s.setState(State{Code: Stopped, Text: textStopped})
}

// backoff is the pause after so many failed tries in a row: it doubles, with up to half of it taken off by chance,
// so that sessions cut off together don't come back together.
func backoff(tries int) time.Duration {
	pause := lastBackoff
	if tries < 7 { // 0.25 s << 7 is past the last one
		pause = firstBackoff << tries
	}
	return pause - rand.N(pause/2) //nolint:gosec // spreads load; nothing hangs on it being unguessable
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connection lives through one connection: dial, log in, watch, hang up. It returns why it ended and how long it was
// logged in.
func (s *Session) connection(ctx context.Context) (ending, time.Duration) {
	conn, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	s.forgetSignals()
	if err := dial(ctx, conn, hangUp, s.cli); err != nil {
		return ending{why: "can't connect: " + err.Error(), pause: usual}, 0
	}
	end, held := s.watch(ctx)
	// The end of the context cuts a server off that has gone silent; ResetConnection closes the socket where whatsmeow's
	// reader is stuck in a frame that nobody takes. For whatsmeow the connection is lost: a message that waits for its
	// acknowledgement is sent again if the next connection comes within 5 s. Disconnect would race with a server that
	// hangs up at the same moment.
	hangUp()
	if !end.lost {
		s.cli.ResetConnection()
		s.awaitHangUp(end)
	}
	if ctx.Err() != nil {
		s.cli.Disconnect() // tells what still waits in whatsmeow that no connection will follow
	}
	return end, held
}

// watch waits for the end of a connection that has just been dialled.
func (s *Session) watch(ctx context.Context) (end ending, held time.Duration) {
	login := time.NewTimer(s.loginTimeout)
	defer login.Stop()
	check := time.NewTicker(socketCheck)
	defer check.Stop()
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return ending{}, 0
		case <-login.C:
			return ending{why: errLoginTimeout.Error(), pause: usual}, 0
		case <-s.reset:
			return ending{why: "a message got no acknowledgement"}, heldSince(since)
		case <-check.C:
			if !s.cli.IsConnected() {
				return ending{why: "socket is gone", pause: usual}, heldSince(since)
			}
		case end := <-s.signals:
			switch {
			case end.lost && s.cli.IsConnected():
				// of an earlier connection
			case !end.up:
				return end, heldSince(since)
			case since.IsZero() && s.cli.IsConnected():
				login.Stop()
				since = time.Now()
				s.setState(State{Code: Connected, Text: textConnected})
			}
		}
	}
}

func heldSince(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return time.Since(since)
}

// awaitHangUp waits until whatsmeow has let go of the socket. It tells of that, but not where WhatsApp has ended the
// session; a look at the socket has to do there, and the next dial is at least a minute away.
func (s *Session) awaitHangUp(end ending) {
	patience := time.NewTimer(hangUpPatience)
	defer patience.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case e := <-s.signals:
			if e.lost {
				return
			}
		case <-poll.C:
			if end.state.Code != "" && !s.cli.IsConnected() {
				return
			}
		case <-patience.C:
			return
		}
	}
}

// forgetSignals drops what was said of earlier connections.
func (s *Session) forgetSignals() {
	for {
		select {
		case <-s.signals:
		case <-s.reset:
		default:
			return
		}
	}
}
