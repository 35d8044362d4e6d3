package apiapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wabek/internal/apps"
	"wabek/internal/callback"
	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/outbound"
	"wabek/internal/queue"
)

// openCallbacks makes what posts callbacks. It posts once it runs.
func (a *App) openCallbacks() (err error) {
	a.outbound = outbound.New(outbound.Options{
		Networks: a.o.Config.OutboundNetworks, Hosts: a.o.Config.OutboundHosts, PlainHTTP: a.o.Config.OutboundPlainHTTP,
	})
	a.onClose("outbound connections", func() error { a.outbound.Close(); return nil })
	a.callbacks, err = callback.New(callback.Config{
		Queue: callbackQueue{a.broker}, Endpoints: endpoints{a.apps}, Client: a.outbound, Logger: a.o.Logger, Now: a.o.Now,
		Gone: func(app, url string) {
			select {
			case a.gone <- goneEndpoint{app, url}:
			default: // so many at once are told again: each stays away until the next start, and answers 410 then
			}
		},
	})
	return err
}

// goneEndpoint is an address whose receiver wants no callbacks any more: it has answered 410.
type goneEndpoint struct{ app, url string }

// forget takes such an address out of its app's settings, unless that has another one by now.
func (a *App) forget(ctx context.Context, g goneEndpoint) {
	app, err := a.apps.App(g.app)
	if err != nil || app.CallbackURL != g.url {
		return
	}
	own := app.Own
	own.CallbackURL = nil
	if _, err := a.apps.SaveApp(ctx, g.app, own, false); err != nil {
		a.o.Logger.Warn("address for callbacks not taken back", "app", g.app, "err", err)
		return
	}
	a.o.Logger.Warn("callbacks are off: the receiver answers 410 Gone", "app", g.app)
}

// callbacks is what the API may ask about callbacks.
type callbacks struct {
	*callback.Service
	client *outbound.Client
}

// CheckURL is api.Callbacks'.
func (c callbacks) CheckURL(url string) error {
	_, err := c.client.CheckURL(url)
	return err
}

// noCallbacks stands in for callbacks in a command without a server, which has no queue.
type noCallbacks struct{ client *outbound.Client }

// errNoQueue says that there is no queue.
var errNoQueue = errors.New("no API runs that has a queue")

// CheckURL is api.Callbacks'.
func (c noCallbacks) CheckURL(url string) error { return callbacks{client: c.client}.CheckURL(url) }

// Dead is api.Callbacks'.
func (noCallbacks) Dead(context.Context, string, uint64, int) ([]callback.Letter, error) {
	return nil, errNoQueue
}

// Replay is api.Callbacks'.
func (noCallbacks) Replay(context.Context, string, string) error { return errNoQueue }

// ReplayAll is api.Callbacks'.
func (noCallbacks) ReplayAll(context.Context, string) (int, error) { return 0, errNoQueue }

// Purge is api.Callbacks'.
func (noCallbacks) Purge(context.Context, string, string) (int, error) { return 0, errNoQueue }

// Forget is api.Callbacks'. Where the next app of that name is made by a server, it forgets.
func (noCallbacks) Forget(context.Context, string) error { return nil }

// callbackQueue is the queue as package callback wants it.
type callbackQueue struct{ *queue.Broker }

// Full says whether no more callbacks fit in.
func (callbackQueue) Full(err error) bool { return errors.Is(err, queue.ErrFull) }

// OpenCallbacks opens the source of an app's callbacks.
func (q callbackQueue) OpenCallbacks(app string) (callback.Source, error) {
	c, err := q.Callbacks(app)
	if err != nil {
		return nil, err // not a nil *Tasks in an interface
	}
	return callbackSource{c}, nil
}

type callbackSource struct{ *queue.Tasks }

// Next waits for a callback.
func (s callbackSource) Next(ctx context.Context) (callback.Delivery, error) {
	d, err := s.Tasks.Next(ctx)
	if err != nil {
		return nil, err // not a nil *Task in an interface
	}
	return d, nil
}

// endpoints are where the callbacks of apps go.
type endpoints struct{ *apps.Registry }

// Apps lists the apps that have an endpoint.
func (e endpoints) Apps() (names []string) {
	for _, a := range e.Registry.Apps() {
		if a.CallbackURL != "" {
			names = append(names, a.Name)
		}
	}
	return names
}

// Endpoint is where an app's callbacks go.
func (e endpoints) Endpoint(name string) (callback.Endpoint, bool) {
	a, err := e.App(name)
	if err != nil || a.CallbackURL == "" {
		return callback.Endpoint{}, false
	}
	out := callback.Endpoint{URL: a.CallbackURL, Secret: callback.SecretOf(e.CallbackSecret(name, a.Callback.Salt))}
	if a.Callback.Previous != "" {
		out.Previous, out.PreviousUntil = callback.SecretOf(e.CallbackSecret(name, a.Callback.Previous)), a.Callback.Until
	}
	return out, true
}

// watched says whether an app has callbacks. The record store asks for each change of an OTP, also before the apps have
// been read.
func (a *App) watched(app string) bool {
	if a.apps == nil {
		return false
	}
	of, err := a.apps.App(app)
	return err == nil && of.CallbackURL != ""
}

// event is the state of an OTP as its app is told it; false where nobody is to be told.
func (a *App) event(ctx context.Context, id otp.ID) (callback.Event, bool, error) {
	r, err := a.records.Get(ctx, id)
	switch {
	case errors.Is(err, otp.ErrNoRecord):
		return callback.Event{}, false, nil
	case err != nil:
		return callback.Event{}, false, fmt.Errorf("read OTP for its callback: %w", err)
	case !a.watched(r.App):
		return callback.Event{}, false, nil
	}
	now := a.o.Now()
	changes := []time.Time{otp.IssuedAt(r.ID), r.LastSend, r.SentAt, r.DeliveredAt, r.ReadAt, r.EndedAt, r.UsedAt}
	return callback.Event{
		At: slices.MaxFunc(changes, time.Time.Compare),
		OTP: callback.OTP{
			ID: r.ID.String(), App: r.App, State: r.Standing(now), Status: statusOf(r), To: r.Masked, Purpose: r.Purpose,
			CreatedAt: otp.IssuedAt(r.ID), ExpiresAt: r.Expires, SentAt: r.SentAt, DeliveredAt: r.DeliveredAt, ReadAt: r.ReadAt,
			VerifiedAt: r.UsedAt, Reason: string(r.Reason), Metadata: r.Metadata, Test: r.Test(),
			Seq: callback.Seq(int(r.Sends), r.Delivery, r.Locked(), r.State != otp.Open),
		},
	}, true, nil
}

func statusOf(r otp.Record) string {
	if r.Test() {
		return "test"
	}
	return string(r.Delivery)
}

// tellStatuses is the sink that tells apps how far their messages are.
func (a *App) tellStatuses() func(context.Context, []job.Status) error {
	sink := a.callbacks.Sink(func(ctx context.Context, id job.ID) (callback.Event, bool, error) {
		of, _, ok := otp.ParseJobID(id)
		if !ok {
			return callback.Event{}, false, nil
		}
		return a.event(ctx, of)
	})
	return func(ctx context.Context, statuses []job.Status) error {
		if len((endpoints{a.apps}).Apps()) == 0 { // so that nobody's records are read for nothing
			return nil
		}
		return sink(ctx, statuses)
	}
}

// newsPage is how many changes of OTPs are read at once.
const newsPage = 256

// tellNews tells apps what became of their OTPs themselves, until ctx ends: the records keep each change until it is
// told, so a crash loses none.
func (a *App) tellNews(ctx context.Context) {
	retry := time.NewTicker(10 * time.Second) // for what the queue didn't take
	defer retry.Stop()
	for {
		if err := a.tellUntold(ctx); err != nil && ctx.Err() == nil {
			a.o.Logger.Warn("changes of OTPs are told later", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.news:
		case g := <-a.gone:
			a.forget(ctx, g)
		case <-retry.C:
		}
	}
}

func (a *App) tellUntold(ctx context.Context) error {
	var after otp.ID
	for {
		list, err := a.records.Untold(ctx, after, newsPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, news := range list {
			event, ok, err := a.event(ctx, news.ID)
			if err != nil {
				return err
			}
			if ok {
				if err := a.callbacks.Enqueue(ctx, event); err != nil && !errors.Is(err, callback.ErrEvent) {
					return err
				}
			}
			if err := a.records.Told(ctx, news); err != nil {
				return err
			}
			after = news.ID
		}
	}
}

// changed hears that an OTP of an app with callbacks has changed. It never blocks.
func (a *App) changed(otp.ID) {
	select {
	case a.news <- struct{}{}:
	default: // one wake-up is enough
	}
}
