package queue

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	ensureTimeout  = 5 * time.Second
	ensureFirst    = 100 * time.Millisecond // pause after the first failure, doubled up to
	ensureLast     = 2 * time.Second
	offsetInterval = 30 * time.Second
	sweepInterval  = 250 * time.Millisecond
)

// Run keeps the broker working until the context ends: it makes the streams as soon as NATS is there, again
// after each reconnect (NATS may have lost its disk), and fails the publishes that nobody will answer. It
// returns nil when the context has ended, or ErrClosed when the connection was closed. Call it once.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.pub.open(); err != nil {
		return unavailable("start publishing", err)
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer b.pub.close()
	defer stop()

	statuses := b.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer b.nc.RemoveStatusListener(statuses)
	wg.Go(func() { b.keepStreams(ctx) })

	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			b.pub.sweep(time.Now())
		case st := <-statuses:
			if st == nats.CONNECTED {
				b.ask()
				continue
			}
			b.streamsOK.Store(false)
			b.pub.failAll(nats.ErrDisconnected) // their acknowledgements went to a connection that is gone
		}
		if b.nc.IsClosed() {
			return ErrClosed
		}
	}
}

// keepStreams makes the streams whenever it is asked to, until it succeeds. It says once per outage what is wrong.
func (b *Broker) keepStreams(ctx context.Context) {
	warned := false
	if b.ask(); !b.nc.IsConnected() {
		b.log.WarnContext(ctx, "nats isn't there yet, waiting for it")
	}
	offset := time.NewTicker(offsetInterval)
	defer offset.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-offset.C:
			if b.Connected() {
				b.measureOffset(ctx)
			}
			continue
		case <-b.kick:
		}
		for wait := ensureFirst; b.nc.IsConnected(); wait = min(2*wait, ensureLast) {
			err := b.ensureOnce(ctx)
			if err == nil {
				if warned {
					b.log.InfoContext(ctx, "streams are there again")
				}
				warned = false
				b.measureOffset(ctx)
				b.streamsOK.Store(true)
				b.readyOnce.Do(func() { close(b.ready) })
				b.renewed.send()
				break
			}
			b.streamsOK.Store(false)
			if ctx.Err() == nil && !warned {
				b.log.WarnContext(ctx, "can't make the streams, trying on", "error", err)
				warned = true
			}
			if !pause(ctx, wait) {
				return
			}
		}
		if !pause(ctx, ensureFirst) { // many may ask for the same reason
			return
		}
	}
}

func (b *Broker) ensureOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	return b.ensureStreams(ctx)
}

func (b *Broker) measureOffset(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ensureTimeout)
	defer cancel()
	if _, err := b.ClockOffset(ctx); err != nil && ctx.Err() == nil {
		b.log.DebugContext(ctx, "can't compare clocks", "error", err)
	}
}
