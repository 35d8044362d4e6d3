package whatsapp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/store"

	"wabek/internal/job"
	"wabek/internal/whatsapp"
)

func TestMaskNumbers(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"no LID found for 905551234567@s.whatsapp.net from server":   "no LID found for •••••67@s.whatsapp.net from server",
		"for 905551234567:12@s.whatsapp.net and 123456789012345@lid": "for •••••67:12@s.whatsapp.net and •••••45@lid",
		"session 100000000000001_1:0 is gone":                        "session •••••01_1:0 is gone",
		"+905551234567":                                              "+•••••67",
		"x905551234567y":                                             "x•••••67y",
		"3EB0123456789012345678 has no number":                       "3EB0123456789012345678 has no number",
		"3EB01234567890123456789 is no id":                           "3EB•••••89 is no id",
		"server returned error 463, iq 12.34-567":                    "server returned error 463, iq 12.34-567",
	} {
		require.Equal(t, want, whatsapp.MaskNumbers(in))
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	disconnected := &whatsmeow.DisconnectedError{Action: "message send"}
	for name, c := range map[string]struct {
		err    error
		out    bool
		class  job.FailureClass
		reason job.Reason
	}{
		"acknowledgement timed out":               {whatsmeow.ErrMessageTimedOut, true, job.UnknownOutcome, job.ReasonUnconfirmed},
		"deadline while waiting":                  {context.DeadlineExceeded, true, job.UnknownOutcome, job.ReasonUnconfirmed},
		"cut while waiting":                       {disconnected, true, job.UnknownOutcome, job.ReasonUnconfirmed},
		"no socket at the first write":            {fmt.Errorf("failed to send message node: %w", whatsmeow.ErrNotConnected), true, job.NotSent, job.ReasonDisconnected},
		"closed socket at the first write":        {fmt.Errorf("failed to send message node: %w", socket.ErrSocketClosed), true, job.NotSent, job.ReasonDisconnected},
		"no socket at the second write":           {whatsmeow.ErrNotConnected, true, job.UnknownOutcome, job.ReasonUnconfirmed},
		"write broke":                             {fmt.Errorf("failed to send message node: %w", errors.New("broken pipe")), true, job.UnknownOutcome, job.ReasonUnconfirmed},
		"cut during a look-up":                    {fmt.Errorf("failed to get device list: %w", &whatsmeow.DisconnectedError{Action: "info query"}), false, job.NotSent, job.ReasonDisconnected},
		"deadline during a look-up":               {fmt.Errorf("failed to get device list: %w", context.DeadlineExceeded), false, job.NotSent, job.ReasonDisconnected},
		"look-up limited":                         {fmt.Errorf("failed to get user info: %w", whatsmeow.ErrIQRateOverLimit), false, job.SessionFault, job.ReasonRateLimited},
		"look-up failed":                          {fmt.Errorf("failed to get user info: %w", whatsmeow.ErrIQInternalServerError), false, job.NotSent, job.ReasonUnreachable},
		"number unknown":                          {errors.New("no LID found for 905551234567@s.whatsapp.net from server"), false, job.RecipientFault, job.ReasonNotOnWhatsApp},
		"device deleted":                          {fmt.Errorf("failed: %w", store.ErrDeviceDeleted), false, job.SessionFault, job.ReasonLoggedOut},
		"not paired":                              {whatsmeow.ErrNotLoggedIn, false, job.SessionFault, job.ReasonLoggedOut},
		"not connected":                           {whatsmeow.ErrNotConnected, false, job.NotSent, job.ReasonDisconnected},
		"id of another job":                       {fmt.Errorf("failed to save: %w", whatsapp.ErrIDTaken), false, job.Poison, job.ReasonUnreadable},
		"ledger broken":                           {errors.New("disk full"), false, job.NotSent, job.ReasonUnreachable},
		"refused with 463":                        {fmt.Errorf("%w %d", whatsmeow.ErrServerReturnedError, 463), true, job.SessionFault, job.ReasonReachOutLimited},
		"refused with a code nobody knows":        {fmt.Errorf("%w %d", whatsmeow.ErrServerReturnedError, 599), true, job.NotSent, job.ReasonRefused},
		"refused without a code that we can read": {whatsmeow.ErrServerReturnedError, true, job.NotSent, job.ReasonRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := whatsapp.Classify(c.err, c.out)
			require.Equal(t, c.class.String(), f.Class.String())
			require.Equal(t, c.reason, f.Reason)
			require.NotContains(t, f.Error(), "905551234567")
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for tries, longest := range map[int]time.Duration{
		0: 250 * time.Millisecond, 1: 500 * time.Millisecond, 6: 16 * time.Second, 7: 30 * time.Second, 1000: 30 * time.Second,
	} {
		for range 100 {
			d := whatsapp.Backoff(tries)
			require.LessOrEqual(t, d, longest)
			require.Greater(t, d, longest/2-1)
		}
	}
}
