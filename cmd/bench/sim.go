package main

import (
	"context"
	"errors"
	"io"
	"time"

	"wabek/internal/whatsim"
)

// simInfo says where the simulator is.
type simInfo struct {
	URL     string `json:"url"`
	RootKey string `json:"root_key"`
}

// runSim is the WhatsApp simulator in a process of its own.
func runSim(ctx context.Context, _ []string, in io.Reader, out io.Writer) error {
	sim, err := whatsim.Start(whatsim.Options{})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = answerCalls(ctx, in, out, map[string]handler{
		"ready": on(func(context.Context, nothing) (simInfo, error) {
			return simInfo{URL: sim.Endpoint(), RootKey: sim.RootKeyHex()}, nil
		}),
		// first waits for the first message of a phone, and tells when it showed it.
		"first": on(func(ctx context.Context, digits string) (time.Time, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			m, err := sim.WaitMessage(ctx, digits, func(whatsim.Message) bool { return true })
			return m.At, err
		}),
		"fault": on(func(_ context.Context, f whatsim.Fault) (string, error) { return sim.AddFault(f) }),
		// shown waits until a phone shows a message that wasn't asked for before, and tells when it did.
		"shown": on(func(ctx context.Context, digits string) (time.Time, error) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			m, err := sim.WaitMessage(ctx, digits, func(m whatsim.Message) bool { return !seen[m.ID] })
			now := time.Now()
			seen[m.ID] = true
			return now, err
		}),
	})
	return errors.Join(err, sim.Close())
}
