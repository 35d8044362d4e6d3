package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabek/internal/job"
)

// The streams and the bucket.
const (
	streamOTP      = "WABEK_OTP"
	streamNotice   = "WABEK_NOTICE"
	streamStatus   = "WABEK_STATUS"
	streamCallback = "WABEK_CALLBACK"
	streamEvent    = "WABEK_EVENT"
	streamWish     = "WABEK_WISH"
	streamDead     = "WABEK_DEAD"
	bucketLease    = "WABEK_LEASE"
)

const (
	statusesPerJob = 8              // of one job, more than the steps it can take
	statusMaxAge   = 24 * time.Hour // ceiling for a status without TTL, or with a longer one
	deadMaxAge     = 7 * 24 * time.Hour
	maxOTPs        = 1_000_000 // some 500 MB
	maxNotices     = 200_000
	maxDead        = 100_000
	leaseMarkerTTL = time.Hour // how long the bucket says that a lease has lapsed
)

// streams is the table of all streams. Everything is on disk and uncompressed. Consumers of job streams are not
// in it: each Jobs makes its own.
func streams(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		jobStream(streamOTP, job.LaneOTP, maxOTPs, replicas),
		jobStream(streamNotice, job.LaneNotice, maxNotices, replicas),
		{
			Name:              streamStatus,
			Description:       "claims and outcomes of send jobs",
			Subjects:          []string{"wabek.status.*.*"},
			Retention:         jetstream.LimitsPolicy,
			Storage:           jetstream.FileStorage,
			Replicas:          replicas,
			MaxMsgsPerSubject: statusesPerJob,
			Discard:           jetstream.DiscardOld,
			MaxAge:            statusMaxAge,
			AllowMsgTTL:       true,
			AllowDirect:       false, // a claim must see the leader's state, not a follower's
		},
		callbackStream(replicas),
		eventStream(replicas),
		wishStream(replicas),
		{
			Name:        streamDead,
			Description: "jobs given up: reason and ids; callbacks given up, whole",
			Subjects:    []string{"wabek.dead.*.*.*"},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			Replicas:    replicas,
			MaxMsgs:     maxDead,
			Discard:     jetstream.DiscardOld,
			MaxAge:      deadMaxAge,
		},
	}
}

// jobStream is a work queue that holds each job at most once per target: publishing one that still waits is
// refused, never doubled and never replaced. No Nats-Msg-Id anywhere: the server looks at it first and would
// answer success for a forward that it didn't store.
func jobStream(name string, lane job.Lane, limit int64, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 name,
		Description:          "send jobs, lane " + string(lane),
		Subjects:             []string{"wabek.job." + string(lane) + ".*.*.*"},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Replicas:             replicas,
		MaxMsgs:              limit,
		MaxMsgsPerSubject:    1,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		AllowMsgTTL:          true,
	}
}

// ensureStreams makes what is missing and mends what differs.
func (b *Broker) ensureStreams(ctx context.Context) error {
	for _, cfg := range streams(b.o.Replicas) {
		if _, err := b.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("make stream %s: %w", cfg.Name, err)
		}
	}
	_, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         bucketLease,
		Description:    "who runs which session",
		History:        1,
		Storage:        jetstream.FileStorage,
		Replicas:       b.o.Replicas,
		LimitMarkerTTL: leaseMarkerTTL,
	})
	if err != nil {
		return fmt.Errorf("make bucket %s: %w", bucketLease, err)
	}
	return nil
}

func laneStream(l job.Lane) string {
	if l == job.LaneNotice {
		return streamNotice
	}
	return streamOTP
}

func jobSubject(l job.Lane, pool, target string, id job.ID) string {
	return "wabek.job." + string(l) + "." + pool + "." + target + "." + string(id)
}

// targetFilter matches every job of one target.
func targetFilter(l job.Lane, pool, target string) string { return jobSubject(l, pool, target, "*") }

func statusSubject(pool string, id job.ID) string { return "wabek.status." + pool + "." + string(id) }

func deadSubject(l job.Lane, pool string, id job.ID) string {
	return "wabek.dead." + string(l) + "." + pool + "." + string(id)
}

func heartbeatSubject(pool, session string) string { return "wabek.heartbeat." + pool + "." + session }

// jobAt reads what a job's subject says of it. Errors wrap job.ErrMalformed.
func jobAt(subject string) (job.Envelope, error) {
	t := strings.Split(subject, ".")
	if len(t) != 6 || t[0] != "wabek" || t[1] != "job" {
		return job.Envelope{}, fmt.Errorf("%w: subject", job.ErrMalformed)
	}
	e := job.Envelope{Lane: job.Lane(t[2]), Pool: t[3], Target: t[4], ID: job.ID(t[5])}
	if err := checkAddress(e); err != nil {
		return job.Envelope{}, fmt.Errorf("%w: subject: %w", job.ErrMalformed, err)
	}
	return e, nil
}

// checkAddress refuses what can't stand in a subject. Errors wrap job.ErrName.
func checkAddress(e job.Envelope) error {
	if e.Lane != job.LaneOTP && e.Lane != job.LaneNotice {
		return fmt.Errorf("%w: lane", job.ErrName)
	}
	if err := job.CheckPool(e.Pool); err != nil {
		return err
	}
	if e.Target != job.AnySession {
		if err := job.CheckSession(e.Target); err != nil {
			return err
		}
	}
	_, err := job.ParseID(string(e.ID))
	return err
}
