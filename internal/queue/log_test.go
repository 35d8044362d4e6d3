package queue_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/queue"
)

var _ job.Log = (*queue.Broker)(nil)

func status(id string, st job.State) job.Status {
	return job.Status{Job: job.ID(id), Pool: pool, State: st, Session: session}
}

func TestLog_KeepsTheLastStatusOfAJob(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	ctx := within(t)

	_, seq, err := b.Last(ctx, pool, "job-1")
	require.NoError(t, err)
	require.Zero(t, seq, "none yet")

	first, err := b.Put(ctx, status("job-1", job.Sending), 0)
	require.NoError(t, err)
	_, err = b.Put(ctx, status("job-1", job.Sending), 0)
	require.ErrorIs(t, err, job.ErrConflict, "0 means none at all")
	require.NotErrorIs(t, err, queue.ErrUnavailable)
	second, err := b.Put(ctx, status("job-1", job.Sent), first)
	require.NoError(t, err)
	require.Greater(t, second, first)
	_, err = b.Put(ctx, status("job-1", job.Failed), first)
	require.ErrorIs(t, err, job.ErrConflict)

	got, seq, err := b.Last(ctx, pool, "job-1")
	require.NoError(t, err)
	require.Equal(t, second, seq)
	require.Equal(t, status("job-1", job.Sent), got)

	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(ctx, "WABEK_STATUS")
	require.NoError(t, err)
	m, err := s.GetMsg(ctx, second)
	require.NoError(t, err)
	require.Equal(t, "10800", m.Header.Get("Nats-TTL"), "3 h: an OTP's longest life and two more")
}

func TestLog_LeavesANewerFormatAlone(t *testing.T) {
	t.Parallel()
	nc := connect(t, serve(t))
	b := run(t, nc, queue.Options{})
	ready(t, b)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ack, err := js.Publish(within(t), "wabek.status.default.job-1", []byte(`{"v":99,"job":"job-1"}`))
	require.NoError(t, err)
	_, seq, err := b.Last(within(t), pool, "job-1")
	require.ErrorIs(t, err, job.ErrNewerFormat)
	require.Equal(t, ack.Sequence, seq)
}

func TestLog_OfTwoThatClaimAtOnceExactlyOneWins(t *testing.T) {
	t.Parallel()
	const jobs = 1000
	srv := serve(t)
	var brokers [2]*queue.Broker
	for i := range brokers {
		brokers[i] = run(t, connect(t, srv), queue.Options{})
		ready(t, brokers[i])
	}
	var won [2][jobs]bool
	var wg sync.WaitGroup
	for i, b := range brokers {
		for part := range 4 {
			wg.Go(func() {
				for n := part; n < jobs; n += 4 {
					_, err := b.Put(t.Context(), status(fmt.Sprint("job-", n), job.Sending), 0)
					won[i][n] = err == nil
					if err != nil && !errors.Is(err, job.ErrConflict) {
						t.Errorf("claim: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	for n := range jobs {
		require.NotEqual(t, won[0][n], won[1][n], "job %d", n)
	}
}

func TestLog_ARaceOfRaisesEndsAtTheHighestAndNeverFalls(t *testing.T) {
	t.Parallel()
	const jobs = 200
	srv := serve(t)
	nc := connect(t, srv)
	b := run(t, nc, queue.Options{})
	ready(t, b)
	var wg sync.WaitGroup
	for _, st := range []job.State{job.Sent, job.Delivered, job.Read} {
		racer := run(t, connect(t, srv), queue.Options{})
		wg.Go(func() {
			for n := range jobs {
				if _, _, err := job.Raise(t.Context(), racer, status(fmt.Sprint("job-", n), st), 0); err != nil {
					t.Errorf("raise: %v", err)
				}
			}
		})
	}
	wg.Wait()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(within(t), "WABEK_STATUS")
	require.NoError(t, err)
	rank := map[job.ID]int{}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(within(t), seq)
		require.NoError(t, err)
		st, err := job.DecodeStatus(m.Data)
		require.NoError(t, err)
		require.Greater(t, st.State.Rank(), rank[st.Job], "%s fell to %s", st.Job, st.State)
		rank[st.Job] = st.State.Rank()
	}
	require.Len(t, rank, jobs)
	for id, r := range rank {
		require.Equal(t, job.Read.Rank(), r, "%s", id)
	}
}

func TestLog_HistoryIsWhatStandsBehind(t *testing.T) {
	t.Parallel()
	b := run(t, connect(t, serve(t)), queue.Options{})
	ready(t, b)
	ctx := within(t)
	all, err := b.History(ctx, pool, "job-1", 0)
	require.NoError(t, err)
	require.Empty(t, all)
	var at uint64
	var want []job.Status
	for _, state := range []job.State{job.Sending, job.Sent, job.Delivered} {
		_, err := b.Put(ctx, status("job-2", state), at) // another job's lie between
		require.NoError(t, err)
		s := status("job-1", state)
		last := uint64(0)
		if len(want) > 0 {
			last = want[len(want)-1].Seq
		}
		s.Seq, err = b.Put(ctx, s, last)
		require.NoError(t, err)
		want = append(want, s)
		at = s.Seq - 1
	}
	for n := range len(want) + 1 {
		after := uint64(0)
		if n > 0 {
			after = want[n-1].Seq
		}
		all, err := b.History(ctx, pool, "job-1", after)
		require.NoError(t, err)
		require.Equal(t, want[n:], append([]job.Status{}, all...))
	}
}
