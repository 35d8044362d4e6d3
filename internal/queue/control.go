package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

const (
	requestTimeout = 5 * time.Second // where the caller's context has no deadline
	maxTrip        = time.Second     // of a question for the server's time, that its answer counts
)

// Heartbeat is how a session is, as its sender tells everybody who listens now; nobody keeps it.
type Heartbeat struct {
	Pool     string    `json:"pool"`
	Session  string    `json:"session"`
	Sender   string    `json:"sender"`    // which process
	Up       bool      `json:"up"`        // it may send now
	Reason   string    `json:"reason"`    // why it isn't up
	OffsetMS int64     `json:"offset_ms"` // NATS's clock − the sender's
	At       time.Time `json:"at"`        // by the sender's clock
	// Counters of the sender since it started.
	Redelivered uint64 `json:"redelivered"`
	ClaimsLost  uint64 `json:"claims_lost"`
	Sent        uint64 `json:"sent"`
	Notices     uint64 `json:"notices"` // of those sent
}

// heartbeatFormat is the format of a heartbeat. Fields may be added without raising it.
const heartbeatFormat = 1

type heartbeatJSON struct {
	Version int `json:"v"`
	Heartbeat
}

// Beat tells everybody how a session is. It is core NATS: nothing is stored, nothing acknowledged.
func (b *Broker) Beat(_ context.Context, h Heartbeat) error {
	if err := errors.Join(job.CheckPool(h.Pool), job.CheckSession(h.Session)); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	data, err := json.Marshal(heartbeatJSON{Version: heartbeatFormat, Heartbeat: h})
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	if err := b.nc.Publish(heartbeatSubject(h.Pool, h.Session), data); err != nil {
		return unavailable("heartbeat", err)
	}
	return nil
}

// Heartbeats calls fn with each heartbeat of every session, one after the other, until stop is called. stop waits
// for a call that runs, so fn mustn't call it. It goes on by itself after an outage.
func (b *Broker) Heartbeats(fn func(Heartbeat)) (stop func(), err error) {
	var (
		mu      sync.Mutex
		stopped bool
	)
	sub, err := b.nc.Subscribe("wabek.heartbeat.*.*", func(m *nats.Msg) {
		var h heartbeatJSON
		if err := json.Unmarshal(m.Data, &h); err != nil || h.Version > heartbeatFormat {
			b.log.Debug("unreadable heartbeat", "subject", m.Subject)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			fn(h.Heartbeat)
		}
	})
	if err != nil {
		return nil, unavailable("listen to heartbeats", err)
	}
	return func() {
		_ = sub.Unsubscribe() // fails only where the connection is closed
		mu.Lock()
		defer mu.Unlock()
		stopped = true
	}, nil
}

// Fence takes a number for a session that is higher than each one taken before: the later of two holders has the
// higher one. The bucket's revision is that number; it starts anew where NATS has lost its disk, and with it
// every status that carried one.
func (b *Broker) Fence(ctx context.Context, session, sender string) (uint64, error) {
	if err := job.CheckSession(session); err != nil {
		return 0, fmt.Errorf("fence: %w", err)
	}
	ack, err := b.js.Publish(ctx, "$KV."+bucketLease+".session."+session, []byte(sender))
	if err != nil {
		return 0, unavailable("fence", err)
	}
	return ack.Sequence, nil
}

// ClockOffset measures how far the clock of the NATS server is ahead of ours, to about half a round trip. What it
// finds is used for the life of every delivery from then on. Run calls it too, at each connect and every 30 s.
func (b *Broker) ClockOffset(ctx context.Context) (time.Duration, error) {
	var resp struct {
		Error     *jetstream.APIError `json:"error"`
		TimeStamp time.Time           `json:"ts"`
	}
	before, start := b.o.Now(), time.Now()
	if err := b.request(ctx, "STREAM.INFO."+streamOTP, nil, &resp); err != nil {
		return 0, unavailable("compare clocks", err)
	}
	if resp.Error != nil {
		return 0, unavailable("compare clocks", resp.Error)
	}
	if resp.TimeStamp.IsZero() {
		return 0, unavailable("compare clocks", errors.New("the server tells no time"))
	}
	trip := time.Since(start)
	offset := resp.TimeStamp.Sub(before.Add(trip / 2))
	// A slow answer says little; the first one is better than nothing.
	if trip < maxTrip || b.offset.Load() == 0 {
		b.offset.Store(int64(offset))
	}
	return offset, nil
}

// deadFormat is the format of a dead letter.
const deadFormat = 1

type deadJSON struct {
	Version int      `json:"v"`
	Lane    job.Lane `json:"lane"`
	Pool    string   `json:"pool"`
	Job     job.ID   `json:"job"`
	Reason  string   `json:"reason"`
	At      int64    `json:"at"` // Unix ms
}

// Dead stores that a job was given up, and why; never its body. It waits for the stream's acknowledgement.
func (b *Broker) Dead(ctx context.Context, lane job.Lane, pool string, id job.ID, reason string) error {
	m, err := b.deadMsg(lane, pool, id, reason)
	if err != nil {
		return err
	}
	if _, err := b.js.PublishMsg(ctx, m); err != nil {
		return unavailable("store dead letter", err)
	}
	return nil
}

func (b *Broker) deadMsg(lane job.Lane, pool string, id job.ID, reason string) (*nats.Msg, error) {
	if err := checkAddress(job.Envelope{ID: id, Lane: lane, Pool: pool, Target: job.AnySession}); err != nil {
		return nil, fmt.Errorf("dead letter: %w", err)
	}
	data, err := json.Marshal(deadJSON{
		Version: deadFormat, Lane: lane, Pool: pool, Job: id, Reason: reason, At: b.o.Now().UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode dead letter: %w", err)
	}
	return &nats.Msg{Subject: deadSubject(lane, pool, id), Data: data}, nil
}

// request asks JetStream's API.
func (b *Broker) request(ctx context.Context, what string, body, into any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	m, err := b.nc.RequestWithContext(ctx, "$JS.API."+what, data)
	if err != nil {
		return fmt.Errorf("ask nats: %w", err)
	}
	if err := json.Unmarshal(m.Data, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
