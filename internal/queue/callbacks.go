package queue

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxCallbacks   = 1_000_000          // some 800 MB
	callbackMaxAge = 3 * 24 * time.Hour // of what no consumer takes, because its app has no callback URL any more
)

func callbackStream(replicas int) jetstream.StreamConfig {
	return taskStream(taskCallback, "signed webhooks to apps", maxCallbacks, callbackMaxAge, replicas)
}

// PutCallback stores a callback without waiting, and calls done exactly once, from any goroutine: with taken where the
// stream has stored it, without where it has one of this app and id already, which waits or is being ended right now;
// or with an error that wraps ErrFull, job.ErrName or ErrUnavailable. It blocks only while as many publishes are in
// flight as are allowed. done must be quick and mustn't publish.
func (b *Broker) PutCallback(ctx context.Context, app, id string, data []byte, done func(taken bool, err error)) {
	b.putTask(ctx, taskCallback, app, id, data, done)
}

// Callbacks opens the source of an app's callbacks. It needs no connection yet. It lives until Close.
func (b *Broker) Callbacks(app string) (*Tasks, error) { return b.tasks(taskCallback, app) }
