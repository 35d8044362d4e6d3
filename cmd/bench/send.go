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
		var pairs []pair
		for range l.pairs(widest) {
			if kind.known == 0 {
				spec.First = next
				next += uint64(kind.n) //nolint:gosec // a count
			}
			p, err := sendPair(ctx, ours, bare, spec)
			if err != nil {
				return err
			}
			pairs = append(pairs, p)
		}
		if err := l.report.add(rates("sender, "+kind.name, goalSend, pairs)); err != nil {
			return err
		}
	}
	return l.profiled(ctx, ours, func() error {
		_, err := drainPhase(ctx, ours, sendSpec{N: l.warmSend, Known: l.known})
		return err
	})
}

// sendPair is a run of ours and one of the bare loop, to the same numbers.
func sendPair(ctx context.Context, ours, bare *child, s sendSpec) (p pair, err error) {
	if p.ours, err = drainPhase(ctx, ours, s); err != nil {
		return p, err
	}
	r, err := ask[sendResult](ctx, bare, "run", s)
	if err == nil {
		_, err = ask[nothing](ctx, bare, "settle", nothing{})
	}
	p.ceiling = r.rate()
	return p, err
}

func drainPhase(ctx context.Context, ours *child, s sendSpec) (float64, error) {
	if _, err := ask[nothing](ctx, ours, "fill", s); err != nil {
		return 0, err
	}
	r, err := ask[sendResult](ctx, ours, "run", s)
	if err == nil {
		_, err = ask[nothing](ctx, ours, "settle", nothing{})
	}
	return r.rate(), err
}
