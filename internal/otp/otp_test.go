package otp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

func TestNewCode(t *testing.T) {
	t.Parallel()
	for length := otp.MinLength; length <= otp.MaxLength; length++ {
		code, err := otp.NewCode(rand.Reader, length)
		require.NoError(t, err)
		require.Regexp(t, fmt.Sprintf(`^[0-9]{%d}$`, length), code)
	}
	for _, bad := range []int{0, 5, 11} {
		_, err := otp.NewCode(rand.Reader, bad)
		require.ErrorContains(t, err, "6 to 10 digits")
	}
	t.Run("keeps leading zeros", func(t *testing.T) {
		t.Parallel()
		code, err := otp.NewCode(bytes.NewReader(make([]byte, 20)), 6)
		require.NoError(t, err)
		require.Equal(t, "000000", code)
	})
	t.Run("passes over the bytes that would favour small digits", func(t *testing.T) {
		t.Parallel()
		source := append(bytes.Repeat([]byte{250, 255}, 10), bytes.Repeat([]byte{249}, 20)...)
		code, err := otp.NewCode(bytes.NewReader(source), 6)
		require.NoError(t, err)
		require.Equal(t, "999999", code)
	})
	t.Run("draws every digit about as often", func(t *testing.T) {
		t.Parallel()
		var counts [10]int
		for range 5000 {
			code, err := otp.NewCode(rand.Reader, 10)
			require.NoError(t, err)
			for _, d := range code {
				counts[d-'0']++
			}
		}
		// Chi-squared with 9 degrees of freedom: a fair source exceeds 50 once in ten million runs.
		var chi float64
		for _, n := range counts {
			chi += float64((n-5000)*(n-5000)) / 5000
		}
		require.Less(t, chi, 50.0)
	})
	t.Run("tells of a source that fails", func(t *testing.T) {
		t.Parallel()
		_, err := otp.NewCode(bytes.NewReader(nil), 6)
		require.Error(t, err)
	})
}

func TestNewID_IsAUUIDv7ThatSortsByTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64Range(0, 1<<47).Draw(t, "ms")
		id, err := otp.NewID(time.UnixMilli(at), rand.Reader)
		require.NoError(t, err)
		require.Equal(t, byte(7), byte(id.Version()))
		require.Equal(t, "RFC4122", id.Variant().String())
		require.Equal(t, at, otp.IssuedAt(id).UnixMilli())
		later, err := otp.NewID(time.UnixMilli(at+1), rand.Reader)
		require.NoError(t, err)
		require.Negative(t, bytes.Compare(id[:], later[:]))
		_, err = job.ParseID(id.String())
		require.NoError(t, err)
	})
}

// fixture is a service whose store keeps the one draft that it was last given.
type fixture struct {
	ring    *keys.Ring
	seal    *keys.SealKeys
	service *otp.Service
	now     time.Time
	draft   otp.Draft
	history otp.History
	err     error
}

func newFixture(t *testing.T, policy otp.Policy) *fixture {
	t.Helper()
	secret, err := keys.NewSecret(strings.Repeat("secret ", 8))
	require.NoError(t, err)
	f := &fixture{seal: keys.DeriveSealKeys(secret, keys.Secret{}), now: time.UnixMilli(1_800_000_000_000)}
	f.ring, _, err = keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(t, err)
	f.service, err = otp.NewService(f, f.ring, f.seal, policy, rand.Reader, func() time.Time { return f.now })
	require.NoError(t, err)
	return f
}

// Issue and Update make the fixture a store of one record: the whole contract is tested in record/recordtest.
func (f *fixture) Issue(_ context.Context, d otp.Draft, admit otp.Admit) error {
	if f.err != nil {
		return f.err
	}
	var err error
	f.draft = d
	f.history, err = admit(f.history)
	return err
}

func (f *fixture) Update(_ context.Context, id otp.ID, c otp.Change) error {
	switch {
	case f.err != nil:
		return f.err
	case id != f.draft.Record.ID:
		return otp.ErrNoRecord
	}
	return c.Rule(&f.draft.Record, &f.history)
}

func (f *fixture) Get(_ context.Context, id otp.ID) (otp.Record, error) {
	if f.err == nil && id != f.draft.Record.ID {
		return otp.Record{}, otp.ErrNoRecord
	}
	return f.draft.Record, f.err
}

func (f *fixture) Answered(context.Context, *otp.Once) error { return f.err }

func (f *fixture) Forgive(context.Context, string, phone.Hash) error { return f.err }

func (f *fixture) Latest(context.Context, string, phone.Hash, string) (otp.ID, error) {
	return f.draft.Record.ID, f.err
}

var standard = otp.Policy{Length: 6, Expiry: 10 * time.Minute, MaxAttempts: 3}

func (f *fixture) issue(t *testing.T) (otp.ID, string) {
	t.Helper()
	to, err := phone.Parse("+905551234567")
	require.NoError(t, err)
	issued, err := f.service.Issue(t.Context(), otp.Request{App: "shop", Pool: "default", Phone: to, Purpose: "login"})
	require.NoError(t, err)
	body, err := job.Open(f.seal, f.draft.Job)
	require.NoError(t, err)
	return issued.ID, regexp.MustCompile(`(?m)^[0-9]+$`).FindString(body.Text)
}

func (f *fixture) verify(t *testing.T, id otp.ID, code string) otp.Verdict {
	t.Helper()
	v, err := f.service.Verify(t.Context(), otp.Try{App: "shop", ID: id, Code: code})
	require.NoError(t, err)
	return v.Verdict
}

func TestIssue(t *testing.T) {
	t.Parallel()
	f := newFixture(t, standard)
	id, code := f.issue(t)
	record, envelope := f.draft.Record, f.draft.Job
	require.Equal(t, id, record.ID)
	require.Equal(t, job.ID(id.String()), envelope.ID)
	require.Equal(t, f.now.Add(10*time.Minute), record.Expires)
	require.Equal(t, record.Expires, envelope.Expires)
	require.Equal(t, "+90•••••4567", record.Masked)
	require.Equal(t, id, f.history.Open, "the new one is the open one")

	body, err := job.Open(f.seal, envelope)
	require.NoError(t, err)
	require.Equal(t, "+905551234567", body.To.E164())
	require.Equal(t, f.ring.MessageID(id.String()), body.MessageID)
	require.Contains(t, body.Text, "\n"+code+"\n", "on a line of its own")
	require.Contains(t, body.Text, "10 minutes")
	require.Contains(t, body.Text, "Do not share")

	kept := fmt.Sprintf("%+v", f.draft)
	require.NotContains(t, kept, code)
	require.NotContains(t, kept, "5551234567")
}

func TestVerify_ReasonsInOrder(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, f *fixture, code string)
		want otp.Verdict
		says string
	}{
		{"right code", func(*testing.T, *fixture, string) {}, otp.Valid, ""},
		{"used once", func(t *testing.T, f *fixture, code string) {
			t.Helper()
			require.Equal(t, otp.Valid, f.verify(t, f.draft.Record.ID, code))
		}, otp.AlreadyUsed, "OTP already used"},
		{"a millisecond before expiry", func(_ *testing.T, f *fixture, _ string) {
			f.now = f.now.Add(10*time.Minute - time.Millisecond)
		}, otp.Valid, ""},
		{"at expiry", func(_ *testing.T, f *fixture, _ string) { f.now = f.now.Add(10 * time.Minute) }, otp.Expired, "OTP expired"},
		{"expired before used", func(t *testing.T, f *fixture, code string) {
			t.Helper()
			require.Equal(t, otp.Valid, f.verify(t, f.draft.Record.ID, code))
			f.now = f.now.Add(time.Hour)
		}, otp.Expired, "OTP expired"},
		{"superseded", func(_ *testing.T, f *fixture, _ string) { f.draft.Record.Supersede(f.now) }, otp.WasSuperseded, "OTP superseded"},
		{"expired before superseded", func(_ *testing.T, f *fixture, _ string) {
			f.draft.Record.Supersede(f.now)
			f.now = f.now.Add(time.Hour)
		}, otp.Expired, "OTP expired"},
		{"locked", func(t *testing.T, f *fixture, _ string) {
			t.Helper()
			for range 3 {
				require.Equal(t, otp.Wrong, f.verify(t, f.draft.Record.ID, "wrong"), "the last allowed one too")
			}
		}, otp.TooManyAttempts, "Too many attempts"},
		{"superseded before locked", func(t *testing.T, f *fixture, _ string) {
			t.Helper()
			for range 3 {
				f.verify(t, f.draft.Record.ID, "wrong")
			}
			f.draft.Record.Supersede(f.now)
		}, otp.WasSuperseded, "OTP superseded"},
		{"used stays used when superseded", func(t *testing.T, f *fixture, code string) {
			t.Helper()
			f.verify(t, f.draft.Record.ID, code)
			f.draft.Record.Supersede(f.now)
		}, otp.AlreadyUsed, "OTP already used"},
		{"one wrong code before", func(t *testing.T, f *fixture, _ string) {
			t.Helper()
			require.Equal(t, "Invalid OTP", f.verify(t, f.draft.Record.ID, "000").Reason())
		}, otp.Valid, ""},
		{"cancelled", func(_ *testing.T, f *fixture, _ string) { f.draft.Record.State = otp.Cancelled }, otp.NotFound, "OTP not found"},
		{"another app's", func(_ *testing.T, f *fixture, _ string) { f.draft.Record.App = "other" }, otp.NotFound, "OTP not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, standard)
			id, code := f.issue(t)
			tc.do(t, f, code)
			got := f.verify(t, id, code)
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.says, got.Reason())
		})
	}
}

func TestVerify_ForgetsTheMessageOnceNobodyNeedsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, standard)
	id, code := f.issue(t)
	require.NotEmpty(t, f.draft.Record.Sealed)
	f.verify(t, id, "wrong")
	require.NotEmpty(t, f.draft.Record.Sealed)
	f.verify(t, id, code)
	require.Empty(t, f.draft.Record.Sealed)
	require.Equal(t, f.now, f.draft.Record.UsedAt)
}

func TestVerify_PausesAfterWrongCodes(t *testing.T) {
	t.Parallel()
	try := func(f *fixture, ahead time.Duration) error {
		f.history.Guesses = otp.Guesses{Wrong: 99, Last: f.now.Add(ahead)}
		_, err := f.service.Verify(t.Context(), otp.Try{App: "shop", ID: f.draft.Record.ID, Code: "wrong", Limits: otp.Limits{MaxGuesses: 100}})
		return err
	}
	f := newFixture(t, standard)
	f.issue(t)
	require.ErrorAs(t, try(f, 0), new(*otp.LimitError))
	require.ErrorAs(t, try(f, time.Hour), new(*otp.LimitError), "noted before the clock was set back a little")
	require.NoError(t, try(f, 365*24*time.Hour), "noted by a wrong clock: else the phone would wait for a year")
	require.Equal(t, otp.Guesses{Wrong: 100, Last: f.now, Stopped: true}, f.history.Guesses)
}

func TestVerify_UnknownIDsAndAStoreThatFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, standard)
	require.Equal(t, otp.NotFound, f.verify(t, otp.ID{1}, "123456"))
	f.err = errors.New("disk on fire")
	_, err := f.service.Verify(t.Context(), otp.Try{App: "shop", ID: otp.ID{1}, Code: "123456"})
	require.ErrorIs(t, err, f.err)
	to, perr := phone.Parse("+905551234567")
	require.NoError(t, perr)
	_, err = f.service.Issue(t.Context(), otp.Request{App: "shop", Pool: "default", Phone: to, Purpose: "login"})
	require.ErrorIs(t, err, f.err)
}

func TestVerify_OnlyTheCodeOfThisOTPMatches(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t, otp.Policy{Length: rapid.IntRange(6, 10).Draw(rt, "length"), Expiry: time.Minute, MaxAttempts: 1})
		id, code := f.issue(t)
		try := rapid.StringMatching(`[0-9]{0,11}`).Draw(rt, "try")
		if try == code {
			return
		}
		require.Equal(rt, otp.Wrong, f.verify(t, id, try))
	})
}

func TestDeliver_NeverGoesBack(t *testing.T) {
	t.Parallel()
	states := []job.State{job.Sending, job.Failed, job.Expired, job.Cancelled, job.Sent, job.Delivered, job.Read}
	rapid.Check(t, func(t *rapid.T) {
		r := otp.Record{ID: otp.ID{1}, Sends: uint8(rapid.IntRange(1, 3).Draw(t, "sends")), Delivery: job.Queued}
		highest := 0
		earlier := otp.Record{ID: r.ID, Sends: r.Sends + 1}
		require.False(t, r.Deliver(job.Status{Job: earlier.JobID(), State: job.Read}), "of another message")
		for _, s := range rapid.SliceOf(rapid.SampledFrom(states)).Draw(t, "statuses") {
			changed := r.Deliver(job.Status{Job: r.JobID(), State: s})
			require.Equal(t, s.Rank() > highest, changed)
			highest = max(highest, s.Rank())
			require.Equal(t, highest, r.Delivery.Rank())
		}
	})
}

func TestParseJobID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := otp.Record{ID: otp.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), Sends: uint8(rapid.IntRange(1, 255).Draw(t, "sends"))}
		_, err := job.ParseID(string(r.JobID()))
		require.NoError(t, err)
		id, n, ok := otp.ParseJobID(r.JobID())
		require.True(t, ok)
		require.Equal(t, r.ID, id)
		require.Equal(t, r.Sends, n)
	})
	own := otp.ID{1}.String()
	for _, other := range []string{"", own[1:], own + "-", own + "-1", own + "-02", own + "-256", own + "2", own + "-x", "x" + own, "notice-1"} {
		_, _, ok := otp.ParseJobID(job.ID(other))
		require.False(t, ok, other)
	}
}

func TestPolicy_Bounds(t *testing.T) {
	t.Parallel()
	require.NoError(t, standard.Validate())
	for _, bad := range []otp.Policy{
		{Length: 5, Expiry: time.Minute, MaxAttempts: 1},
		{Length: 11, Expiry: time.Minute, MaxAttempts: 1},
		{Length: 6, Expiry: time.Second, MaxAttempts: 1},
		{Length: 6, Expiry: 61 * time.Minute, MaxAttempts: 1},
		{Length: 6, Expiry: time.Minute, MaxAttempts: 0},
		{Length: 6, Expiry: time.Minute, MaxAttempts: 11},
	} {
		require.Error(t, bad.Validate(), "%+v", bad)
		_, err := otp.NewService(nil, nil, nil, bad, nil, nil)
		require.Error(t, err)
	}
}
