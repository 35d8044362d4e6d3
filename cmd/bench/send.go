package main

import (
	"context"
	"errors"
	"path/filepath"
)

// simulated is the simulator and one process that speaks to it, or two.
func (l *lab) simulated(ctx context.Context, names ...string) (sim *child, speakers []*child, err error) {
	sim, err = l.spawn(ctx, "sim")
	if err != nil {
		return nil, nil, err
	}
	info, err := ask[simInfo](ctx, sim, "ready", nothing{})
	for i := 0; i < len(names) && err == nil; i++ {
		var c *child
		c, err = l.spawn(ctx, names[i], "-data", filepath.Join(l.dir, ""), "-sim", info.URL, "-root", info.RootKey)
		if err == nil {
			speakers = append(speakers, c)
			_, err = ask[readyInfo](ctx, c, "ready", nothing{})
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, endAll(append(speakers, sim)))
	}
	return sim, speakers, nil
}

func endAll(all []*child) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.end())
	}
	return errors.Join(errs...)
}

// benchSend measures the sender draining a queue.
func benchSend(ctx context.Context, l *lab) (err error) {
	sim, speakers, err := l.simulated(ctx, "drain", "bare")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endAll(append(speakers, sim))) }()
	ours, bare := speakers[0], speakers[1]
	next := l.known
	for _, kind := range []struct {
		name  string
		n     int
		known uint64
	}{{"first contact", l.firstSend, 0}, {"warm", l.warmSend, l.known}} {
		spec := sendSpec{N: kind.n, Known: kind.known}
		if kind.known > 0 { // so that all are known from here on
			warm := sendSpec{N: int(l.known), Known: l.known} //nolint:gosec // a few hundred
			if _, err := sendPair(ctx, ours, bare, warm); err != nil {
				return err
			}
		}
		var (
			pairs []pair
			costs [2][]float64
		)
		for range l.pairs(widest) {
			if kind.known == 0 {
				spec.First = next
				next += uint64(kind.n) //nolint:gosec // a count
			}
			r, err := sendPair(ctx, ours, bare, spec)
			if err != nil {
				return err
			}
			pairs = append(pairs, pair{ours: r[0].rate(), ceiling: r[1].rate()})
			costs[0], costs[1] = append(costs[0], r[0].cost()), append(costs[1], r[1].cost())
		}
		c := rates("sender, "+kind.name, goalSend, pairs)
		c.Ran = &[2]running{{CPU: median(costs[0])}, {CPU: median(costs[1])}}
		if err := l.report.add(c); err != nil {
			return err
		}
	}
	return l.profiled(ctx, ours, func() error {
		_, err := drainPhase(ctx, ours, sendSpec{N: l.warmSend, Known: l.known})
		return err
	})
}

// sendPair is a run of ours and one of the bare loop, to the same numbers.
func sendPair(ctx context.Context, ours, bare *child, s sendSpec) (r [2]sendResult, err error) {
	if r[0], err = drainPhase(ctx, ours, s); err == nil {
		r[1], err = sendPhase(ctx, bare, s)
	}
	return r, err
}

func drainPhase(ctx context.Context, ours *child, s sendSpec) (sendResult, error) {
	if _, err := ask[nothing](ctx, ours, "fill", s); err != nil {
		return sendResult{}, err
	}
	return sendPhase(ctx, ours, s)
}

// sendPhase sends, and waits for the receipts.
func sendPhase(ctx context.Context, c *child, s sendSpec) (r sendResult, err error) {
	cpu, err := cpuOf(ctx, c, func() error {
		if r, err = ask[sendResult](ctx, c, "run", s); err != nil {
			return err
		}
		_, err := ask[nothing](ctx, c, "settle", nothing{})
		return err
	})
	r.cpu = cpu
	return r, err
}
