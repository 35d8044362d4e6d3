package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/status"
)

// Times of server-sent events.
const (
	keepAlive   = 15 * time.Second // how often a quiet stream says that it is alive
	eventWrite  = 10 * time.Second // how long a client may take to read an event
	afterExpiry = time.Minute      // how long an OTP is followed after its expiry
)

// Update is the state of an OTP at one moment.
type Update struct {
	Seq  uint64 // of its latest status in the stream: a stream may be followed on from here
	View View
}

// Follow tells of an OTP of an app: at once how it is, or where after isn't nil each state that stands behind it in the
// stream of statuses, then each change, until ctx ends or a minute after the OTP's expiry. The channel is closed then.
// States only rise, and one that was passed quickly may be passed over. Errors: otp.ErrNoRecord, status.ErrFull, and
// those of the record store.
func (s *Server) Follow(ctx context.Context, app string, id otp.ID, after *uint64) (<-chan Update, error) {
	if _, err := s.o.OTPs.Find(ctx, app, id); err != nil {
		return nil, err
	}
	news, stop, err := s.o.Live.Follow(id.String()) // before it is read, so that nothing is missed
	if err != nil {
		return nil, err
	}
	record, err := s.o.OTPs.Find(ctx, app, id)
	if err != nil {
		stop()
		return nil, err
	}
	updates := make(chan Update)
	f := &follower{s: s, app: app, id: id, after: after, record: record, updates: updates}
	s.following.Go(func() {
		defer stop()
		defer close(updates)
		f.run(ctx, news)
	})
	return updates, nil
}

// follower tells one client of one OTP.
type follower struct {
	s       *Server
	app     string
	id      otp.ID
	after   *uint64 // what the client has had; nil: nothing
	seq     uint64  // of the latest status
	record  otp.Record
	last    View
	updates chan<- Update
}

func (f *follower) run(ctx context.Context, news <-chan status.News) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.s.quit, cancel)()
	if !f.catchUp(ctx) {
		return
	}
	for {
		timer := time.NewTimer(f.next())
		var ok bool
		select {
		case n := <-news:
			ok = f.hear(ctx, n)
		case <-timer.C: // the record is read: a request that ended early has changed it without a word
			ok = !f.s.o.Now().After(f.record.Expires.Add(afterExpiry)) && f.hear(ctx, status.News{})
		case <-ctx.Done():
		}
		timer.Stop()
		if !ok {
			return
		}
	}
}

// next is how long it is until something happens by itself: the expiry, then the end.
func (f *follower) next() time.Duration {
	until := f.record.Expires.Sub(f.s.o.Now())
	if until > 0 {
		return until
	}
	return until + afterExpiry + time.Millisecond
}

// catchUp tells what stands in the stream already.
func (f *follower) catchUp(ctx context.Context) bool {
	if f.record.Test() {
		return f.tell(ctx, true)
	}
	history, err := f.s.o.Deliveries.History(ctx, f.record.Pool, f.record.JobID(), 0)
	if err != nil {
		history = nil // the queue is away: the record is what is known
	}
	known, told := f.record, false
	f.record.Delivery, f.record.Reason = job.Queued, ""
	f.record.SentAt, f.record.DeliveredAt, f.record.ReadAt, f.record.EndedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if f.after != nil {
		f.seq = *f.after
	}
	for _, st := range history {
		if f.take(st); f.after == nil || st.Seq <= *f.after {
			continue
		}
		if told = true; !f.tell(ctx, false) {
			return false
		}
	}
	f.merge(known)
	return f.tell(ctx, !told)
}

func (f *follower) take(st job.Status) {
	f.record.Deliver(st)
	f.seq = max(f.seq, st.Seq)
}

// merge takes in a record that was read, which may be behind or ahead of what the stream said. That knows more times:
// a record that hears of a receipt first has no time of the sending.
func (f *follower) merge(r otp.Record) {
	if r.Sends == f.record.Sends {
		if r.Delivery.Rank() < f.record.Delivery.Rank() {
			r.Delivery, r.Reason = f.record.Delivery, f.record.Reason
		}
		for _, at := range []struct{ read, known *time.Time }{
			{&r.SentAt, &f.record.SentAt}, {&r.DeliveredAt, &f.record.DeliveredAt}, {&r.ReadAt, &f.record.ReadAt}, {&r.EndedAt, &f.record.EndedAt},
		} {
			if at.read.IsZero() {
				*at.read = *at.known
			}
		}
	}
	f.record = r
}

// hear takes news in.
func (f *follower) hear(ctx context.Context, n status.News) bool {
	if n.Status.Job != "" && n.Status.Job == f.record.JobID() {
		f.take(n.Status)
		return f.tell(ctx, false)
	}
	r, err := f.s.o.OTPs.Find(ctx, f.app, f.id)
	if err != nil {
		return false
	}
	f.merge(r)
	if n.Status.Job != "" {
		f.take(n.Status)
	}
	return f.tell(ctx, false)
}

// tell tells how the OTP is, if that is news, or always.
func (f *follower) tell(ctx context.Context, always bool) bool {
	v := view(f.record, f.s.o.Now())
	if !always && v.same(f.last) {
		return true
	}
	f.last = v
	select {
	case f.updates <- Update{Seq: f.seq, View: v}:
		return true
	case <-ctx.Done():
		return false
	}
}

// same says whether two views of one OTP tell the same.
func (v View) same(w View) bool {
	v.Metadata, w.Metadata = nil, nil
	return fmt.Sprint(v) == fmt.Sprint(w)
}

// events is GET /api/v1/otp/{id}/events: an OTP's states as server-sent events (HTML Living Standard, section 9.2).
func (s *Server) events(c echo.Context, by apps.Caller) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	var after *uint64
	if sent := c.Request().Header.Get("Last-Event-ID"); sent != "" {
		seq, err := strconv.ParseUint(sent, 10, 64)
		if err != nil {
			return invalid("Last-Event-ID", "The header Last-Event-ID must be the id of an event of this stream.")
		}
		after = &seq
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	updates, err := s.Follow(ctx, by.App.Name, id, after)
	switch {
	case errors.Is(err, status.ErrFull):
		return &problem{code: CodeBusy}
	case err != nil:
		return err
	}
	s.busy.Add(-1) // it mostly waits, and has a bound of its own
	defer s.busy.Add(1)
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	c.Response().WriteHeader(http.StatusOK)
	if !writeEvent(c.Response(), nil) { // the client needn't wait for the queue to know that it is heard
		return nil
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		var event []byte
		select {
		case u, more := <-updates:
			if !more {
				return nil
			}
			data, err := json.Marshal(u.View)
			if err != nil {
				return err
			}
			event = fmt.Appendf(nil, "event: status\nid: %d\ndata: %s\n\n", u.Seq, data)
		case <-tick.C:
			event = []byte(": still here\n\n")
		}
		if _, err := s.authenticate(c.Request()); err != nil {
			return nil // its key was revoked, or has expired
		}
		if !writeEvent(c.Response(), event) {
			return nil // the client has gone
		}
	}
}

// writeEvent sends an event at once. The server's own deadline for a whole answer doesn't hold for a stream of them.
func writeEvent(w *echo.Response, event []byte) bool {
	control := http.NewResponseController(w.Writer)
	if control.SetWriteDeadline(time.Now().Add(eventWrite)) != nil {
		return false
	}
	if _, err := w.Write(event); err != nil {
		return false
	}
	return control.Flush() == nil
}
