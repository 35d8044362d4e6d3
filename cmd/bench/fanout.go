package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"wabek/internal/whatsim"
)

const (
	// fanoutAck is how long WhatsApp takes to acknowledge a message in bench fanout.
	fanoutAck = 50 * time.Millisecond
	// fanoutPace is ten times the notices a minute that a session sends unless told otherwise. Without a bound each session
	// would send what the machine can, and what is measured is how sessions share a disk and two cores.
	fanoutPace = 300
	// otpPhones is to how many phones the OTPs go, one after the other.
	otpPhones = 20
	// hookConns is how many connections post events at once.
	hookConns = 16
	// tenths is into how many parts the latencies of the webhook are cut.
	tenths = 10

	goalFanout = 1.1 // times the p99 of an idle system, with four sessions
	goalHook   = 1.5 // times: the webhook's p99 in the worst tenth of a run, of that in the first
)

// benchFanout measures OTPs beside a run of invoice notices: a second of OTPs by turns with the run paused and going on.
func benchFanout(ctx context.Context, l *lab) error {
	several := []int{4, 1}
	if l.only > 0 {
		several = []int{l.only}
	}
	for _, sessions := range several {
		if err := l.fanout(ctx, sessions); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) fanout(ctx context.Context, sessions int) (err error) {
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
	serve, err := l.spawn(ctx, "serve", "-data", filepath.Join(l.dir, fmt.Sprintf("sessions-%d", sessions)), "-sim", where.URL, "-root", where.RootKey,
		"-sessions", strconv.Itoa(sessions), "-notices", strconv.Itoa(l.notices))
	if err != nil {
		return err
	}
	children = []*child{serve, sim}
	info, err := ask[readyInfo](ctx, serve, "ready", nothing{})
	if err != nil {
		return err
	}
	f := &fanout{lab: l, serve: serve, addr: info.Addr, sessions: sessions, otps: &e2e{sim: sim}}
	if f.otps.wire, err = dialWire(info.Addr, time.Now().Add(l.budget)); err != nil {
		return err
	}
	defer f.otps.wire.close()
	if _, err := ask[string](ctx, sim, "fault", whatsim.Fault{Kind: "ack_delay", MS: int(fanoutAck.Milliseconds()), Count: -1}); err != nil {
		return err
	}
	return f.run(ctx)
}

// fanout is a node with its sessions, under a run of notices.
type fanout struct {
	*lab

	serve    *child
	addr     string
	sessions int
	otps     *e2e

	invoices atomic.Int64 // announced so far
	asked    uint64       // OTPs
}

func (f *fanout) run(ctx context.Context) error {
	if err := f.pause(ctx, true); err != nil {
		return err
	}
	for range otpPhones { // so that no OTP is the first message to its phone
		if _, err := f.send(ctx); err != nil {
			return err
		}
	}
	if f.sessions > 1 {
		if err := f.announceMany(ctx); err != nil {
			return err
		}
	} else if _, err := f.announce(ctx, f.events); err != nil {
		return err
	}
	var blocks, samples []pair
	for block := range f.fanoutBlocks {
		var part []pair
		for i := range 2 {
			// Which half comes first changes from block to block.
			idle := (block+i)%2 == 0
			if err := f.let(ctx, !idle); err != nil {
				return err
			}
			for n := range f.fanoutSamples {
				took, err := f.otp(ctx)
				if err != nil {
					return err
				}
				if i == 0 {
					part = append(part, pair{})
				}
				if idle {
					part[n].ceiling = took
				} else {
					part[n].ours = took
				}
			}
		}
		samples = append(samples, part...)
		blocks = append(blocks, quantiles(part, 0.99))
	}
	p50, p99 := quantiles(samples, 0.5), quantiles(samples, 0.99)
	name := fmt.Sprintf("POST to phone beside notices, %d sessions", f.sessions)
	if f.sessions == 1 {
		name = "POST to phone beside notices, 1 session"
	}
	if err := f.report.add(above(name+", p50", 0, p50, nil)); err != nil {
		return err
	}
	if f.sessions > 1 {
		return f.report.add(times(name+", p99", goalFanout, p99, blocks))
	}
	// A notice in flight: what WhatsApp takes to acknowledge it, and the work of sending it, which is that of a slow idle OTP.
	return f.report.add(above(name+", p99", float64(fanoutAck.Milliseconds())+p99.ceiling, p99, blocks))
}

// otp asks for one at the next beat and returns how many ms it took until the phone showed it.
func (f *fanout) otp(ctx context.Context) (float64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(f.beat): // an OTP a beat is the load that is asked for
	}
	return f.send(ctx)
}

func (f *fanout) send(ctx context.Context) (float64, error) {
	request := newIssueTemplate(benchKey, false)
	text := request.fill(f.asked % otpPhones)
	f.asked++
	digits := string(text[request.at[0] : request.at[0]+len(phonePlace)])
	return f.otps.shown(ctx, digits, func() (time.Time, error) {
		start := time.Now()
		status, body, err := f.otps.wire.roundTrip(text)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("answered %d %q", status, body)
		}
		return start, err
	})
}

// let lets notices flow, or stops them, and waits until they do.
func (f *fanout) let(ctx context.Context, flow bool) error {
	before, err := f.counts(ctx)
	if err != nil {
		return err
	}
	if err := f.pause(ctx, !flow); err != nil {
		return err
	}
	// So many that the requests for OTPs from before have ended: they live for 5 s.
	enough := int64(6*time.Second/fanoutAck) * int64(max(1, f.sessions-1))
	if f.notices > 0 {
		enough = min(enough, int64(f.notices)*int64(max(1, f.sessions-1))/10)
	}
	for {
		now, err := f.counts(ctx)
		if err != nil {
			return err
		}
		switch {
		case flow && now.Waiting == 0:
			return errors.New("the run is over before the measurement: announce more events")
		case flow && before.Waiting+before.Pending-now.Waiting-now.Pending >= enough, !flow && now.Pending == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // a look now and then
		}
	}
}

type noticeCounts struct{ Waiting, Pending int64 }

func (f *fanout) counts(ctx context.Context) (noticeCounts, error) {
	return ask[noticeCounts](ctx, f.serve, "notices", nothing{})
}

func (f *fanout) pause(ctx context.Context, paused bool) error {
	body := fmt.Sprintf(`{"noticesPaused":%t}`, paused)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+f.addr+"/api/v1/admin/apps/default", bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Api-Key", benchKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("pause: answered %d", resp.StatusCode)
	}
	return nil
}

// announceMany announces a month's invoices while their notices go out, and reports the webhook's latency by tenths of the run.
func (f *fanout) announceMany(ctx context.Context) error {
	if err := f.pause(ctx, false); err != nil {
		return err
	}
	var pairs []pair
	var first float64
	for i := range tenths {
		p99, err := f.announce(ctx, f.events/tenths)
		if err != nil {
			return err
		}
		if i == 0 {
			first = p99
			continue
		}
		pairs = append(pairs, pair{ours: p99, ceiling: first})
	}
	worst := pairs[0]
	for _, p := range pairs {
		if p.ours > worst.ours {
			worst = p
		}
	}
	return f.report.add(times(fmt.Sprintf("webhook, worst tenth of %d, p99", f.events), goalHook, worst, pairs))
}

// announce announces so many invoices as fast as they are answered, and returns the p99 of the answers in ms.
func (f *fanout) announce(ctx context.Context, events int) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var left atomic.Int64
	left.Store(int64(events))
	parts, errs := make([]*hdrhistogram.Histogram, hookConns), make([]error, hookConns)
	var group sync.WaitGroup
	for i := range hookConns {
		parts[i] = hdrhistogram.New(1, time.Minute.Microseconds(), 2)
		group.Go(func() {
			w, err := dialWire(f.addr, time.Now().Add(f.budget))
			if err != nil {
				errs[i] = err
				return
			}
			defer w.close()
			for left.Add(-1) >= 0 && errs[i] == nil {
				text := hookRequest(f.invoices.Add(1), time.Now())
				start := time.Now()
				status, body, err := w.roundTrip(text)
				switch {
				case err != nil:
					errs[i] = err
				case status != http.StatusOK || bytes.Contains(body, []byte("duplicate")):
					errs[i] = fmt.Errorf("webhook: answered %d %q", status, body)
				default:
					errs[i] = parts[i].RecordValue(max(1, time.Since(start).Microseconds()))
				}
			}
		})
	}
	group.Wait()
	total := hdrhistogram.New(1, time.Minute.Microseconds(), 2)
	for _, part := range parts {
		total.Merge(part)
	}
	return float64(total.ValueAtQuantile(99)) / 1000, errors.Join(errs...)
}

// hookClients is how many clients the invoices are of: most of a month's go to somebody who had one before.
const hookClients = 500

// hookRequest is what the enriched hook sends of an invoice.
func hookRequest(invoice int64, now time.Time) []byte {
	body, _ := json.Marshal(map[string]any{ // strings and numbers can always be written
		"action": "InvoiceCreated", "invoiceid": invoice, "userid": invoice%hookClients + 1,
		"client": map[string]string{"phonenumber": fmt.Sprintf("+90.556%07d", invoice%hookClients), "country": "TR", "language": "turkish", "firstname": "Ada", "currency_code": "TRY"},
		"data":   map[string]string{"total": "120.00", "duedate": "2026-12-01", "url": "https://billing.example/viewinvoice.php?id=" + strconv.FormatInt(invoice, 10)},
	})
	stamp := strconv.FormatInt(now.Unix(), 10)
	key := sha256.Sum256([]byte(benchKey))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return template("/api/v1/whmcs-webhook", benchKey, "X-Wabek-Signature: t="+stamp+",v1="+hex.EncodeToString(mac.Sum(nil))+"\r\n", string(body))
}
