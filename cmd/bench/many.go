package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// benchStore measures the record store alone, beside the bare loop.
func benchStore(ctx context.Context, l *lab) error {
	for _, conns := range l.widths() {
		s, err := l.spawn(ctx, "store", "-data", filepath.Join(l.dir, fmt.Sprintf("store-%d", conns)))
		if err != nil {
			return err
		}
		var pairs []pair
		for range l.pairs(conns) {
			p, err := storePair(ctx, l, conns, s, s, true)
			if err != nil {
				return errors.Join(err, s.end())
			}
			pairs = append(pairs, p)
		}
		if err := s.end(); err != nil {
			return err
		}
		if err := l.report.add(rates(fmt.Sprintf("store alone, %d at once", conns), goalStore, pairs)); err != nil {
			return err
		}
	}
	return nil
}

// storePair is a phase of one store and one of another, or of the bare loop beside it.
func storePair(ctx context.Context, l *lab, conns int, ours, ceiling *child, bare bool) (p pair, err error) {
	p.ours, err = ask[float64](ctx, ours, "phase", storeSpec{Goroutines: conns, For: l.phase})
	if err == nil {
		p.ceiling, err = ask[float64](ctx, ceiling, "phase", storeSpec{Bare: bare, Goroutines: conns, For: l.phase})
	}
	return p, err
}

// opens is how often a big store is opened for its time.
const opens = 3

// benchMany measures the store and the node beside many unexpired records, against empty ones.
func benchMany(ctx context.Context, l *lab) error {
	n, many := 1_000_000, "a million records"
	switch {
	case l.records > 0:
		n, many = l.records, fmt.Sprintf("%d records", l.records)
	case l.tenMillion:
		n, many = 10_000_000, "ten million records"
	case l.quick:
		n, many = 200_000, "200,000 records"
	}
	full, empty := filepath.Join(l.dir, "full"), filepath.Join(l.dir, "empty")
	seeds, err := openSeeder(ctx, full, 30*time.Minute, n)
	if err != nil {
		return err
	}
	l.note("seeding %d OTPs", n)
	if err := errors.Join(seeds.seed(ctx, n, ""), seeds.close()); err != nil {
		return err
	}
	if err := openMany(ctx, l, many, full); err != nil {
		return err
	}
	if err := nodeBeside(ctx, l, many, full, empty); err != nil {
		return err
	}
	// Last, for it leaves jobs that no node could send.
	return storeBeside(ctx, l, many, full, empty+"-store")
}

// openMany measures the time that the store takes to open.
func openMany(ctx context.Context, l *lab, many, full string) error {
	var took []float64
	for range opens {
		s, err := l.spawn(ctx, "store", "-data", full)
		if err != nil {
			return err
		}
		seconds, err := ask[float64](ctx, s, "opened", nothing{})
		if err = errors.Join(err, s.end()); err != nil {
			return err
		}
		took = append(took, seconds)
	}
	return l.report.add(limit("open "+many, goalOpen, took))
}

func storeBeside(ctx context.Context, l *lab, many, full, empty string) (err error) {
	a, err := l.spawn(ctx, "store", "-data", full)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.end()) }()
	b, err := l.spawn(ctx, "store", "-data", empty)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end()) }()
	var pairs []pair
	for range l.pairs(widest) {
		p, err := storePair(ctx, l, widest, a, b, false)
		if err != nil {
			return err
		}
		pairs = append(pairs, p)
	}
	return l.report.add(rates(fmt.Sprintf("store with %s, %d", many, widest), goalMillion, pairs))
}

func nodeBeside(ctx context.Context, l *lab, many, full, empty string) (err error) {
	loader, err := l.spawn(ctx, "load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, loader.end()) }()
	var nodes [2]*node
	for i, dir := range []string{full, empty} {
		s, err := l.stand(ctx, "serve", "-data", dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.end()) }()
		nodes[i] = &node{stand: s, loader: loader}
		if _, _, err := nodes[i].issue(ctx, widest, l.phase/10); err != nil {
			return err
		}
	}
	c, err := against(widest, l.pairs(widest), "POST otp with "+many, goalMillion,
		func() (phaseResult, float64, error) { return nodes[0].issue(ctx, widest, l.phase) },
		func() (phaseResult, float64, error) { return nodes[1].issue(ctx, widest, l.phase) })
	if err != nil {
		return err
	}
	return l.report.add(c)
}
