package sender_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/sender"
)

// node is a running sender: a process of its own, as far as the queue can tell.
type node struct {
	*sender.Sender
	k     *kit
	line  *line
	ends  chan end
	beats chan job.ID
	deaf  atomic.Bool // the next acknowledgement is lost

	take, work context.CancelFunc
	over       chan error
	once       sync.Once
	jobs       interface{ Close() error }
}

// run starts a sender over a session. change may bend its configuration.
func (k *kit) run(session sender.Session, change ...func(*node, *sender.Config)) *node {
	k.t.Helper()
	n := &node{k: k, line: k.connect(), ends: make(chan end, 1000), beats: make(chan job.ID, 1000), over: make(chan error, 1)}
	jobs, err := n.line.Jobs(context.Background(), job.DefaultPool, session.ID(), nil)
	require.NoError(k.t, err)
	n.jobs = jobs
	cfg := sender.Config{
		Session: session, Opener: k.seal, Log: n.line, Now: time.Now, Logger: k.log, KeepAlive: ackWait / 4,
		Next: func(ctx context.Context) (sender.Delivery, error) {
			d, err := jobs.Next(ctx)
			if err != nil {
				return nil, err
			}
			return &watched{Delivery: d, node: n}, nil
		},
		Bury: func(ctx context.Context, e job.Envelope, reason job.Reason) error {
			return n.line.Dead(ctx, e.Lane, e.Pool, e.ID, string(reason))
		},
	}
	for _, c := range change {
		c(n, &cfg)
	}
	n.Sender = sender.New(cfg)
	take, stopTaking := context.WithCancel(context.Background())
	work, stopWorking := context.WithCancel(context.Background())
	n.take, n.work = stopTaking, stopWorking
	go func() { n.over <- n.Run(take, work) }()
	k.t.Cleanup(n.crash)
	return n
}

// crash ends the sender as kill -9 does: it says nothing more to anybody, and what it had comes back by itself.
func (n *node) crash() {
	n.once.Do(func() {
		n.line.hang()
		n.take()
		n.work()
		n.k.log.Debug("killed sender has ended", "err", <-n.over)
		_ = n.jobs.Close() // its connection is gone
	})
}

// drain ends the sender as SIGTERM does, and returns what Run said.
func (n *node) drain() (err error) {
	n.once.Do(func() {
		n.take()
		err = <-n.over
		n.work()
		err = errors.Join(err, n.jobs.Close())
		n.line.hang()
	})
	return err
}

// ended waits for the end of the next delivery.
func (n *node) ended() end {
	n.k.t.Helper()
	select {
	case e := <-n.ends:
		return e
	case <-time.After(patient):
		require.FailNow(n.k.t, "no delivery ends")
		return end{}
	}
}
