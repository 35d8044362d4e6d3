package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

// laneCallback is the lane of callbacks among the dead letters.
const laneCallback job.Lane = "callback"

func deadCallbackSubject(app, id string) string { return deadSubject(laneCallback, app, job.ID(id)) }

// PutDeadCallback stores the letter of a callback that was given up. There may be several of one app and id: where one
// was given up twice, or again after it was replayed. Errors wrap job.ErrName or ErrUnavailable.
func (b *Broker) PutDeadCallback(ctx context.Context, app, id string, letter []byte) error {
	if err := checkTask(app, id); err != nil {
		return fmt.Errorf("store dead callback: %w", err)
	}
	if _, err := b.js.Publish(ctx, deadCallbackSubject(app, id), letter); err != nil {
		return unavailable("store dead callback", err)
	}
	return nil
}

// DeadCallback reads the latest letter of an app's callback, and its place; nil where there is none. Errors wrap
// job.ErrName or ErrUnavailable.
func (b *Broker) DeadCallback(ctx context.Context, app, id string) (letter []byte, place uint64, err error) {
	if err := checkTask(app, id); err != nil {
		return nil, 0, fmt.Errorf("read dead callback: %w", err)
	}
	return b.deadMessage(ctx, map[string]any{"last_by_subj": deadCallbackSubject(app, id)})
}

// DropDeadCallback removes the letter at a place, and no other. Where there is none any more, that is fine. Errors wrap
// ErrUnavailable.
func (b *Broker) DropDeadCallback(ctx context.Context, place uint64) error {
	var resp struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := b.request(ctx, "STREAM.MSG.DELETE."+streamDead, map[string]any{"seq": place, "no_erase": true}, &resp); err != nil {
		return unavailable("drop dead callback", err)
	}
	if resp.Error == nil {
		return nil
	}
	switch _, found, err := b.deadMessage(ctx, map[string]any{"seq": place}); {
	case err != nil:
		return err
	case found == 0:
		return nil
	default:
		return unavailable("drop dead callback", resp.Error)
	}
}

// DeadCallbacks reads up to limit letters of an app, the oldest first, above the place after: 0 for the first ones.
// each is told the place of each letter. Errors wrap job.ErrName or ErrUnavailable.
func (b *Broker) DeadCallbacks(ctx context.Context, app string, after uint64, limit int, each func(place uint64, letter []byte)) error {
	if err := job.CheckPool(app); err != nil {
		return fmt.Errorf("list dead callbacks: %w", err)
	}
	for range limit {
		letter, place, err := b.deadMessage(ctx, map[string]any{"seq": after + 1, "next_by_subj": deadCallbackSubject(app, "*")})
		if err != nil || place == 0 {
			return err
		}
		each(place, letter)
		after = place
	}
	return nil
}

// deadMessage reads one message of the dead letters; place 0 where there is none.
func (b *Broker) deadMessage(ctx context.Context, which map[string]any) (data []byte, place uint64, err error) {
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64 `json:"seq"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	err = b.request(ctx, "STREAM.MSG.GET."+streamDead, which, &resp)
	switch {
	case err != nil:
		return nil, 0, unavailable("read dead letter", err)
	case resp.Error != nil && resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, 0, nil
	case resp.Error != nil:
		return nil, 0, unavailable("read dead letter", resp.Error)
	case resp.Message == nil:
		return nil, 0, unavailable("read dead letter", errors.New("empty answer"))
	}
	return resp.Message.Data, resp.Message.Sequence, nil
}

// PurgeDeadCallbacks removes the letter of an app's callback, or all of the app's where id is "", and says how many
// there were. Errors wrap job.ErrName or ErrUnavailable.
func (b *Broker) PurgeDeadCallbacks(ctx context.Context, app, id string) (int, error) {
	if id != "" {
		if err := checkTask(app, id); err != nil {
			return 0, fmt.Errorf("purge dead callbacks: %w", err)
		}
	} else if err := job.CheckPool(app); err != nil {
		return 0, fmt.Errorf("purge dead callbacks: %w", err)
	} else {
		id = "*"
	}
	return b.purge(ctx, streamDead, deadCallbackSubject(app, id))
}

// ForgetCallbacks removes everything that is kept for an app: what waits, what was given up, and its consumer. It is
// for an app that is deleted, so that a later one of its name doesn't get what was meant for it.
func (b *Broker) ForgetCallbacks(ctx context.Context, app string) error {
	if err := job.CheckPool(app); err != nil {
		return fmt.Errorf("forget callbacks: %w", err)
	}
	err := b.js.DeleteConsumer(ctx, streamCallback, taskConsumer(app))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return unavailable("forget callbacks", err)
	}
	if _, err := b.purge(ctx, streamCallback, taskCallback.subject(app, "*")); err != nil {
		return err
	}
	_, err = b.PurgeDeadCallbacks(ctx, app, "")
	return err
}

func (b *Broker) purge(ctx context.Context, stream, filter string) (int, error) {
	var resp struct {
		Error  *jetstream.APIError `json:"error"`
		Purged uint64              `json:"purged"`
	}
	if err := b.request(ctx, "STREAM.PURGE."+stream, map[string]string{"filter": filter}, &resp); err != nil {
		return 0, unavailable("purge", err)
	}
	if resp.Error != nil {
		return 0, unavailable("purge", resp.Error)
	}
	return int(resp.Purged), nil //nolint:gosec // a stream holds a million at most
}
