package whatsapp_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

// TestSession_RefusedLogins: each way in which WhatsApp ends a session, at the login and while connected, has its
// state; the dead ones say so, and the device stays in the database whatever it was.
func TestSession_RefusedLogins(t *testing.T) { //nolint:tparallel // the subtests share a device
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct { //nolint:paralleltest // they share a device
		code   int
		ms     int
		state  whatsapp.Code
		dead   bool
		class  job.FailureClass
		reason job.Reason
		retry  time.Duration
	}{
		"401 is unlinked":           {code: 401, state: whatsapp.LoggedOut, dead: true, class: job.SessionFault, reason: job.ReasonLoggedOut},
		"403 is locked":             {code: 403, state: whatsapp.LoggedOut, dead: true, class: job.SessionFault, reason: job.ReasonLoggedOut},
		"406 is banned for good":    {code: 406, state: whatsapp.LoggedOut, dead: true, class: job.SessionFault, reason: job.ReasonLoggedOut},
		"402 is banned for a while": {code: 402, ms: 7200_000, state: whatsapp.Banned, class: job.SessionFault, reason: job.ReasonLoggedOut, retry: 2 * time.Hour},
		"405 is outdated":           {code: 405, state: whatsapp.Outdated, class: job.OutdatedClient, reason: job.ReasonOutdated, retry: 10 * time.Minute},
		"413 doesn't kill us":       {code: 413, state: whatsapp.Refused, class: job.SessionFault, reason: job.ReasonDisconnected, retry: time.Minute},
		"400 is refused, may pass":  {code: 400, state: whatsapp.Refused, class: job.SessionFault, reason: job.ReasonDisconnected, retry: time.Minute},
		"429 is refused, may pass":  {code: 429, state: whatsapp.Refused, class: job.SessionFault, reason: job.ReasonDisconnected, retry: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w.sim.ClearFaults()
			w.fault(t, whatsim.Fault{Kind: "login_failure", Code: c.code, MS: c.ms})
			n := w.open(t)
			n.Start(t.Context())
			state := n.awaitCode(t, c.state)
			require.Equal(t, c.dead, state.Dead())
			require.False(t, state.Up())
			require.NotEmpty(t, state.Text)
			if c.dead {
				require.ErrorIs(t, n.Ready(within(t)), whatsapp.ErrDead)
			} else {
				require.WithinDuration(t, time.Now().Add(c.retry), state.RetryAt, patience)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				require.ErrorIs(t, n.Ready(ctx), context.DeadlineExceeded)
			}
			env, body := w.message(t, newNumber(t), "Your code is 123456")
			requireFailure(t, n.Send(within(t), env, body), c.class, c.reason)
			n.close()

			again := w.up(t) // the device with its keys is still there
			again.close()
		})
	}
}

// TestSession_Reconnects: what passes by itself is followed by a new login, and the session sends again.
func TestSession_Reconnects(t *testing.T) { //nolint:tparallel // the subtests share a session
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	to := newNumber(t)
	for name, f := range map[string]whatsim.Fault{ //nolint:paralleltest // they share a session
		"515 asks to reconnect":         {Kind: "stream_error", Code: 515},
		"503 is a restart":              {Kind: "stream_error", Code: 503},
		"500 is an unknown error":       {Kind: "stream_error", Code: 500},
		"a message cuts the connection": {Kind: "drop"},
	} {
		t.Run(name, func(t *testing.T) {
			logins := n.states.logins()
			w.fault(t, f)
			env, body := w.message(t, to, name)
			if f.Kind == "drop" {
				require.NoError(t, n.Send(within(t), env, body))
			}
			require.Eventually(t, func() bool { return n.states.logins() > logins }, patience, 5*time.Millisecond)
			require.NoError(t, n.Send(within(t), env, body))
			w.shows(t, to, name)
		})
	}
}

func TestSession_TemporaryBanEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fault(t, whatsim.Fault{Kind: "login_failure", Code: 402, MS: 1000})
	n := w.open(t)
	n.Start(t.Context())
	n.awaitCode(t, whatsapp.Banned)
	require.NoError(t, n.Ready(within(t)))
}

func TestSession_UnlinkedOnThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	w.fault(t, whatsim.Fault{Kind: "stream_error", Code: 401})
	n.awaitCode(t, whatsapp.LoggedOut)
	require.ErrorIs(t, n.Ready(within(t)), whatsapp.ErrDead)
	n.close()

	again := w.open(t) // the row is kept until its owner deletes it
	again.Start(t.Context())
	again.awaitCode(t, whatsapp.LoggedOut)
	again.close()

	devices, err := whatsapp.OpenDevices(t.Context(), w.dir, w.logs.logger())
	require.NoError(t, err)
	defer func() { require.NoError(t, devices.Close()) }()
	require.NoError(t, devices.Forget(t.Context(), w.stored.ID))
	require.NoError(t, devices.Forget(t.Context(), w.stored.ID))
	all, err := devices.Sessions(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	_, err = whatsapp.NewSession(t.Context(), whatsapp.Config{Stored: w.stored, Devices: devices, Place: w.place, Logger: w.logs.logger()})
	require.ErrorIs(t, err, whatsapp.ErrNoDevice)

	next, err := w.pair(within(t), devices)
	require.NoError(t, err)
	require.NotEqual(t, w.stored.ID, next.ID)
}

func TestSession_ReplacedIsDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.up(t)
	w.fault(t, whatsim.Fault{Kind: "stream_error"})
	n.awaitCode(t, whatsapp.Replaced)
	require.ErrorIs(t, n.Ready(within(t)), whatsapp.ErrDead)
	env, body := w.message(t, newNumber(t), "Your code is 123456")
	requireFailure(t, n.Send(within(t), env, body), job.SessionFault, job.ReasonDisconnected)
	require.Zero(t, w.sim.Sessions()[0].FromReplaced)
}

// TestSession_NobodyAnswers: a server that takes the connection and says nothing doesn't hold the session for ever,
// and neither does a place where nobody listens.
func TestSession_NobodyListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nowhere := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	n := w.open(t, func(c *whatsapp.Config) { c.Place.Endpoint = nowhere })
	n.Start(t.Context())
	require.Eventually(t, func() bool { return strings.Count(w.logs.String(), "can't connect") >= 2 }, patience, 5*time.Millisecond)
	require.Equal(t, whatsapp.Connecting, n.State().Code)
}

func TestSession_StopAndStart(t *testing.T) { //nolint:tparallel // the subtests share a device
	t.Parallel()
	w := newWorld(t)
	t.Run("stop before start, and twice", func(t *testing.T) { //nolint:paralleltest // they share a device
		n := w.open(t)
		require.NoError(t, n.Stop(within(t)))
		require.NoError(t, n.Stop(within(t)))
		n.Start(t.Context())
		require.Equal(t, whatsapp.Stopped, n.State().Code, "a stopped session doesn't start")
		n.close()
	})
	t.Run("stop while it dials, start twice", func(t *testing.T) { //nolint:paralleltest // they share a device
		n := w.open(t)
		n.Start(t.Context())
		n.Start(t.Context())
		require.NoError(t, n.Stop(within(t)))
		n.close()
	})
	t.Run("stop waits for the message under way and refuses the next", func(t *testing.T) { //nolint:paralleltest // they share a device
		n := w.up(t)
		to := newNumber(t)
		w.fault(t, whatsim.Fault{Kind: "ack_delay", MS: 400})
		env, body := w.message(t, to, "slow")
		sent := make(chan error, 1)
		go func() { sent <- n.Send(within(t), env, body) }()
		w.shows(t, to, "slow")
		require.NoError(t, n.Stop(within(t)))
		require.NoError(t, <-sent)
		env, body = w.message(t, to, "late")
		requireFailure(t, n.Send(within(t), env, body), job.NotSent, job.ReasonDisconnected)
		n.close()
	})
}

func TestDevices_OneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := (&logBook{}).logger()
	first, err := whatsapp.OpenDevices(t.Context(), dir, log)
	require.NoError(t, err)
	_, err = whatsapp.OpenDevices(t.Context(), dir, log)
	require.ErrorIs(t, err, whatsapp.ErrLocked)
	require.NoError(t, first.Close())
	require.NoError(t, first.Close())
	second, err := whatsapp.OpenDevices(t.Context(), dir, log)
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

func TestPair_TellsWhyItFailed(t *testing.T) { //nolint:tparallel // the subtests share a database
	t.Parallel()
	w := newWorld(t)
	devices, err := whatsapp.OpenDevices(t.Context(), t.TempDir(), w.logs.logger())
	require.NoError(t, err)
	defer func() { require.NoError(t, devices.Close()) }()

	t.Run("nobody scans: the caller's context ends it", func(t *testing.T) { //nolint:paralleltest // they share a database
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var codes []whatsapp.QRCode
		_, err := whatsapp.Pair(ctx, devices, w.place, func(c whatsapp.QRCode) {
			codes = append(codes, c)
			cancel()
		}, w.logs.logger())
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, codes, 1)
		require.Equal(t, time.Minute, codes[0].Valid)
		require.True(t, strings.HasPrefix(codes[0].Text, "https://wa.me/settings/linked_devices#"))
	})
	t.Run("the server hangs up: its time is over", func(t *testing.T) { //nolint:paralleltest // they share a database
		sim, err := whatsim.Start(whatsim.Options{RootKey: whatsim.SharedRoot()})
		require.NoError(t, err)
		_, err = whatsapp.Pair(within(t), devices, whatsapp.Place{Endpoint: sim.Endpoint(), RootKey: sim.RootKeyHex()},
			func(whatsapp.QRCode) { go func() { _ = sim.Close() }() }, w.logs.logger())
		require.ErrorIs(t, err, whatsapp.ErrPairTimeout)
		require.NoError(t, sim.Close())
	})
	t.Run("the login that follows is refused", func(t *testing.T) { //nolint:paralleltest // they share a database
		w := &world{sim: w.sim, place: w.place, account: newNumber(t), logs: w.logs}
		w.fault(t, whatsim.Fault{Kind: "login_failure", Code: 403})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := whatsapp.Pair(ctx, devices, w.place, func(c whatsapp.QRCode) {
			go func() { _, _ = w.sim.Pair(ctx, c.Text, w.account.Digits()) }()
		}, w.logs.logger())
		require.ErrorIs(t, err, whatsapp.ErrPairRefused)
		all, err := devices.Sessions(t.Context())
		require.NoError(t, err)
		require.Empty(t, all, "a device that was logged out at once isn't kept")
	})
	t.Run("the place has another root key", func(t *testing.T) { //nolint:paralleltest // they share a database
		_, err := whatsapp.Pair(t.Context(), devices, whatsapp.Place{Endpoint: w.place.Endpoint, RootKey: strings.Repeat("ab", 32)},
			func(whatsapp.QRCode) {}, w.logs.logger())
		require.ErrorIs(t, err, whatsapp.ErrOtherPlace)
		_, err = whatsapp.Pair(t.Context(), devices, whatsapp.Place{}, func(whatsapp.QRCode) {}, w.logs.logger())
		require.ErrorIs(t, err, whatsapp.ErrOtherPlace, "the real WhatsApp has another one too")
	})
}

func TestPair_SeveralDevicesInOneDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	devices, err := whatsapp.OpenDevices(t.Context(), w.dir, w.logs.logger())
	require.NoError(t, err)
	defer func() { require.NoError(t, devices.Close()) }()
	first := w.stored
	w.account = newNumber(t)
	second, err := w.pair(within(t), devices)
	require.NoError(t, err)
	all, err := devices.Sessions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []whatsapp.Stored{first, second}, all, "ids stay, the oldest is first")
}

func TestPlace_Validate(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("0a", 32)
	for name, c := range map[string]struct {
		place whatsapp.Place
		ok    bool
	}{
		"the real WhatsApp":        {whatsapp.Place{}, true},
		"an endpoint with its key": {whatsapp.Place{Endpoint: "http://127.0.0.1:8090", RootKey: key}, true},
		"no key":                   {whatsapp.Place{Endpoint: "http://127.0.0.1:8090"}, false},
		"no endpoint":              {whatsapp.Place{RootKey: key}, false},
		"https":                    {whatsapp.Place{Endpoint: "https://127.0.0.1:8090", RootKey: key}, false},
		"no port":                  {whatsapp.Place{Endpoint: "http://127.0.0.1", RootKey: key}, false},
		"a path":                   {whatsapp.Place{Endpoint: "http://127.0.0.1:8090/ws", RootKey: key}, false},
		"a short key":              {whatsapp.Place{Endpoint: "http://127.0.0.1:8090", RootKey: "0a"}, false},
		"no hex":                   {whatsapp.Place{Endpoint: "http://127.0.0.1:8090", RootKey: strings.Repeat("z", 64)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.place.Validate()
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, whatsapp.ErrPlace)
		})
	}
}
