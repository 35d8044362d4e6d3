package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"wabek/internal/whatsim"
)

const (
	// overloadAck is how long WhatsApp takes to acknowledge a message in bench overload, so that the one session carries some
	// twenty OTPs a second.
	overloadAck = 50 * time.Millisecond
	// overloadWait is WABEK_MAX_WAIT there: what an OTP that was accepted may wait for the session.
	overloadWait = 5 * time.Second
	// overloadTimes is how much more is asked for than the session carries.
	overloadTimes = 4

	goalAccepted = 1.2 // times overloadWait, of the p99 of the accepted: the pace is that of the seconds before
	goalRefused  = 50  // ms, the p99 of a refusal
)

// benchOverload asks for four times what a session carries, and measures how long the accepted take and how soon the others
// are refused.
func benchOverload(ctx context.Context, l *lab) (err error) {
	sim, err := l.spawn(ctx, "sim")
	if err != nil {
		return err
	}
	children := []*child{sim}
	defer func() { err = errors.Join(err, endAll(children)) }()
	where, err := ask[simInfo](ctx, sim, "ready", nothing{})
	if err != nil {
		return err
	}
	serve, err := l.spawn(ctx, "serve", "-data", filepath.Join(l.dir, "overload"), "-sim", where.URL, "-root", where.RootKey, "-wait", overloadWait.String())
	if err != nil {
		return err
	}
	children = []*child{serve, sim}
	info, err := ask[readyInfo](ctx, serve, "ready", nothing{})
	if err != nil {
		return err
	}
	if _, err := ask[string](ctx, sim, "fault", whatsim.Fault{Kind: "ack_delay", MS: int(overloadAck.Milliseconds()), Count: -1}); err != nil {
		return err
	}
	took, refused, err := l.press(ctx, info.Addr, sim)
	if err != nil {
		return err
	}
	l.note("accepted %d, refused %d", len(took), len(refused))
	if len(refused) == 0 {
		return errors.New("nothing was refused: it was no overload")
	}
	if err := l.report.add(limit("accepted, POST to phone, p99", goalAccepted*overloadWait.Seconds(), []float64{quantile(took, 0.99)})); err != nil {
		return err
	}
	return l.report.add(limit("refused, p99", goalRefused/1000.0, []float64{quantile(refused, 0.99)}))
}

// press asks for OTPs at the beat of four times what the session carries. It returns in seconds how long each accepted one
// took until its phone showed it, and how long each refusal.
func (l *lab) press(ctx context.Context, addr string, sim *child) (took, refused []float64, err error) {
	beat := time.NewTicker(overloadAck / overloadTimes)
	defer beat.Stop()
	type asked struct {
		digits string
		at     time.Time
		answer time.Duration
		status int
		err    error
	}
	var (
		mu    sync.Mutex
		all   []asked
		group sync.WaitGroup
	)
	end := time.Now().Add(l.overload)
	for n := uint64(0); time.Now().Before(end) && ctx.Err() == nil; n++ {
		<-beat.C
		group.Go(func() { // nobody waits for another's answer
			request := newIssueTemplate(benchKey, false)
			text := request.fill(n)
			a := asked{digits: string(text[request.at[0] : request.at[0]+len(phonePlace)])}
			var w *wire
			if w, a.err = dialWire(addr, time.Now().Add(time.Minute)); a.err == nil {
				defer w.close()
				a.at = time.Now()
				a.status, _, a.err = w.roundTrip(text)
				a.answer = time.Since(a.at)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
		})
	}
	group.Wait()
	for _, a := range all {
		switch {
		case a.err != nil:
			return nil, nil, a.err
		case a.status == http.StatusServiceUnavailable:
			refused = append(refused, a.answer.Seconds())
		case a.status != http.StatusOK:
			return nil, nil, fmt.Errorf("answered %d", a.status)
		default:
			shown, err := ask[time.Time](ctx, sim, "first", a.digits)
			if err != nil {
				return nil, nil, err
			}
			took = append(took, shown.Sub(a.at).Seconds())
		}
	}
	return took, refused, ctx.Err()
}
