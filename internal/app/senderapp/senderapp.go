// Package senderapp wires a sender: a WhatsApp session, the jobs it may take, and the heartbeats that tell the
// APIs of it. cmd/sender runs one in a process of its own, a standalone wabek runs one beside its API.
//
// In: options and a connection to the queue. Out: delivered jobs, statuses, heartbeats. On failure: what is
// missing (the queue, the phone's scan, the network) is waited for; only a broken data directory ends it.
package senderapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wabek/internal/job"
	"wabek/internal/queue"
	"wabek/internal/sender"
	"wabek/internal/whatsapp"
)

// Options is what an App needs; all fields but Sealer and ShowQR must be set.
type Options struct {
	Name    string // of this sender, for people: the host's name
	Pool    string
	DataDir string // holds devices.db, sent.db and wishes
	Place   whatsapp.Place
	Broker  *queue.Broker
	Opener  job.Opener
	// Sealer seals what people wish for the records; keys.SealKeys does. Nil: what they write is not looked at.
	Sealer job.Sealer
	// ShowQR shows a code to scan while no session is paired. Nil: the session must be paired by another program,
	// and is waited for.
	ShowQR func(whatsapp.QRCode)
	// NoticesPerMinute is the pace of notices, 0 for no bound.
	NoticesPerMinute int
	Drain            time.Duration // how long jobs under way may take once the App is to stop
	Now              func() time.Time
	Logger           *slog.Logger
}

const (
	// beatEvery is the pause between two heartbeats.
	beatEvery = 2 * time.Second
	// lookAgain is the pause before something that isn't there yet is looked for again.
	lookAgain = 2 * time.Second
	// lookSeldom is the longest pause between two tries to pair.
	lookSeldom = time.Minute
)

// App runs one session and its sender.
type App struct {
	o Options

	wishes *spool // set by Run

	mu      sync.Mutex
	session *whatsapp.Session // nil while none is paired
	sender  *sender.Sender
	over    sender.Stats // of earlier senders of this App
}

// New makes an App.
func New(o Options) *App { return &App{o: o} }

// Report is how the App is.
type Report struct {
	SessionsUp, SessionsTotal int
	State                     whatsapp.State
	Stats                     sender.Stats
}

// Report reads the state and the counters.
func (a *App) Report() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := Report{Stats: a.over}
	if a.session == nil {
		return r
	}
	r.State, r.SessionsTotal = a.session.State(), 1
	if r.State.Up() {
		r.SessionsUp = 1
	}
	if a.sender != nil {
		r.Stats = add(a.over, a.sender.Stats())
	}
	return r
}

func add(a, b sender.Stats) sender.Stats {
	return sender.Stats{
		Redelivered: a.Redelivered + b.Redelivered, ClaimsLost: a.ClaimsLost + b.ClaimsLost,
		Sent: a.Sent + b.Sent, Notices: a.Notices + b.Notices, Failed: a.Failed + b.Failed,
	}
}

// Run delivers jobs until ctx ends, then drains. It returns nil after that, and an error only where the data
// directory can't be used.
func (a *App) Run(ctx context.Context) (err error) {
	if a.wishes, err = openSpool(a.o.DataDir); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	passing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var passer sync.WaitGroup
	passer.Go(func() { a.wishes.passOn(passing, a.o.Broker.PutWish, a.o.Logger) })
	defer func() {
		stop()
		passer.Wait()
		a.passLast(ctx)
	}()
	for ctx.Err() == nil {
		if err := a.runDevices(ctx); err != nil {
			return fmt.Errorf("sender: %w", err)
		}
	}
	return nil
}

// passLast gives the queue what a session heard right before it ended. What it doesn't take now it gets at the next start.
func (a *App) passLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookAgain)
	defer cancel()
	if err := a.wishes.passAll(ctx, a.o.Broker.PutWish, a.o.Logger); err != nil {
		a.o.Logger.Warn("wishes wait for the next start", "err", err)
	}
}

// runDevices opens the device store, sees to it that a session is paired, and runs it until it dies.
func (a *App) runDevices(ctx context.Context) error {
	devices, err := whatsapp.OpenDevices(ctx, a.o.DataDir, a.o.Logger)
	if errors.Is(err, whatsapp.ErrLocked) {
		a.o.Logger.Warn("device store is in use by another program, waiting for it", "err", err)
		return unlessOver(ctx, pause(ctx, lookAgain))
	}
	if err != nil {
		return unlessOver(ctx, err)
	}
	stored, paired, err := a.paired(ctx, devices)
	if err == nil && paired {
		err = a.runSession(ctx, devices, stored)
	}
	if cerr := devices.Close(); err == nil {
		err = cerr
	}
	if err == nil && !paired {
		// The store is closed meanwhile, so that a pairing by another program can open it.
		return unlessOver(ctx, pause(ctx, lookAgain))
	}
	return unlessOver(ctx, err)
}

// paired finds the session to run, the one paired last, or lets one be paired.
func (a *App) paired(ctx context.Context, devices *whatsapp.Devices) (whatsapp.Stored, bool, error) {
	sessions, err := devices.Sessions(ctx)
	if err != nil {
		return whatsapp.Stored{}, false, err
	}
	if n := len(sessions); n > 0 {
		if n > 1 {
			a.o.Logger.Warn("several sessions are paired, the latest one runs", "sessions", n)
		}
		return sessions[n-1], true, nil
	}
	if a.o.ShowQR == nil {
		a.o.Logger.Warn("no WhatsApp session is paired; run `sender pair` on this data directory")
		return whatsapp.Stored{}, false, nil
	}
	stored, err := a.pair(ctx, devices)
	return stored, err == nil, err
}

// pair shows codes until a phone has scanned one. Where WhatsApp can't be reached it tries more and more seldom, and
// says so once.
func (a *App) pair(ctx context.Context, devices *whatsapp.Devices) (whatsapp.Stored, error) {
	wait, said := lookAgain, ""
	for {
		stored, err := whatsapp.Pair(ctx, devices, a.o.Place, a.o.ShowQR, a.o.Logger)
		switch {
		case err == nil || ctx.Err() != nil:
			return stored, err
		case errors.Is(err, whatsapp.ErrPairTimeout):
			wait, said = lookAgain, ""
			continue
		case err.Error() != said:
			said = err.Error()
			a.o.Logger.Warn("no session can be paired yet, trying on", "err", err)
		}
		if err := pause(ctx, wait); err != nil {
			return whatsapp.Stored{}, err
		}
		wait = min(2*wait, lookSeldom)
	}
}

// runSession connects a session and delivers jobs through it until ctx ends or the session dies.
func (a *App) runSession(ctx context.Context, devices *whatsapp.Devices, stored whatsapp.Stored) error {
	log := a.o.Logger.With("session", stored.ID)
	fence, err := a.fence(ctx, stored.ID)
	if err != nil {
		return err
	}
	ledger, err := whatsapp.OpenLedger(ctx, a.o.DataDir, a.o.Now)
	if err != nil {
		return err
	}
	defer func() {
		if err := ledger.Close(); err != nil {
			log.Error("ledger not closed", "err", err)
		}
	}()

	// Whatever is under way when ctx ends may go on until work ends, which is Drain later.
	work, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stopDrain := context.AfterFunc(ctx, func() { time.AfterFunc(a.o.Drain, giveUp) })
	defer stopDrain()

	var receive func([]job.Receipt)
	states := make(chan struct{}, 1)
	session, err := whatsapp.NewSession(ctx, whatsapp.Config{
		Stored: stored, Devices: devices, Place: a.o.Place, Ledger: ledger, Fence: fence,
		Open:       func(e job.Envelope) (job.Body, error) { return job.Open(a.o.Opener, e) },
		OnReceipts: func(batch []job.Receipt) { receive(batch) },
		OnWish:     a.hearWishes(a.wishes, log),
		OnState: func(whatsapp.State) {
			select {
			case states <- struct{}{}:
			default:
			}
		},
		Logger: a.o.Logger, // it adds the session's id itself
	})
	if err != nil {
		return err
	}
	others := newMates(a.o.Pool, stored.ID, a.o.Now)
	stopListening, err := a.o.Broker.Heartbeats(others.beat)
	if err != nil {
		return err
	}
	defer stopListening()
	jobs, err := a.o.Broker.Jobs(ctx, a.o.Pool, stored.ID, sender.NewNoticePace(a.o.NoticesPerMinute, others.kept, others.alone))
	if err != nil {
		return err
	}
	s := sender.New(sender.Config{
		Session: asSession{session}, Opener: a.o.Opener, Log: a.o.Broker, Now: a.o.Now, Logger: log,
		Next: func(ctx context.Context) (sender.Delivery, error) {
			d, err := jobs.Next(ctx)
			if err != nil {
				return nil, err // not a nil *Delivery in an interface
			}
			return d, nil
		},
		Bury: func(ctx context.Context, e job.Envelope, reason job.Reason) error {
			return a.o.Broker.Dead(ctx, e.Lane, e.Pool, e.ID, string(reason))
		},
	})
	receive = func(batch []job.Receipt) {
		if err := s.Receipts(work, batch); err != nil {
			log.Warn("receipts not stored", "receipts", len(batch), "err", err)
		}
	}
	a.running(session, s)
	defer a.running(nil, nil)

	beating, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	var beats sync.WaitGroup
	beats.Go(func() { a.beat(beating, states) })
	session.Start(ctx)
	err = s.Run(ctx, work)
	dead := errors.Is(err, sender.ErrSessionDead)
	state := session.State()
	a.settle(log, session, jobs)
	if dead {
		err = a.bury(ctx, devices, state, stored)
	}
	stopBeating()
	beats.Wait()
	return err
}

// settle stops a session whose jobs are done: it disconnects, hands over the last receipts and gives back what
// was pulled and not begun.
func (a *App) settle(log *slog.Logger, session *whatsapp.Session, jobs *queue.Jobs) {
	ctx, cancel := context.WithTimeout(context.Background(), a.o.Drain)
	defer cancel()
	if err := session.Stop(ctx); err != nil {
		log.Warn("session not stopped in time", "err", err)
	}
	if err := jobs.Close(); err != nil {
		log.Warn("pulled jobs not given back", "err", err)
	}
}

// bury deals with a session that will never send again. One that was logged out is forgotten where another can
// be paired here; else it is kept, for its owner to see why it is down, and waits for a restart.
func (a *App) bury(ctx context.Context, devices *whatsapp.Devices, state whatsapp.State, stored whatsapp.Stored) error {
	a.o.Logger.Error("session is dead", "session", stored.ID, "code", string(state.Code), "text", state.Text)
	if state.Code == whatsapp.LoggedOut && a.o.ShowQR != nil {
		return devices.Forget(ctx, stored.ID)
	}
	<-ctx.Done()
	return nil
}

func (a *App) running(session *whatsapp.Session, s *sender.Sender) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s == nil && a.sender != nil {
		a.over = add(a.over, a.sender.Stats())
	}
	a.session, a.sender = session, s
}

// fence asks the queue for the number of our hold on the session, until it answers.
func (a *App) fence(ctx context.Context, session string) (uint64, error) {
	for try := 0; ; try++ {
		fence, err := a.o.Broker.Fence(ctx, session, a.o.Name)
		if err == nil {
			return fence, nil
		}
		if try == 0 && ctx.Err() == nil {
			a.o.Logger.Warn("waiting for the queue", "err", err)
		}
		if err := pause(ctx, lookAgain/4); err != nil {
			return 0, err
		}
	}
}

// beat tells the APIs of the session every beatEvery, and at each change of its state.
func (a *App) beat(ctx context.Context, changed <-chan struct{}) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		offset, err := a.o.Broker.ClockOffset(ctx)
		if err != nil && ctx.Err() == nil {
			a.o.Logger.Debug("queue's clock not read", "err", err)
		}
		r := a.Report()
		a.mu.Lock()
		session := a.session
		a.mu.Unlock()
		if session != nil {
			err = a.o.Broker.Beat(ctx, queue.Heartbeat{
				Pool: a.o.Pool, Session: session.ID(), Sender: a.o.Name, Up: r.State.Up(), Reason: string(r.State.Code),
				OffsetMS: offset.Milliseconds(), At: a.o.Now(), Redelivered: r.Stats.Redelivered, ClaimsLost: r.Stats.ClaimsLost,
				Sent: r.Stats.Sent, Notices: r.Stats.Notices,
			})
			if err != nil && ctx.Err() == nil {
				a.o.Logger.Debug("heartbeat not sent", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changed:
		}
	}
}

// asSession is a whatsapp.Session as package sender wants it.
type asSession struct{ *whatsapp.Session }

// Ready translates the one error that means the end.
func (s asSession) Ready(ctx context.Context) error {
	err := s.Session.Ready(ctx)
	if errors.Is(err, whatsapp.ErrDead) {
		return errors.Join(sender.ErrSessionDead, err)
	}
	return err
}

// Send hands a message over in parts.
func (s asSession) Send(ctx context.Context, m sender.Message) error {
	return s.Session.Send(ctx, m.Job, m.Body)
}

func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the error is the end of ctx, which was asked for
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
