package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Goals, of docs/benchmarks.md.
const (
	goalIssue   = 0.35
	goalVerify  = 0.45
	goalStore   = 0.8
	goalMillion = 0.8
	goalOpen    = 1.0 // s
	goalSend    = 0.9
	goalP50     = 3.0  // ms
	goalP99     = 15.0 // ms
)

// stand is a process under load.
type stand struct {
	*child
	addr string
}

func (l *lab) stand(ctx context.Context, name string, args ...string) (*stand, error) {
	c, err := l.spawn(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	info, err := ask[readyInfo](ctx, c, "ready", nothing{})
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return &stand{child: c, addr: info.Addr}, nil
}

// benchIssue measures POST /api/v1/otp, and the store alone.
func benchIssue(ctx context.Context, l *lab) (err error) {
	if l.million || l.tenMillion {
		return benchMany(ctx, l)
	}
	loader, err := l.spawn(ctx, "load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, loader.end()) }()
	ceiling, err := l.stand(ctx, "echo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ceiling.end()) }()
	for _, conns := range l.widths() {
		c, err := issueCase(ctx, l, loader, ceiling, conns)
		if err != nil {
			return err
		}
		if err := l.report.add(c); err != nil {
			return err
		}
	}
	if l.only > 0 {
		return nil
	}
	return benchStore(ctx, l)
}

// issueCase measures one concurrency on a node with an empty store.
func issueCase(ctx context.Context, l *lab, loader *child, ceiling *stand, conns int) (_ result, err error) {
	ours, err := l.stand(ctx, "serve", "-data", filepath.Join(l.dir, fmt.Sprintf("issue-%d", conns)))
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, ours.end()) }()
	n := &node{stand: ours, loader: loader, once: l.once}
	if _, _, err := n.issue(ctx, conns, l.phase/10); err != nil { // code and pages are warm from here on
		return result{}, err
	}
	goal := 0.0
	if conns == widest {
		goal = goalIssue
	}
	c, err := against(conns, l.pairs(conns), "POST otp", goal,
		func() (phaseResult, float64, error) { return n.issue(ctx, conns, l.phase) },
		func() (phaseResult, float64, error) {
			return plainPhase(ctx, loader, ceiling, phaseSpec{Conns: conns, For: l.phase})
		})
	if err == nil && conns == widest {
		err = l.profiled(ctx, ours.child, func() error {
			_, _, err := n.load(ctx, conns, l.phase)
			return err
		})
	}
	return c, err
}

// node is a wabek under load.
type node struct {
	*stand
	loader *child
	next   uint64 // number that has had no OTP yet
	once   bool   // requests have idempotency keys
}

// issue is a phase whose rate counts the time until all that was accepted is published. What it left in the queue is
// drained afterwards.
func (n *node) issue(ctx context.Context, conns int, d time.Duration) (phaseResult, float64, error) {
	r, rate, err := n.load(ctx, conns, d)
	if err == nil {
		_, err = ask[nothing](ctx, n.child, "drain", nothing{})
	}
	return r, rate, err
}

func (n *node) load(ctx context.Context, conns int, d time.Duration) (r phaseResult, rate float64, err error) {
	before, err := ask[uint64](ctx, n.child, "mark", nothing{})
	if err != nil {
		return r, 0, err
	}
	cpu, err := cpuOf(ctx, n.child, func() error {
		r, err = ask[phaseResult](ctx, n.loader, "phase", phaseSpec{
			Addr: n.addr, Key: benchKey, Conns: conns, For: d, Once: n.once, First: n.next, Want: `{"success":true,"otpId":"`,
		})
		if err != nil {
			return err
		}
		n.next += uint64(r.Requests)                                                           //nolint:gosec // a count
		published, err := ask[time.Time](ctx, n.child, "published", before+uint64(r.Requests)) //nolint:gosec // a count
		rate = r.rate(published)
		return err
	})
	r.cpu = cpu
	return r, rate, err
}

// plainPhase is a phase that is over with its last answer.
func plainPhase(ctx context.Context, loader *child, at *stand, s phaseSpec) (r phaseResult, rate float64, err error) {
	s.Addr, s.Key = at.addr, benchKey
	cpu, err := cpuOf(ctx, at.child, func() error {
		r, err = ask[phaseResult](ctx, loader, "phase", s)
		return err
	})
	r.cpu = cpu
	return r, r.rate(r.End), err
}

// against measures two things in turn.
func against(conns, times int, what string, goal float64, ours, ceiling func() (phaseResult, float64, error)) (result, error) {
	var (
		pairs  []pair
		p50s   [2][]float64
		p99s   [2][]float64
		costs  [2][]float64
		rate   [2]float64
		phases = [2]func() (phaseResult, float64, error){ours, ceiling}
	)
	for range times {
		for i, phase := range phases {
			r, v, err := phase()
			if err != nil {
				return result{}, err
			}
			rate[i] = v
			p50s[i], p99s[i], costs[i] = append(p50s[i], r.P50), append(p99s[i], r.P99), append(costs[i], r.cost())
		}
		pairs = append(pairs, pair{ours: rate[0], ceiling: rate[1]})
	}
	c := rates(fmt.Sprintf("%s, %d at once", what, conns), goal, pairs)
	c.Ran = &[2]running{
		{P50: median(p50s[0]), P99: median(p99s[0]), CPU: median(costs[0])},
		{P50: median(p50s[1]), P99: median(p99s[1]), CPU: median(costs[1])},
	}
	return c, nil
}
