//nolint:thelper // these are the subtests themselves: a failure must name their own line
package recordtest

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/otp"
)

func rightCodeOnce(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Wrong, k.verify(t, s, id, wrong(code)))
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
	require.Equal(t, otp.AlreadyUsed, k.verify(t, s, id, code))
	require.Equal(t, otp.AlreadyUsed, k.verify(t, s, id, wrong(code)))
	r := k.record(t, id)
	require.Equal(t, otp.Used, r.State)
	require.WithinDuration(t, k.clock.now(), r.UsedAt, 0)
	require.EqualValues(t, 1, r.Attempts)
}

func unknownID(t *testing.T, k *kit) {
	s := k.service(t, policy())
	k.issue(t, s, request(t, 1))
	require.Equal(t, otp.NotFound, k.verify(t, s, otp.ID{1, 2, 3}, "123456"))
	err := k.change(otp.ID{1, 2, 3}, func(*otp.Record) error {
		t.Error("the rule ran without a record")
		return nil
	})
	require.ErrorIs(t, err, otp.ErrNoRecord)
}

func otherApp(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	v, err := s.Verify(context.Background(), otp.Try{App: "another", ID: id, Code: code})
	require.NoError(t, err)
	require.Equal(t, otp.NotFound, v.Verdict)
	require.Equal(t, otp.Valid, k.verify(t, s, id, code), "the other app's try must not have counted")
}

func expiredFirst(t *testing.T, k *kit) {
	s := k.service(t, policy())
	superseded, code1 := k.issue(t, s, request(t, 1))
	used, code2 := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Valid, k.verify(t, s, used, code2))
	locked, code3 := k.issue(t, s, request(t, 2))
	for range policy().MaxAttempts {
		require.Equal(t, otp.Wrong, k.verify(t, s, locked, wrong(code3)))
	}
	k.clock.advance(policy().Expiry - time.Millisecond)
	require.Equal(t, otp.WasSuperseded, k.verify(t, s, superseded, code1), "an OTP lives up to the moment it expires")
	k.clock.advance(time.Millisecond)
	require.Equal(t, otp.Expired, k.verify(t, s, superseded, code1))
	require.Equal(t, otp.Expired, k.verify(t, s, used, code2))
	require.Equal(t, otp.Expired, k.verify(t, s, locked, code3))
}

func supersededSecond(t *testing.T, k *kit) {
	s := k.service(t, policy())
	locked, code := k.issue(t, s, request(t, 1))
	for range policy().MaxAttempts {
		k.verify(t, s, locked, wrong(code))
	}
	require.Equal(t, otp.TooManyAttempts, k.verify(t, s, locked, code))
	k.issue(t, s, request(t, 1))
	require.Equal(t, otp.WasSuperseded, k.verify(t, s, locked, code))
	require.Equal(t, otp.WasSuperseded, k.verify(t, s, locked, wrong(code)))
}

func lockedThenUsed(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
	require.Equal(t, otp.AlreadyUsed, k.verify(t, s, id, wrong(code)), "used is told before the code is looked at")
	// No try counts once an OTP is used, so only a rule can make one that is both.
	require.NoError(t, k.change(id, func(r *otp.Record) error {
		r.Attempts = r.MaxAttempts
		return nil
	}))
	require.Equal(t, otp.TooManyAttempts, k.verify(t, s, id, code))
}

func lastWrongCode(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	for range policy().MaxAttempts {
		require.Equal(t, "Invalid OTP", k.verify(t, s, id, wrong(code)).Reason())
	}
	require.Equal(t, "Too many attempts", k.verify(t, s, id, wrong(code)).Reason())
	require.Equal(t, "Too many attempts", k.verify(t, s, id, code).Reason(), "not even the right code unlocks it")
	require.EqualValues(t, policy().MaxAttempts, k.record(t, id).Attempts)
}

func supersedeSameAlone(t *testing.T, k *kit) {
	s := k.service(t, policy())
	app, purpose := request(t, 1), request(t, 1)
	app.App, purpose.Purpose = "another", "payment"
	old, code := k.issue(t, s, request(t, 1))
	otherPhone, codePhone := k.issue(t, s, request(t, 2))
	otherPurpose, codePurpose := k.issue(t, s, purpose)
	otherApp, codeApp := k.issue(t, s, app)
	newer, codeNewer := k.issue(t, s, request(t, 1))

	require.Equal(t, otp.WasSuperseded, k.verify(t, s, old, code))
	require.Equal(t, otp.Valid, k.verify(t, s, otherPhone, codePhone))
	require.Equal(t, otp.Valid, k.verify(t, s, otherPurpose, codePurpose))
	require.Equal(t, otp.Valid, k.verify(t, s, newer, codeNewer))
	v, err := s.Verify(context.Background(), otp.Try{App: "another", ID: otherApp, Code: codeApp})
	require.NoError(t, err)
	require.Equal(t, otp.Valid, v.Verdict)
	require.Empty(t, k.record(t, old).Sealed, "nobody needs the message of a superseded OTP")
}

func usedNotSuperseded(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
	k.issue(t, s, request(t, 1))
	require.Equal(t, otp.AlreadyUsed, k.verify(t, s, id, code))
}

func expiredNotSuperseded(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, _ := k.issue(t, s, request(t, 1))
	k.clock.advance(policy().Expiry)
	k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Open, k.record(t, id).State)
}

func expiredForLong(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	for _, step := range []time.Duration{policy().Expiry + time.Minute, 23*time.Hour - time.Minute} {
		k.clock.advance(step)
		k.issue(t, s, request(t, 2)) // whatever tidies up at a write has its chance
		require.Equal(t, "OTP expired", k.verify(t, s, id, code).Reason())
	}
}

// issueUnder stores what a service would store, under a rule of its own.
func (k *kit) issueUnder(t *testing.T, r otp.Request, admit otp.Admit) (otp.ID, error) {
	t.Helper()
	capture := &captured{}
	s, err := otp.NewService(capture, k.ring, k.seals, policy(), rand.Reader, k.clock.now)
	require.NoError(t, err)
	_, err = s.Issue(context.Background(), r)
	require.NoError(t, err)
	return capture.draft.Record.ID, k.store.Issue(context.Background(), capture.draft, admit)
}

// history is what the rule of issuing would see.
func (k *kit) history(t *testing.T, r otp.Request) (h otp.History) {
	t.Helper()
	errLook := errors.New("only looking")
	_, err := k.issueUnder(t, r, func(before otp.History) (otp.History, error) {
		h = before
		h.Sends = append([]time.Time(nil), before.Sends...)
		return before, errLook
	})
	require.ErrorIs(t, err, errLook)
	return h
}

func admitSeesHistory(t *testing.T, k *kit) {
	s := k.service(t, policy())
	look := func() otp.History { return k.history(t, request(t, 1)) }
	require.Zero(t, look(), "no OTP yet, no message, no wrong code")
	id, code := k.issue(t, s, request(t, 1))
	h := look()
	require.Equal(t, id, h.Open)
	require.WithinDuration(t, k.clock.now().Add(policy().Expiry), h.Expires, 0)
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
	require.Zero(t, look().Open, "the OTP was used")
	k.issue(t, s, request(t, 1))
	k.clock.advance(policy().Expiry)
	require.Zero(t, look().Open, "the OTP has expired")
}

func admitKeepsOpen(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	_, err := k.issueUnder(t, request(t, 1), func(before otp.History) (otp.History, error) { return before, nil })
	require.NoError(t, err)
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
}

func admitRefuses(t *testing.T, k *kit) {
	s := k.service(t, policy())
	old, code := k.issue(t, s, request(t, 1))
	errLimit := errors.New("over a limit")
	id, err := k.issueUnder(t, request(t, 1), func(otp.History) (otp.History, error) { return otp.History{}, errLimit })
	require.ErrorIs(t, err, errLimit)
	require.Equal(t, otp.NotFound, k.verify(t, s, id, "123456"))
	require.Equal(t, otp.Valid, k.verify(t, s, old, code), "what was refused must not supersede")
}

func updateRefuses(t *testing.T, k *kit) {
	s := k.service(t, policy())
	for i := range 20 { // enough that the record lies on a page of the file, not in a copy
		k.issue(t, s, request(t, 10+i))
	}
	id, code := k.issue(t, s, request(t, 1))
	before := k.record(t, id)
	errRule := errors.New("refused by the rule")
	spoil := func(r *otp.Record) {
		r.State, r.Attempts, r.Sealed[0] = otp.Cancelled, 3, r.Sealed[0]+1
	}
	err := k.change(id, func(r *otp.Record) error {
		spoil(r)
		return errRule
	})
	require.ErrorIs(t, err, errRule)
	err = k.change(id, func(r *otp.Record) error {
		spoil(r)
		panic("a planted bug")
	})
	require.ErrorIs(t, err, otp.ErrRule)
	require.Equal(t, before, k.record(t, id))
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
}

func sealedUntilUsed(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	k.verify(t, s, id, wrong(code))
	require.NotEmpty(t, k.record(t, id).Sealed)
	k.verify(t, s, id, code)
	require.Empty(t, k.record(t, id).Sealed)
}

func cancelled(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Issue(ctx, request(t, 1))
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Verify(ctx, otp.Try{App: otp.DefaultApp, ID: id, Code: code})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, otp.Valid, k.verify(t, s, id, code), "nothing was done for a caller who had gone")
}

func reopenKeepsRecords(t *testing.T, k *kit) {
	s := k.service(t, policy())
	open, code := k.issue(t, s, request(t, 1))
	k.verify(t, s, open, wrong(code))
	used, code := k.issue(t, s, request(t, 2))
	k.verify(t, s, used, code)
	before := []otp.Record{k.record(t, open), k.record(t, used)}
	k.reopen()
	after := []otp.Record{k.record(t, open), k.record(t, used)}
	require.Equal(t, before, after)
}

func reopenKeepsVerdicts(t *testing.T, k *kit) {
	s := k.service(t, policy())
	open, codeOpen := k.issue(t, s, request(t, 1))
	used, codeUsed := k.issue(t, s, request(t, 2))
	require.Equal(t, otp.Valid, k.verify(t, s, used, codeUsed))
	locked, codeLocked := k.issue(t, s, request(t, 3))
	for range policy().MaxAttempts {
		require.Equal(t, otp.Wrong, k.verify(t, s, locked, wrong(codeLocked)))
	}
	old, codeOld := k.issue(t, s, request(t, 4))
	k.issue(t, s, request(t, 4))
	k.reopen()
	require.Equal(t, otp.AlreadyUsed, k.verify(t, s, used, codeUsed))
	require.Equal(t, otp.TooManyAttempts, k.verify(t, s, locked, codeLocked))
	require.Equal(t, otp.WasSuperseded, k.verify(t, s, old, codeOld))
	require.Equal(t, otp.Valid, k.verify(t, s, open, codeOpen))
	k.clock.advance(policy().Expiry)
	k.reopen()
	require.Equal(t, otp.Expired, k.verify(t, s, open, codeOpen))
}

func reopenKeepsHistory(t *testing.T, k *kit) {
	s := k.service(t, policy())
	old, codeOld := k.issue(t, s, request(t, 1))
	other, codeOther := k.issue(t, s, request(t, 2))
	k.clock.advance(policy().Expiry - time.Second)
	k.reopen()
	newer, codeNewer := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.WasSuperseded, k.verify(t, s, old, codeOld))
	require.Equal(t, otp.Valid, k.verify(t, s, other, codeOther))
	require.Equal(t, otp.Valid, k.verify(t, s, newer, codeNewer))
}
