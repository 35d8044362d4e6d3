package apiapp

import (
	"context"
	"errors"
	"fmt"

	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/notice"
	"wabek/internal/queue"
	"wabek/internal/relay"
	"wabek/internal/whmcs"
)

// openNotices makes what takes events of WHMCS and sends notices. It resolves once it runs.
func (a *App) openNotices(ctx context.Context, ring *keys.Ring, seal *keys.SealKeys) error {
	texts, err := notice.Load(a.o.Config.NoticesDir)
	if err != nil {
		return fmt.Errorf("WABEK_NOTICES_DIR: %w", err)
	}
	a.hooks, err = whmcs.New(ctx, whmcs.Config{
		Store: a.records, Documents: a.records, Queue: eventQueue{a}, Apps: clientApps{a.apps}, Texts: texts, Outbound: a.outbound, Sealer: seal, PhoneKey: ring.PhoneHashKey(), MessageID: ring.MessageID,
		Released: func() int64 { return a.notices.Stats().Pending }, Window: a.noticeWindow, Now: a.o.Now, Logger: a.o.Logger,
	})
	return err
}

// noticesASession is how many notices are under way for each session: enough that none waits for one, and so few that a run
// which is paused soon stands still.
const noticesASession = 16

// noticeWindow is how many notices may be under way.
func (a *App) noticeWindow() int64 {
	up, _ := a.presence.count()
	return int64(noticesASession * max(1, up))
}

func (a *App) newNoticeRelay() *relay.Relay {
	return relay.New(relay.Config{
		Outbox: a.records.NoticeOutbox(), Publisher: a.broker, Log: a.broker, Connected: a.connected, Now: a.o.Now, Logger: a.o.Logger,
	})
}

// released hears of a notice's job that has just been committed.
func (a *App) released(e job.Envelope) { a.notices.Offer(e) }

// notedNotices folds statuses into notices, and tells their relay what is settled.
func (a *App) notedNotices(ctx context.Context, statuses []job.Status) error {
	if err := a.records.NoticeOutbox().Apply(ctx, statuses); err != nil {
		return err
	}
	a.notices.Note(statuses)
	return nil
}

// clientApps are the apps as package whmcs wants them.
type clientApps struct{ *apps.Registry }

// WHMCSApp is an app by its name.
func (c clientApps) WHMCSApp(name string) (whmcs.App, bool) {
	a, err := c.App(name)
	if err != nil {
		return whmcs.App{}, false
	}
	return whmcs.App{
		Name: a.Name, Title: a.Title, Pool: a.Pool, Country: a.Country, Locale: a.Locale, Paused: a.NoticesPaused, SendsTo: a.SendsTo,
	}, true
}

// eventQueue is the queue as package whmcs wants it.
type eventQueue struct{ a *App }

// PutEvent stores an event.
func (q eventQueue) PutEvent(ctx context.Context, app, id string, data []byte, done func(taken bool, err error)) {
	q.a.broker.PutEvent(ctx, app, id, data, done)
}

// Connected says whether the queue can be reached, and how often it has been reached anew.
func (q eventQueue) Connected() (bool, uint64) { return q.a.connected() }

// OpenEvents opens the source of an app's events.
func (q eventQueue) OpenEvents(app string) (whmcs.Source, error) {
	t, err := q.a.broker.Events(app)
	if err != nil {
		return nil, err // not a nil *Tasks in an interface
	}
	return eventSource{t}, nil
}

type eventSource struct{ *queue.Tasks }

// Next waits for an event.
func (s eventSource) Next(ctx context.Context) (whmcs.Delivery, error) {
	d, err := s.Tasks.Next(ctx)
	if err != nil {
		return nil, err // not a nil *Task in an interface
	}
	return d, nil
}

// hearWishes notes who wants no more notices, until ctx ends.
func (a *App) hearWishes(ctx context.Context, seal *keys.SealKeys) {
	select {
	case <-a.broker.Ready():
	case <-ctx.Done():
		return
	}
	a.watch("wishes", a.broker.Wishes(ctx, "records", func(ctx context.Context, pool, id string, sealed []byte) error {
		wish, err := job.OpenWish(seal, pool, id, sealed)
		switch {
		case errors.Is(err, job.ErrNewerFormat), errors.Is(err, keys.ErrNoKey): // it comes again, perhaps to one that can
			return err
		case err != nil: // it will never open
			a.o.Logger.Error("a wish can't be opened", "pool", pool, "err", err)
			return nil
		}
		if err := a.hooks.SetOptOut(ctx, pool, wish.From, wish.Stop, wish.At); err != nil {
			return err
		}
		a.o.Logger.Info("somebody has said whether they want notices", "to", wish.From, "stop", wish.Stop)
		return nil
	}))
}
