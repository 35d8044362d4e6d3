package job_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
)

// Whatever comes as the sealed body of a job opens only if it is the one that was sealed, for that job, lane and pool.
func FuzzOpen(f *testing.F) {
	secret, err := keys.NewSecret("a secret of at least thirty-two characters")
	require.NoError(f, err)
	seal := keys.DeriveSealKeys(secret, keys.Secret{})
	to, err := phone.Restore("+905551234567")
	require.NoError(f, err)
	good, err := job.Seal(seal, "job-1", job.LaneOTP, "default", job.Body{To: to, Text: "code", MessageID: "3EB0", Expires: time.UnixMilli(1)})
	require.NoError(f, err)
	f.Add(good.Sealed, "job-1", "otp", "default")
	f.Add(good.Sealed, "job-2", "otp", "default")
	f.Add(good.Sealed, "job-1", "notice", "default")
	f.Add(good.Sealed, "job-1", "otp", "other")
	f.Add(good.Sealed[:len(good.Sealed)-1], "job-1", "otp", "default")
	f.Add([]byte{}, "", "", "")
	f.Add([]byte{2}, "job-1", "otp", "default")
	f.Fuzz(func(t *testing.T, sealed []byte, id, lane, pool string) {
		body, err := job.Open(seal, job.Envelope{ID: job.ID(id), Lane: job.Lane(lane), Pool: pool, Sealed: sealed})
		// Seeds come from another process, which has sealed them with a nonce of its own.
		mine := id == "job-1" && lane == "otp" && pool == "default"
		if err == nil {
			require.True(t, mine)
			require.Equal(t, "code", body.Text)
		}
		if mine && bytes.Equal(sealed, good.Sealed) {
			require.NoError(t, err)
		}
	})
}
