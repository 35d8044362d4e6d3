package stories_test

import (
	"cmp"
	"errors"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"wabek/internal/job"
)

// history is what the status stream says of every job, by job and in order.
type history map[job.ID][]job.Status

// history reads the whole status stream.
func (w *world) history() history {
	t := w.t
	t.Helper()
	nc, err := nats.Connect(w.natsURL)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx := t.Context()
	stream, err := js.Stream(ctx, "WABEK_STATUS")
	require.NoError(t, err)
	info, err := stream.Info(ctx)
	require.NoError(t, err)
	all := history{}
	if info.State.Msgs == 0 {
		return all
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(patient))
		require.NoError(t, err)
		s, err := job.DecodeStatus(m.Data())
		if !errors.Is(err, job.ErrMalformed) || len(m.Data()) > 0 { // an empty one marks a TTL's end
			require.NoError(t, err)
			all[s.Job] = append(all[s.Job], s)
		}
		meta, err := m.Metadata()
		require.NoError(t, err)
		if meta.Sequence.Stream >= info.State.LastSeq {
			return all
		}
	}
}

// interrupted is a send that was in flight when its sender died: a claim that its own life of the sender neither
// gave back nor concluded.
type interrupted struct {
	job   job.ID
	fence uint64 // of that life
	try   int
}

// interruptedSends lists the sends in flight at the kills, in the order of the kills.
func (h history) interruptedSends() []interrupted {
	var all []interrupted
	for id, steps := range h {
		for i, s := range steps {
			if s.State != job.Sending || s.Released {
				continue
			}
			if i+1 < len(steps) && steps[i+1].Fence == s.Fence {
				continue // given back or concluded by the same life
			}
			all = append(all, interrupted{job: id, fence: s.Fence, try: s.Try})
		}
	}
	slices.SortFunc(all, func(a, b interrupted) int { return cmp.Or(cmp.Compare(a.fence, b.fence), cmp.Compare(a.job, b.job)) })
	return all
}

func jobID(otp string) job.ID { return job.ID(otp) }

// firstStates names the first states of a job.
func firstStates(steps []job.Status, n int) (names []string) {
	for _, s := range steps[:min(n, len(steps))] {
		names = append(names, string(s.State))
	}
	return names
}

// of tells the steps of some jobs.
func (h history) of(otps []string) map[string][]job.Status {
	some := map[string][]job.Status{}
	for _, id := range otps {
		some[id] = h[jobID(id)]
	}
	return some
}
