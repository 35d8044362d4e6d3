package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

// reader is Statuses running, with all that it applied.
type reader struct {
	mu      sync.Mutex
	batches [][]job.Status
	fail    int // so many applies yet
	stop    func()
}

func read(t *testing.T, b *queue.Broker, fail int) *reader {
	t.Helper()
	r := &reader{fail: fail}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Statuses(ctx, "api", func(_ context.Context, batch []job.Status) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.fail > 0 {
				r.fail--
				return errors.New("disk full")
			}
			r.batches = append(r.batches, append([]job.Status(nil), batch...))
			return nil
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(r.stop)
	return r
}

func (r *reader) all() []job.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []job.Status
	for _, batch := range r.batches {
		out = append(out, batch...)
	}
	return out
}

func (r *reader) has(id job.ID) bool {
	for _, s := range r.all() {
		if s.Job == id {
			return true
		}
	}
	return false
}

func (r *reader) wait(t *testing.T, n int) []job.Status {
	t.Helper()
	require.Eventually(t, func() bool { return len(r.all()) >= n }, patient, 5*time.Millisecond)
	return r.all()
}

func put(t *testing.T, b *queue.Broker, id string, st job.State) {
	t.Helper()
	_, _, err := job.Raise(within(t), b, status(id, st), 0)
	require.NoError(t, err)
}

func TestStatuses_ComeInOrderAndInBatchesOnceEach(t *testing.T) {
	t.Parallel()
	const jobs = 1200
	b := setup(t, queue.Options{})
	for n := range jobs {
		put(t, b, fmt.Sprint("job-", n), job.Sending)
	}
	r := read(t, b, 0)
	r.wait(t, jobs)
	put(t, b, "job-0", job.Sent)
	got := r.wait(t, jobs+1)
	require.Len(t, got, jobs+1)
	for n := range jobs {
		require.Equal(t, job.ID(fmt.Sprint("job-", n)), got[n].Job)
	}
	last := status("job-0", job.Sent)
	last.Seq = jobs + 1 // its place in the stream, which began empty
	require.Equal(t, last, got[jobs])
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, batch := range r.batches {
		require.LessOrEqual(t, len(batch), 512)
	}
	require.Less(t, len(r.batches), 20)
}

func TestStatuses_GoOnWhereTheReaderWas(t *testing.T) {
	t.Parallel()
	b := setup(t, queue.Options{})
	put(t, b, "job-1", job.Sending)
	first := read(t, b, 0)
	first.wait(t, 1)
	first.stop()
	put(t, b, "job-2", job.Sending)
	second := read(t, b, 0)
	got := second.wait(t, 1)
	require.Equal(t, job.ID("job-2"), got[len(got)-1].Job)
}

func TestStatuses_ABatchThatFailsIsAppliedAgain(t *testing.T) {
	t.Parallel()
	log, book := logger(t)
	b := setup(t, queue.Options{Logger: log})
	put(t, b, "job-1", job.Sending)
	r := read(t, b, 2)
	require.Equal(t, job.ID("job-1"), r.wait(t, 1)[0].Job)
	require.Equal(t, 1, book.count("can't apply statuses"), "said once")
}

func TestStatuses_PassOverWhatTheyCannotRead(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	log, book := logger(t)
	b := run(t, nc, queue.Options{Logger: log})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, text := range []string{`{`, `{"v":99,"job":"x"}`} {
		_, err := js.Publish(within(t), "wabek.status.default.x", []byte(text))
		require.NoError(t, err)
	}
	r := read(t, b, 0)
	require.Eventually(t, func() bool { return book.count("passed over") == 2 }, patient, 5*time.Millisecond,
		"also where nothing else comes")
	put(t, b, "job-1", job.Sending)
	require.Len(t, r.wait(t, 1), 1)
}

func TestStatuses_GoOnAfterTheReaderOrTheStreamWasDeleted(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	put(t, b, "job-1", job.Sending)
	r := read(t, b, 0)
	r.wait(t, 1)
	require.NoError(t, js.DeleteConsumer(within(t), "WABEK_STATUS", "api"))
	put(t, b, "job-2", job.Sending)
	require.Eventually(t, func() bool { return r.has("job-2") }, patient, 5*time.Millisecond)
	require.NoError(t, js.DeleteStream(within(t), "WABEK_STATUS"))
	require.Eventually(t, func() bool {
		_, _, err := job.Raise(within(t), b, status("job-3", job.Sending), 0)
		return err == nil
	}, patient, 5*time.Millisecond, "the stream is made again")
	require.Eventually(t, func() bool { return r.has("job-3") }, patient, 5*time.Millisecond)
}
