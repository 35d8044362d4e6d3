package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// e2eBlocks is how many parts the samples of a case are cut into, for the spread.
const e2eBlocks = 5

// benchE2E measures from an idle POST until the virtual phone shows the message, above a bare send.
func benchE2E(ctx context.Context, l *lab) (err error) {
	sim, speakers, err := l.simulated(ctx, "serve", "bare")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endAll(append(speakers, sim))) }()
	info, err := ask[readyInfo](ctx, speakers[0], "ready", nothing{})
	if err != nil {
		return err
	}
	t := &e2e{sim: sim, bare: speakers[1]}
	if t.wire, err = dialWire(info.Addr, time.Now().Add(l.budget)); err != nil {
		return err
	}
	defer t.wire.close()
	for n := range l.known {
		if _, err := t.both(ctx, n); err != nil {
			return err
		}
	}
	next := l.known
	for _, kind := range []struct {
		name   string
		number func(i int) uint64
	}{
		{"first contact", func(i int) uint64 { return next + uint64(i) }}, //nolint:gosec // counts up from 0
		{"warm", func(i int) uint64 { return uint64(i) % l.known }},       //nolint:gosec // counts up from 0
	} {
		var samples []pair
		for i := range l.samples {
			p, err := t.both(ctx, kind.number(i))
			if err != nil {
				return err
			}
			samples = append(samples, p)
		}
		for _, of := range []struct {
			name string
			q    float64
			goal float64
		}{{"p50", 0.5, goalP50}, {"p99", 0.99, goalP99}} {
			var blocks []pair
			for block := range slices.Chunk(samples, l.samples/e2eBlocks) {
				blocks = append(blocks, quantiles(block, of.q))
			}
			c := above(fmt.Sprintf("POST to phone, %s, %s", kind.name, of.name), of.goal, quantiles(samples, of.q), blocks)
			if err := l.report.add(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func quantiles(samples []pair, q float64) pair {
	var ours, bare []float64
	for _, s := range samples {
		ours, bare = append(ours, s.ours), append(bare, s.ceiling)
	}
	return pair{ours: quantile(ours, q), ceiling: quantile(bare, q)}
}

type e2e struct {
	sim, bare *child
	wire      *wire
}

// both sends to one number by a POST and by the bare client, one after the other, and returns how many ms each took
// until the phone showed it.
func (t *e2e) both(ctx context.Context, n uint64) (p pair, err error) {
	request := newIssueTemplate(benchKey, false)
	text := request.fill(n)
	digits := string(text[request.at[0] : request.at[0]+len(phonePlace)])
	p.ours, err = t.shown(ctx, digits, func() (time.Time, error) {
		start := time.Now()
		status, body, err := t.wire.roundTrip(text)
		if err == nil && (status != 200 || !bytes.HasPrefix(body, []byte(`{"success":true`))) {
			err = fmt.Errorf("answered %d %q", status, body)
		}
		return start, err
	})
	if err == nil {
		p.ceiling, err = t.shown(ctx, digits, func() (time.Time, error) { return ask[time.Time](ctx, t.bare, "send", digits) })
	}
	return p, err
}

func (t *e2e) shown(ctx context.Context, digits string, send func() (time.Time, error)) (float64, error) {
	type outcome struct {
		at  time.Time
		err error
	}
	shown := make(chan outcome, 1)
	go func() {
		at, err := ask[time.Time](ctx, t.sim, "shown", digits)
		shown <- outcome{at, err}
	}()
	start, err := send()
	o := <-shown
	return float64(o.at.Sub(start).Microseconds()) / 1000, errors.Join(err, o.err)
}
