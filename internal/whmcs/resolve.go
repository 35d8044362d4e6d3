package whmcs

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"wabek/internal/notice"
	"wabek/internal/phone"
)

const (
	// restFirst is how long an app's WHMCS is left alone after it gave no answer. Then one event is tried alone; each time
	// that fails the pause doubles, up to restLast.
	restFirst = time.Second
	restLast  = time.Minute
	// lookAgain is how often a worker looks whether there is room for another notice.
	lookAgain = 50 * time.Millisecond
	// unknownPause is for an event that can't be dealt with now for a reason of ours.
	unknownPause = 5 * time.Second
)

// Run puts events into the queue and resolves them until ctx ends, an app's by a worker of its own, so that one whose
// WHMCS is away delays nobody else's. It returns once nothing is under way any more. Call it once.
func (s *Service) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	running := map[string]bool{}
	s.feed.found = func(app string) {
		if !running[app] {
			running[app] = true
			w := &worker{s: s, app: app}
			workers.Go(func() { w.run(ctx) })
		}
	}
	s.feed.run(ctx)
}

// worker resolves the events of one app.
type worker struct {
	s   *Service
	app string

	mu     sync.Mutex
	rest   time.Duration // the next pause; 0 while the app's WHMCS answers
	closed time.Time     // until when it is left alone
}

func (w *worker) run(ctx context.Context) {
	source := w.open(ctx)
	if source == nil {
		return
	}
	var under sync.WaitGroup
	slots := make(chan struct{}, w.s.cfg.Asking)
	for w.room(ctx) {
		alone, ok := w.gate(ctx)
		if !ok {
			break
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		d, err := source.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.s.cfg.Logger.Error("no more events can be read", "app", w.app, "err", err)
			}
			break
		}
		done := make(chan struct{})
		under.Go(func() {
			defer close(done)
			w.handle(ctx, d)
			<-slots
		})
		if alone {
			<-done
		}
	}
	under.Wait()
	if err := source.Close(); err != nil {
		w.s.cfg.Logger.Warn("source of events not closed well", "app", w.app, "err", err)
	}
}

func (w *worker) open(ctx context.Context) Source {
	for {
		source, err := w.s.cfg.Queue.OpenEvents(w.app)
		if err == nil {
			return source
		}
		w.s.cfg.Logger.Error("can't read events", "app", w.app, "err", err)
		if !pause(ctx, restFirst) {
			return nil
		}
	}
}

// room waits until the app isn't paused and another notice may be released; false where ctx ended.
func (w *worker) room(ctx context.Context) bool {
	for ctx.Err() == nil {
		changed := w.s.cfg.Apps.Changed()
		app, ok := w.s.cfg.Apps.WHMCSApp(w.app)
		switch {
		case ok && app.Paused:
			select {
			case <-changed:
			case <-ctx.Done():
			}
		case w.s.cfg.Released() >= w.s.cfg.Window():
			pause(ctx, lookAgain)
		default:
			return true
		}
	}
	return false
}

// gate waits until the app's WHMCS may be asked. alone says that this is a try of whether it answers again.
func (w *worker) gate(ctx context.Context) (alone, ok bool) {
	for {
		w.mu.Lock()
		rest, left := w.rest, w.closed.Sub(w.s.cfg.Now())
		w.mu.Unlock()
		if left <= 0 {
			return rest > 0, ctx.Err() == nil
		}
		if !pause(ctx, left) {
			return false, false
		}
	}
}

// away notes that the app's WHMCS gave no answer, and says how long it is left alone.
func (w *worker) away(err error) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.s.cfg.Now()
	if left := w.closed.Sub(now); left > 0 {
		return left // another one has said so
	}
	if w.rest == 0 {
		w.s.cfg.Logger.Warn("WHMCS gives no answer, its events wait", "app", w.app, "err", err)
	}
	w.rest = min(max(2*w.rest, restFirst), restLast)
	w.closed = now.Add(w.rest)
	return w.rest
}

func (w *worker) answers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rest > 0 {
		w.s.cfg.Logger.Info("WHMCS answers again", "app", w.app)
	}
	w.rest, w.closed = 0, time.Time{}
}

// handle resolves one event. What isn't acknowledged comes again.
func (w *worker) handle(ctx context.Context, d Delivery) {
	log := w.s.cfg.Logger.With("app", w.app, "event", d.ID())
	id, ok := ParseID(d.ID())
	if !ok {
		log.Error("event's id is malformed")
		_ = d.Ack()
		return
	}
	n, err := w.s.cfg.Store.Notice(ctx, id)
	switch {
	case errors.Is(err, ErrNoNotice), err == nil && n.State != Accepted:
		w.end(d, id) // resolved before, or purged
		return
	case err != nil:
		w.later(ctx, d, err, unknownPause)
		return
	}
	told, err := w.s.resolve(ctx, &n)
	switch {
	case err == nil:
		if told.asked {
			w.answers()
		}
	case ctx.Err() != nil:
		_ = d.Later(0)
		return
	case errors.Is(err, errAway) && w.s.cfg.Now().Sub(id.Time()) < EventLife:
		_ = d.Later(w.away(err))
		return
	case errors.Is(err, errAway):
		told = verdict{state: Failed, reason: ReasonWHMCSTooLong}
	default:
		w.later(ctx, d, err, unknownPause)
		return
	}
	err = w.s.cfg.Store.ChangeNotice(ctx, id, func(n *Notice) error {
		if n.State != Accepted {
			return nil
		}
		n.User = max(n.User, told.user)
		if told.text != "" {
			return w.s.release(n, told.pool, told.to, told.text)
		}
		n.State, n.Reason, n.Sealed, n.Updated = told.state, told.reason, nil, w.s.cfg.Now().UTC()
		if !told.to.IsZero() {
			n.To = told.to.Masked()
		}
		return nil
	})
	if err != nil {
		w.later(ctx, d, err, unknownPause)
		return
	}
	if told.reason != "" {
		log.Info("nobody is told of an event", "action", n.Action, "reason", told.reason)
	}
	w.end(d, id)
}

func (w *worker) end(d Delivery, id ID) {
	w.s.feed.resolved(id)
	_ = d.Ack() // lost, it comes again and is seen to be done
}

func (w *worker) later(ctx context.Context, d Delivery, err error, after time.Duration) {
	if ctx.Err() == nil {
		w.s.cfg.Logger.Error("event can't be resolved now", "app", w.app, "event", d.ID(), "err", err)
	}
	_ = d.Later(after)
}

// verdict is what becomes of an event: a text for somebody, or a reason why nobody is told.
type verdict struct {
	pool   string
	to     phone.Number
	text   string
	state  State
	reason string
	user   int64
	asked  bool // WHMCS was asked, and answered
}

func skip(reason string) verdict { return verdict{state: Skipped, reason: reason} }

// resolve finds out whom to tell of an event, and what. Errors: those that wrap errAway, the store's and the sealer's.
func (s *Service) resolve(ctx context.Context, n *Notice) (verdict, error) {
	app, ok := s.cfg.Apps.WHMCSApp(n.App)
	if !ok {
		return skip(ReasonNothingTheSame), nil
	}
	h, err := s.open(n)
	if err != nil {
		s.cfg.Logger.Error("event can't be opened", "event", n.ID.String(), "err", err)
		return verdict{state: Failed, reason: ReasonNotUnderstood}, nil
	}
	var v verdict
	if h.Client == nil {
		reason, err := s.complete(ctx, n.App, &h)
		if err != nil || reason != "" {
			return verdict{state: Skipped, reason: reason, asked: reason == ReasonUnknownClient}, err
		}
		v.asked = true
	}
	v.state, v.user, v.pool = Skipped, int64(h.User), app.Pool
	if v.to, v.reason = recipient(app, h.Client); v.reason != "" {
		return v, nil
	}
	number := v.to
	out, err := s.cfg.Store.OptedOut(ctx, app.Pool, number.Hash(s.cfg.PhoneKey))
	if err != nil {
		return v, err
	}
	if out {
		v.reason = ReasonOptedOut
		return v, nil
	}
	if v.text, err = s.cfg.Texts.Render(s.request(app, &h, number)); err != nil {
		s.cfg.Logger.Error("notice can't be written", "event", n.ID.String(), "action", n.Action, "err", err)
		v.text, v.reason = "", ReasonNoText
	}
	return v, nil
}

// recipient is whom to tell, or the reason why nobody is told.
func recipient(app App, c *Client) (to phone.Number, reason string) {
	to, none, err := c.NumberOf(app.Country)
	switch {
	case none:
		return to, ReasonNoPhone
	case err != nil:
		return to, ReasonBadPhone
	case app.SendsTo != nil && !app.SendsTo(to.Region()):
		return to, ReasonCountry
	}
	return to, ""
}

// complete asks the app's WHMCS for what a hook hasn't said. The reason says why nobody can be told.
func (s *Service) complete(ctx context.Context, app string, h *Hook) (reason string, err error) {
	w := s.installOf(app)
	if w == nil {
		return ReasonNoAPI, nil
	}
	h.Data = &Data{Due: h.Due}
	if h.Invoice != 0 {
		got, err := w.invoice(ctx, int64(h.Invoice))
		switch {
		case errors.Is(err, errUnknown):
			return ReasonUnknownClient, nil
		case err != nil:
			return "", err
		}
		if got.User != 0 {
			h.User = got.User // WHMCS knows better than a hook that had to guess
		}
		h.Data.Invoice, h.Data.Total, h.Data.Due = got.Number, got.Total, got.Due
		h.Data.URL = Text(viewInvoice(w.access.URL, int64(h.Invoice)))
	}
	if h.User == 0 {
		return ReasonUnknownClient, nil
	}
	client, err := w.client(ctx, int64(h.User))
	switch {
	case errors.Is(err, errUnknown):
		return ReasonUnknownClient, nil
	case err != nil:
		return "", err
	}
	h.Client = &client
	return "", nil
}

// viewInvoice is where a client looks at an invoice and pays it.
func viewInvoice(base string, id int64) string {
	u, err := url.Parse(strings.TrimRight(base, "/") + "/viewinvoice.php")
	if err != nil {
		return ""
	}
	u.User = nil
	u.RawQuery = "id=" + strconv.FormatInt(id, 10)
	return u.String()
}

// request is what the texts must know.
func (s *Service) request(app App, h *Hook, to phone.Number) notice.Request {
	d := h.Data
	if d == nil {
		d = &Data{}
	}
	currency := string(d.Currency)
	if currency == "" {
		currency = string(h.Client.Currency)
	}
	r := notice.Request{
		Action: h.Action, Type: string(h.Type), Locale: notice.Language(string(h.Client.Language)), Region: to.Region(), DefaultLocale: app.Locale,
		Fields: notice.Fields{
			Company: app.Title, Name: string(h.Client.FirstName), Invoice: string(d.Invoice), Total: notice.Money(string(d.Total), currency),
			Link: string(d.URL), Subject: string(d.Subject), Ticket: string(d.Ticket), Product: string(d.Product), Domain: string(d.Domain), IP: string(d.IP),
		},
	}
	if r.Fields.Invoice == "" && h.Invoice != 0 {
		r.Fields.Invoice = strconv.FormatInt(int64(h.Invoice), 10) // as WHMCS shows one without a number of its own
	}
	if due, ok := notice.Date(h.due()); ok {
		r.Fields.Due = due
	}
	if days, err := strconv.Atoi(string(d.Days)); err == nil {
		r.Fields.Days = days
	}
	if h.Time != 0 {
		r.Fields.Time = time.Unix(int64(h.Time), 0).UTC()
	}
	return r
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
