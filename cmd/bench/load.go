package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// widest is the concurrency of the main figures: keep-alive connections with one request under way on each.
const widest = 256

// phaseSpec is a phase of load.
type phaseSpec struct {
	Addr  string        `json:"addr"`
	Key   string        `json:"key"`
	Conns int           `json:"conns"`
	For   time.Duration `json:"for"`

	Once  bool   `json:"once"`  // issue: with idempotency keys
	First uint64 `json:"first"` // issue: the first number; each request takes the next
	Codes string `json:"codes"` // verify: a file of ids and codes, one codeSize long
	From  int64  `json:"from"`  // verify: the first code to use,
	To    int64  `json:"to"`    // and the one to stop before
	Again bool   `json:"again"` // verify: begin again there instead of stopping, for a handler that doesn't care
	Want  string `json:"want"`  // how every answer's body begins
}

// phaseResult is what came of it.
type phaseResult struct {
	Requests int64     `json:"requests"` // answered with 200 as wanted
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"` // of the last answer
	P50      float64   `json:"p50"` // ms
	P99      float64   `json:"p99"` // ms

	cpu time.Duration // of the server, for all of it
}

// cost is the server's CPU in µs for one request.
func (r phaseResult) cost() float64 {
	return float64(r.cpu.Microseconds()) / float64(max(1, r.Requests))
}

// rate is requests a second, up to a time that may be later than the last answer.
func (r phaseResult) rate(until time.Time) float64 {
	return float64(r.Requests) / until.Sub(r.Start).Seconds()
}

// runLoad is the load generator.
func runLoad(ctx context.Context, _ []string, in io.Reader, out io.Writer) error {
	codes := map[string][]byte{}
	return answerCalls(ctx, in, out, map[string]handler{
		"phase": on(func(_ context.Context, s phaseSpec) (phaseResult, error) {
			if _, ok := codes[s.Codes]; s.Codes != "" && !ok {
				text, err := os.ReadFile(s.Codes)
				if err != nil {
					return phaseResult{}, err
				}
				codes[s.Codes] = text
			}
			return load(s, codes[s.Codes])
		}),
	})
}

// load runs a phase: all connections are open before its clock starts.
func load(s phaseSpec, codes []byte) (phaseResult, error) {
	wires := make([]*wire, s.Conns)
	for i := range wires {
		w, err := dialWire(s.Addr, time.Now().Add(s.For+time.Minute))
		if err != nil {
			return phaseResult{}, err
		}
		defer w.close()
		wires[i] = w
	}
	var (
		next  atomic.Int64
		group sync.WaitGroup
		parts = make([]*hdrhistogram.Histogram, s.Conns)
		ends  = make([]time.Time, s.Conns)
		errs  = make([]error, s.Conns)
	)
	start := time.Now()
	for i, w := range wires {
		parts[i] = hdrhistogram.New(1, time.Minute.Microseconds(), 2)
		group.Go(func() {
			ends[i], errs[i] = drive(w, s.requests(&next, codes), []byte(s.Want), start.Add(s.For), parts[i])
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return phaseResult{}, err
	}
	total := hdrhistogram.New(1, time.Minute.Microseconds(), 2)
	r := phaseResult{Start: start, End: start}
	for i, part := range parts {
		total.Merge(part)
		if ends[i].After(r.End) {
			r.End = ends[i]
		}
	}
	r.Requests = total.TotalCount()
	r.P50, r.P99 = float64(total.ValueAtQuantile(50))/1000, float64(total.ValueAtQuantile(99))/1000
	return r, nil
}

// requests gives the requests of one connection, nil after the last.
func (s phaseSpec) requests(next *atomic.Int64, codes []byte) func() []byte {
	if s.Codes == "" {
		t := newIssueTemplate(s.Key, s.Once)
		return func() []byte { return t.fill(s.First + uint64(next.Add(1)-1)) } //nolint:gosec // counts up from 0
	}
	t := newVerifyTemplate(s.Key)
	return func() []byte {
		n := next.Add(1) - 1
		if s.Again {
			n %= s.To - s.From
		}
		at := int(s.From+n) * codeSize
		if s.From+n >= s.To || at+codeSize > len(codes) {
			return nil
		}
		return t.fill(codes[at : at+codeSize])
	}
}

// drive sends one request after another until the time is over, and returns when the last was answered.
func drive(w *wire, request func() []byte, want []byte, until time.Time, h *hdrhistogram.Histogram) (time.Time, error) {
	for sent := time.Now(); sent.Before(until); {
		text := request()
		if text == nil {
			return sent, nil
		}
		status, body, err := w.roundTrip(text)
		switch {
		case err != nil:
			return sent, err
		case status != 200 || !bytes.HasPrefix(body, want):
			return sent, fmt.Errorf("answered %d %q", status, body)
		}
		now := time.Now()
		if err := h.RecordValue(max(1, now.Sub(sent).Microseconds())); err != nil {
			return now, fmt.Errorf("record latency: %w", err)
		}
		sent = now
	}
	return time.Now(), nil
}
