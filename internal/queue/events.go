package queue

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxEvents   = 1_000_000 // some 700 MB
	eventMaxAge = 35 * 24 * time.Hour
)

func eventStream(replicas int) jetstream.StreamConfig {
	return taskStream(taskEvent, "events of WHMCS to resolve into notices", maxEvents, eventMaxAge, replicas)
}

// PutEvent stores an event as PutCallback stores a callback.
func (b *Broker) PutEvent(ctx context.Context, app, id string, data []byte, done func(taken bool, err error)) {
	b.putTask(ctx, taskEvent, app, id, data, done)
}

// Events opens the source of an app's events. It needs no connection yet. It lives until Close.
func (b *Broker) Events(app string) (*Tasks, error) { return b.tasks(taskEvent, app) }
