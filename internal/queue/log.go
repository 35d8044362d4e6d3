package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

// codeWrongSequence is JetStream's answer to a wrong expected sequence.
const codeWrongSequence = 10071

// Last reads a job's latest status and its sequence from the stream's leader. Sequence 0: there is none.
// Errors: ErrUnavailable, job.ErrMalformed, and job.ErrNewerFormat together with the sequence.
func (b *Broker) Last(ctx context.Context, pool string, id job.ID) (job.Status, uint64, error) {
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64 `json:"seq"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	// Asked for directly: a stream handle would cost a STREAM.INFO, and chooses by its copy of the
	// configuration whether to ask the leader.
	if err := b.request(ctx, "STREAM.MSG.GET."+streamStatus, map[string]string{"last_by_subj": statusSubject(pool, id)}, &resp); err != nil {
		return job.Status{}, 0, unavailable("read status", err)
	}
	switch {
	case resp.Error != nil && resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return job.Status{}, 0, nil
	case resp.Error != nil:
		b.ask()
		return job.Status{}, 0, unavailable("read status", resp.Error)
	case resp.Message == nil:
		return job.Status{}, 0, unavailable("read status", errors.New("empty answer"))
	}
	s, err := job.DecodeStatus(resp.Message.Data)
	if err != nil {
		return job.Status{}, resp.Message.Sequence, fmt.Errorf("read status: %w", err)
	}
	return s, resp.Message.Sequence, nil
}

// mostHistory is how many statuses of a job the stream keeps.
const mostHistory = 8

// History gives the statuses of a job that stand behind after in the stream, in their order; 0 for all that are kept.
// Errors: those of Last.
func (b *Broker) History(ctx context.Context, pool string, id job.ID, after uint64) ([]job.Status, error) {
	var all []job.Status
	for range mostHistory {
		var resp struct {
			Error   *jetstream.APIError `json:"error"`
			Message *struct {
				Sequence uint64 `json:"seq"`
				Data     []byte `json:"data"`
			} `json:"message"`
		}
		next := map[string]any{"seq": after + 1, "next_by_subj": statusSubject(pool, id)}
		if err := b.request(ctx, "STREAM.MSG.GET."+streamStatus, next, &resp); err != nil {
			return nil, unavailable("read statuses", err)
		}
		switch {
		case resp.Error != nil && resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
			return all, nil
		case resp.Error != nil:
			return nil, unavailable("read statuses", resp.Error)
		case resp.Message == nil:
			return nil, unavailable("read statuses", errors.New("empty answer"))
		}
		after = resp.Message.Sequence
		if s, err := job.DecodeStatus(resp.Message.Data); err == nil { // one of a newer version is passed over
			s.Seq = after
			all = append(all, s)
		}
	}
	return all, nil
}

// Put stores a status where the job's latest one still has the sequence expected, 0 for none at all, and returns
// its own sequence. It is kept for Options.StatusTTL. It returns job.ErrConflict where the job has moved on;
// after any other error, which wraps ErrUnavailable, the status may or may not have been stored.
func (b *Broker) Put(ctx context.Context, s job.Status, expected uint64) (uint64, error) {
	data, err := s.Encode()
	if err != nil {
		return 0, fmt.Errorf("store status: %w", err)
	}
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{
		Subject: statusSubject(s.Pool, s.Job),
		Data:    data,
		Header: nats.Header{
			jetstream.MsgTTLHeader:              {ttl(b.o.StatusTTL)},
			jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expected, 10)}, // always, also 0
		},
	})
	var api *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.As(err, &api) && api.ErrorCode == codeWrongSequence:
		return 0, job.ErrConflict
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		b.ask()
	}
	return 0, unavailable("store status", err)
}
