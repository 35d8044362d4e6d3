package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// codesPerSecond is more than can be verified: a phase ends when its time or its codes do.
func codesPerSecond(conns int) int {
	switch {
	case conns == 1:
		return 6_000
	case conns <= 16:
		return 30_000
	default:
		return 50_000
	}
}

// benchVerify measures POST /api/v1/otp-verify with right codes.
func benchVerify(ctx context.Context, l *lab) (err error) {
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
		c, err := verifyCase(ctx, l, loader, ceiling, conns)
		if err != nil {
			return err
		}
		if err := l.report.add(c); err != nil {
			return err
		}
	}
	return nil
}

func verifyCase(ctx context.Context, l *lab, loader *child, ceiling *stand, conns int) (_ result, err error) {
	dir := filepath.Join(l.dir, fmt.Sprintf("verify-%d", conns))
	codes := dir + ".codes"
	share := int64(float64(codesPerSecond(conns)) * l.phase.Seconds()) // of one phase
	phases := int64(l.pairs(conns)) + 1
	if l.profile != "" && conns == widest {
		phases++
	}
	seeds, err := openSeeder(ctx, dir, 10*time.Minute, int(share*phases))
	if err != nil {
		return result{}, err
	}
	l.note("seeding %d OTPs", share*phases)
	if err := errors.Join(seeds.seed(ctx, int(share*phases), codes), seeds.close()); err != nil {
		return result{}, err
	}
	ours, err := l.stand(ctx, "serve", "-data", dir)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, ours.end()) }()
	var used int64
	phase := func(d time.Duration) (phaseResult, float64, error) {
		used += share
		return plainPhase(ctx, loader, ours, phaseSpec{
			Conns: conns, For: d, Codes: codes, From: used - share, To: used, Want: `{"valid":true}`,
		})
	}
	if _, _, err := phase(l.phase / 10); err != nil { // code and pages are warm from here on
		return result{}, err
	}
	goal := 0.0
	if conns == widest {
		goal = goalVerify
	}
	c, err := against(conns, l.pairs(conns), "POST otp-verify", goal,
		func() (phaseResult, float64, error) { return phase(l.phase) },
		func() (phaseResult, float64, error) {
			return plainPhase(ctx, loader, ceiling, phaseSpec{Conns: conns, For: l.phase, Codes: codes, To: share, Again: true})
		})
	if err == nil && conns == widest {
		err = l.profiled(ctx, ours.child, func() error {
			_, _, err := phase(l.phase)
			return err
		})
	}
	return c, err
}
