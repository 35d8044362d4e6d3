package queue_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

func sealed(id string) job.Envelope {
	e := otp(id)
	e.Sealed = make([]byte, 300)
	return e
}

// BenchmarkPublish is Broker.Publish from one goroutine, and what jetstream does bare.
func BenchmarkPublish(b *testing.B) {
	b.Run("wabek", func(b *testing.B) {
		br := setup(b, queue.Options{})
		var wg sync.WaitGroup
		wg.Add(b.N)
		var failed atomic.Int64
		b.ResetTimer()
		for n := range b.N {
			br.Publish(context.Background(), sealed(fmt.Sprint("job-", n)), 10*time.Minute, func(err error) {
				if err != nil {
					failed.Add(1)
				}
				wg.Done()
			})
		}
		wg.Wait()
		require.Zero(b, failed.Load())
	})
	b.Run("bare", func(b *testing.B) {
		nc := connect(b, serve(b))
		br := run(b, nc, queue.Options{})
		ready(b, br)
		js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
		require.NoError(b, err)
		data := make([]byte, 300)
		b.ResetTimer()
		for n := range b.N {
			_, err := js.PublishAsync(fmt.Sprint("wabek.job.otp.default.any.job-", n), data,
				jetstream.WithMsgTTL(10*time.Minute), jetstream.WithStallWait(10*time.Second))
			require.NoError(b, err)
		}
		<-js.PublishAsyncComplete()
	})
}

// BenchmarkClaim is Put at 0 from 16 goroutines.
func BenchmarkClaim(b *testing.B) {
	br := setup(b, queue.Options{})
	var n atomic.Int64
	b.SetParallelism(16 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := br.Put(context.Background(), status(fmt.Sprint("job-", n.Add(1)), job.Sending), 0)
			if err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkNextAck drains jobs that already wait, with one worker a session. Run it with -benchtime 8000x: where
// more than one of the server's 4 MB blocks waits (some 8,000 jobs), nats-server 2.15.2 reads a whole block again
// for each acknowledgement that comes alone, which costs about 1 ms of CPU a job, whoever pulls.
func BenchmarkNextAck(b *testing.B) {
	for _, sessions := range []int{1, 20} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			br := setup(b, queue.Options{})
			var wg sync.WaitGroup
			wg.Add(b.N)
			for n := range b.N {
				br.Publish(context.Background(), sealed(fmt.Sprint("job-", n)), 10*time.Minute, func(error) { wg.Done() })
			}
			wg.Wait()
			var left atomic.Int64
			left.Store(int64(b.N))
			sources := make([]*queue.Jobs, sessions)
			for s := range sources {
				sources[s] = open(b, br, fmt.Sprintf("sess%04d", s))
			}
			ctx, cancel := context.WithCancel(context.Background())
			b.ResetTimer()
			for _, j := range sources {
				wg.Go(func() {
					for {
						d, err := j.Next(ctx)
						if err != nil {
							return
						}
						_ = d.Ack()
						if left.Add(-1) == 0 {
							cancel()
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			cancel()
			b.ReportMetric(float64(br.LostPulls()), "lost-pulls")
		})
	}
}

// BenchmarkBareFetchAck is what jetstream's Fetch(1) does from one goroutine: the ceiling of one session.
func BenchmarkBareFetchAck(b *testing.B) {
	nc := connect(b, serve(b))
	br := run(b, nc, queue.Options{})
	ready(b, br)
	var wg sync.WaitGroup
	wg.Add(b.N)
	for n := range b.N {
		br.Publish(context.Background(), sealed(fmt.Sprint("job-", n)), 10*time.Minute, func(error) { wg.Done() })
	}
	wg.Wait()
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	c, err := js.CreateOrUpdateConsumer(context.Background(), "WABEK_OTP", jetstream.ConsumerConfig{
		Durable: "bare", FilterSubject: "wabek.job.otp.default.any.*", AckPolicy: jetstream.AckExplicitPolicy,
		MaxAckPending: 10_000,
	})
	require.NoError(b, err)
	b.ResetTimer()
	for range b.N {
		m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
		require.NoError(b, err)
		require.NoError(b, m.Ack())
	}
}

// BenchmarkLatency is from Publish until Next returns, one job at a time with the session waiting.
func BenchmarkLatency(b *testing.B) {
	br := setup(b, queue.Options{})
	j := open(b, br, session)
	for n := range b.N {
		br.Publish(context.Background(), sealed(fmt.Sprint("job-", n)), 10*time.Minute, func(error) {})
		d, err := j.Next(context.Background())
		require.NoError(b, err)
		require.NoError(b, d.Ack())
	}
}
