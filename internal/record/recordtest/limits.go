//nolint:thelper // these are the subtests themselves: a failure must name their own line
package recordtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// limitOf is the limit that an error names.
func limitOf(t require.TestingT, err error) otp.LimitError {
	var limit *otp.LimitError
	require.ErrorAs(t, err, &limit)
	return *limit
}

func countsMessages(t *testing.T, k *kit) {
	s := k.service(t, policy())
	limits := otp.Limits{Cooldown: 30 * time.Second, PerHour: 3, PerDay: 4}
	ask := func(app, purpose string) error {
		r := request(t, 1)
		r.App, r.Purpose, r.Limits = app, purpose, limits
		_, err := s.Issue(context.Background(), r)
		return err
	}
	begun := k.clock.now()
	require.NoError(t, ask("shop", "login"))
	k.clock.advance(29 * time.Second)
	require.Equal(t, otp.LimitError{Limit: otp.LimitCooldown, Allowed: 1, Window: 30 * time.Second, RetryAfter: time.Second}, limitOf(t, ask("shop", "payment")))
	require.NoError(t, ask("another", "login"), "another app has counts of its own")
	k.clock.advance(time.Second)
	require.NoError(t, ask("shop", "payment"))
	k.clock.advance(time.Minute)
	require.NoError(t, ask("shop", "login"))
	k.clock.advance(time.Minute)
	hour := limitOf(t, ask("shop", "login"))
	require.Equal(t, otp.LimitPhoneHour, hour.Limit)
	require.Equal(t, begun.Add(time.Hour), k.clock.now().Add(hour.RetryAfter))
	k.clock.advance(hour.RetryAfter)
	require.NoError(t, ask("shop", "login"))
	k.clock.advance(2 * time.Hour)
	day := limitOf(t, ask("shop", "login"))
	require.Equal(t, otp.LimitPhoneDay, day.Limit)
	require.Equal(t, begun.Add(24*time.Hour), k.clock.now().Add(day.RetryAfter))
	k.clock.advance(day.RetryAfter)
	require.NoError(t, ask("shop", "login"))
}

func racingCooldown(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	r.Limits.Cooldown = 30 * time.Second
	const count = 500
	errs := make([]error, count)
	together(count, func(i int) { _, errs[i] = s.Issue(context.Background(), r) })
	passed := 0
	for _, err := range errs {
		if err == nil {
			passed++
			continue
		}
		require.Equal(t, otp.LimitCooldown, limitOf(t, err).Limit)
	}
	require.Equal(t, 1, passed)
}

func countsGuesses(t *testing.T, k *kit) {
	p := policy()
	p.MaxAttempts = 10
	s := k.service(t, p)
	limits := otp.Limits{MaxGuesses: 20}
	try := func(id otp.ID, code string) (otp.Verdict, error) {
		tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: id, Code: code, Limits: limits})
		return tried.Verdict, err
	}
	guess := func(id otp.ID, code string) {
		v, err := try(id, wrong(code))
		require.NoError(t, err)
		require.Equal(t, otp.Wrong, v)
	}
	first, code := k.issue(t, s, request(t, 1))
	for range 10 {
		guess(first, code)
	}
	id, code := k.issue(t, s, request(t, 1))
	for _, pause := range []time.Duration{30 * time.Second, time.Minute} {
		_, err := try(id, code)
		limit := limitOf(t, err)
		require.Equal(t, otp.LimitError{Limit: otp.LimitGuessDelay, Allowed: 1, Window: pause, RetryAfter: pause}, limit, "not even the right code")
		k.clock.advance(pause)
		guess(id, code)
	}
	k.clock.advance(2 * time.Minute)
	v, err := try(id, code)
	require.NoError(t, err)
	require.Equal(t, otp.Valid, v)

	other, codeOther := k.issue(t, s, request(t, 2))
	k.verify(t, s, other, wrong(codeOther))
	id, code = k.issue(t, s, request(t, 1))
	guess(id, code) // the right one has ended the row, and another phone has one of its own
	for range 19 {
		k.clock.advance(61 * time.Minute)
		id, code = k.issue(t, s, request(t, 1))
		guess(id, code)
	}
	k.clock.advance(61 * time.Minute)
	r := request(t, 1)
	r.Limits = limits
	_, err = s.Issue(context.Background(), r)
	require.Equal(t, otp.LimitError{Limit: otp.LimitGuesses, Allowed: 20}, limitOf(t, err), "no time lifts it")
	require.NoError(t, s.Unlock(context.Background(), "another", r.Phone))
	_, err = s.Issue(context.Background(), r)
	require.Error(t, err)
	require.NoError(t, s.Unlock(context.Background(), otp.DefaultApp, r.Phone))
	_, err = s.Issue(context.Background(), r)
	require.NoError(t, err, "an operator does")
}

func guessesLapse(t *testing.T, k *kit) {
	s := k.service(t, policy())
	const stop = 3
	limits := otp.Limits{MaxGuesses: stop}
	guess := func(number, times int) {
		id, code := k.issue(t, s, request(t, number))
		for range times {
			tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: id, Code: wrong(code), Limits: limits})
			require.NoError(t, err)
			require.Equal(t, otp.Wrong, tried.Verdict)
		}
	}
	row := func(number int) otp.Guesses { return k.history(t, request(t, number)).Guesses }
	guess(1, stop-1)
	guess(2, stop)
	guess(3, stop)
	k.clock.advance(otp.GuessLife - time.Millisecond)
	require.Equal(t, stop-1, row(1).Wrong)
	k.clock.advance(time.Millisecond)
	require.Zero(t, row(1))
	guess(1, 1)
	require.Equal(t, 1, row(1).Wrong, "what has lapsed isn't counted on")

	k.clock.advance(10 * otp.GuessLife)
	guess(1, 1)
	require.Equal(t, 1, row(1).Wrong)
	r := request(t, 2)
	r.Limits = limits
	_, err := s.Issue(context.Background(), r)
	require.Equal(t, otp.LimitGuesses, limitOf(t, err).Limit, "no time lifts a hard stop")
	id, code := k.issue(t, s, request(t, 3))
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
	require.Zero(t, row(3), "a right code does")
	require.NoError(t, s.Unlock(context.Background(), otp.DefaultApp, r.Phone))
	require.Zero(t, row(2), "and an operator")
}

// once is a key and a content.
func once(key, content string) *otp.Idempotency {
	return &otp.Idempotency{Key: key, Content: []byte(content)}
}

func idAnswer(i otp.Issued) []byte { return []byte(i.ID.String()) }

// replayed is the answer that an error repeats.
func replayed(t require.TestingT, err error) string {
	var replay *otp.Replay
	require.ErrorAs(t, err, &replay)
	return string(replay.Answer)
}

func onceIssue(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	r.Answer, r.Once, r.Limits = idAnswer, once("key-1", "this"), otp.Limits{Cooldown: time.Hour}
	first, err := s.Issue(context.Background(), r)
	require.NoError(t, err)
	code := k.code(t, first.ID)
	_, err = s.Issue(context.Background(), r)
	require.Equal(t, first.ID.String(), replayed(t, err), "although the cooldown would refuse it")

	require.Equal(t, first.ID.String(), replayed(t, s.Answered(context.Background(), r.App, otp.OpIssue, r.Once)))
	require.NoError(t, s.Answered(context.Background(), r.App, otp.OpResend, r.Once))
	require.NoError(t, s.Answered(context.Background(), "another", otp.OpIssue, r.Once))
	require.NoError(t, s.Answered(context.Background(), r.App, otp.OpIssue, once("key-2", "this")))

	other := r
	other.Once = once("key-1", "that")
	require.ErrorIs(t, s.Answered(context.Background(), r.App, otp.OpIssue, other.Once), otp.ErrKeyReused)
	_, err = s.Issue(context.Background(), other)
	require.ErrorIs(t, err, otp.ErrKeyReused)
	other = request(t, 2)
	other.App, other.Answer, other.Once = "another", idAnswer, once("key-1", "that")
	_, err = s.Issue(context.Background(), other)
	require.NoError(t, err, "keys are an app's own")

	require.Equal(t, otp.Valid, k.verify(t, s, first.ID, code), "nothing has superseded it")
	k.clock.advance(otp.OnceLife - time.Millisecond)
	_, err = s.Issue(context.Background(), r)
	require.Equal(t, first.ID.String(), replayed(t, err))
	k.clock.advance(time.Millisecond)
	again, err := s.Issue(context.Background(), r)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, again.ID)
}

func verdictAnswer(t otp.Tried) []byte { return []byte(fmt.Sprint(t.Verdict.Reason(), t.Attempts)) }

func onceVerify(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	try := otp.Try{App: otp.DefaultApp, ID: id, Code: wrong(code), Answer: verdictAnswer, Once: once("a", "wrong")}
	_, err := s.Verify(context.Background(), try)
	require.NoError(t, err)
	for range 5 {
		_, err = s.Verify(context.Background(), try)
		require.Equal(t, "Invalid OTP2", replayed(t, err))
	}
	require.EqualValues(t, 1, k.record(t, id).Attempts)
	try.Code, try.Once = code, once("b", "right")
	tried, err := s.Verify(context.Background(), try)
	require.NoError(t, err)
	require.Equal(t, otp.Valid, tried.Verdict)
	_, err = s.Verify(context.Background(), try)
	require.Equal(t, "0", replayed(t, err), "valid again, to whom its answer was lost")
	require.Equal(t, otp.AlreadyUsed, k.verify(t, s, id, code), "and to nobody else")
}

func onceOutlivesOTP(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	_, code := k.issue(t, s, r)
	try := otp.Try{App: otp.DefaultApp, Phone: r.Phone, Purpose: r.Purpose, Code: code, Answer: verdictAnswer, Once: once("a", "right")}
	tried, err := s.Verify(context.Background(), try)
	require.NoError(t, err)
	require.Equal(t, otp.Valid, tried.Verdict)
	k.clock.advance(policy().Expiry)
	_, err = s.Verify(context.Background(), try)
	require.Equal(t, "0", replayed(t, err), "no OTP of the phone is there any more")
	try.Once = once("a", "other")
	_, err = s.Verify(context.Background(), try)
	require.ErrorIs(t, err, otp.ErrKeyReused)

	for number, end := range map[int]func(id otp.ID, code string){
		2: func(id otp.ID, code string) { k.verify(t, s, id, code) },
		3: func(otp.ID, string) { k.clock.advance(policy().Expiry) },
		4: func(id otp.ID, _ string) {
			_, err := s.Cancel(context.Background(), otp.DefaultApp, id)
			require.NoError(t, err)
		},
	} {
		id, code := k.issue(t, s, request(t, number))
		again := otp.Again{App: otp.DefaultApp, ID: id, Once: once("b", id.String()), Answer: idAnswer}
		again.Once.Key += id.String()
		_, err := s.Resend(context.Background(), again)
		require.NoError(t, err)
		end(id, code)
		_, err = s.Resend(context.Background(), again)
		require.Equal(t, id.String(), replayed(t, err))
	}
}

func onceRefused(t *testing.T, k *kit) {
	s := k.service(t, policy())
	k.issue(t, s, request(t, 1))
	r := request(t, 1)
	r.Answer, r.Once, r.Limits = idAnswer, once("key", "this"), otp.Limits{Cooldown: time.Minute}
	_, err := s.Issue(context.Background(), r)
	require.Equal(t, otp.LimitCooldown, limitOf(t, err).Limit)
	k.clock.advance(time.Minute)
	_, err = s.Issue(context.Background(), r)
	require.NoError(t, err)
}

func racingOnce(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	r.Answer, r.Once = idAnswer, once("key", "this")
	const count = 64
	var mu sync.Mutex
	var done []otp.ID
	errs := make([]error, count)
	together(count, func(i int) {
		issued, err := s.Issue(context.Background(), r)
		if errs[i] = err; err == nil {
			mu.Lock()
			done = append(done, issued.ID)
			mu.Unlock()
		}
	})
	require.Len(t, done, 1)
	for _, err := range errs {
		if err != nil {
			require.Equal(t, done[0].String(), replayed(t, err))
		}
	}
}

func resend(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	first := k.job(id)
	k.clock.advance(time.Minute)
	again := otp.Again{App: otp.DefaultApp, ID: id, Limits: otp.Limits{Cooldown: 30 * time.Second, PerDay: 3}}
	issued, err := s.Resend(context.Background(), again)
	require.NoError(t, err)
	require.Equal(t, id, issued.ID)
	require.WithinDuration(t, first.Expires, issued.Expires, 0, "it lives no longer for it")
	second := k.job(id)
	require.Equal(t, first.ID+"-2", second.ID)
	one, err := job.Open(k.seals, first)
	require.NoError(t, err)
	two, err := job.Open(k.seals, second)
	require.NoError(t, err)
	require.NotEqual(t, one.MessageID, two.MessageID, "else the phone wouldn't show it")
	two.MessageID = one.MessageID
	require.Equal(t, one, two)

	_, err = s.Resend(context.Background(), again)
	require.Equal(t, otp.LimitCooldown, limitOf(t, err).Limit)
	k.clock.advance(time.Minute)
	again.Once, again.Answer = once("key", "again"), idAnswer
	_, err = s.Resend(context.Background(), again)
	require.NoError(t, err)
	_, err = s.Resend(context.Background(), again)
	require.Equal(t, id.String(), replayed(t, err))
	again.Once = nil
	k.clock.advance(time.Minute)
	_, err = s.Resend(context.Background(), again)
	require.Equal(t, otp.LimitPhoneDay, limitOf(t, err).Limit, "each message counts")

	r := request(t, 1)
	r.Resend = true
	issued, err = s.Issue(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, id, issued.ID, "asked for anew, the open one is sent again")
	require.EqualValues(t, 4, k.record(t, id).Sends)
	require.Equal(t, otp.Valid, k.verify(t, s, id, code))
	issued, err = s.Issue(context.Background(), r)
	require.NoError(t, err)
	require.NotEqual(t, id, issued.ID, "a used one isn't")
}

// An OTP that is locked, or has had all of its messages, keeps nobody from a new one.
func resendWorn(t *testing.T, k *kit) {
	s := k.service(t, policy())
	for number, wear := range map[int]func(id otp.ID, code string){
		1: func(id otp.ID, code string) {
			for range policy().MaxAttempts {
				k.verify(t, s, id, wrong(code))
			}
		},
		2: func(id otp.ID, _ string) {
			for range otp.MaxSends - 1 {
				_, err := s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: id})
				require.NoError(t, err)
			}
		},
	} {
		r := request(t, number)
		r.Resend = true
		id, code := k.issue(t, s, r)
		wear(id, code)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		issued, err := s.Issue(ctx, r)
		cancel()
		require.NoError(t, err)
		require.NotEqual(t, id, issued.ID)
		require.Equal(t, otp.WasSuperseded, k.verify(t, s, id, code))
		require.Equal(t, otp.Valid, k.verify(t, s, issued.ID, k.code(t, issued.ID)))
	}
}

// Where the open code is sent again, it must be what was asked for, and something that can be sent.
func resendUnfit(t *testing.T, k *kit) {
	s := k.service(t, policy())
	same := func(number int) otp.Request {
		r := request(t, number)
		r.Resend = true
		return r
	}
	superseded := func(old otp.ID, code string, by *otp.Service, r otp.Request) otp.Issued {
		issued, err := by.Issue(context.Background(), r)
		require.NoError(t, err)
		require.NotEqual(t, old, issued.ID)
		require.Equal(t, otp.WasSuperseded, k.verify(t, s, old, code))
		return issued
	}

	own := same(1)
	own.Code = "135790"
	old, code := k.issue(t, s, own)
	issued, err := s.Issue(context.Background(), own)
	require.NoError(t, err)
	require.Equal(t, old, issued.ID)
	own.Code = "097531"
	issued = superseded(old, code, s, own)
	require.Equal(t, own.Code, k.code(t, issued.ID), "the code that the caller brings, not one from before")
	issued, err = s.Issue(context.Background(), same(1))
	require.NoError(t, err)
	require.Equal(t, own.Code, k.code(t, issued.ID), "whoever brings none gets the open one")

	test := same(2)
	test.Test, test.Code = true, "424242"
	old, code = k.issue(t, s, same(2))
	issued = superseded(old, code, s, test)
	require.True(t, issued.Test, "by now the number is a test number")
	require.Empty(t, k.job(issued.ID).ID)
	issued = superseded(issued.ID, test.Code, s, same(2))
	require.False(t, issued.Test, "and now an ordinary one")
	require.NotEmpty(t, k.job(issued.ID).ID)

	old, code = k.issue(t, s, same(3))
	secret, err := keys.NewSecret("another secret, and the one before was taken away")
	require.NoError(t, err)
	rotated, err := otp.NewService(k.store, k.ring, keys.DeriveSealKeys(secret, keys.Secret{}), policy(), rand.Reader, k.clock.now)
	require.NoError(t, err)
	_, err = rotated.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: old})
	require.ErrorIs(t, err, keys.ErrNoKey)
	superseded(old, code, rotated, same(3))
}

func resendNotOpen(t *testing.T, k *kit) {
	s := k.service(t, policy())
	why := func(id otp.ID) otp.NotOpenError {
		_, err := s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: id})
		var notOpen *otp.NotOpenError
		require.ErrorAs(t, err, &notOpen)
		return *notOpen
	}
	used, code := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Valid, k.verify(t, s, used, code))
	old, _ := k.issue(t, s, request(t, 2))
	open, code := k.issue(t, s, request(t, 2))
	require.Equal(t, otp.AlreadyUsed, why(used).Verdict)
	require.Equal(t, otp.WasSuperseded, why(old).Verdict)
	_, err := s.Resend(context.Background(), otp.Again{App: "another", ID: open})
	require.ErrorIs(t, err, otp.ErrNoRecord)
	_, err = s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: otp.ID{1}})
	require.ErrorIs(t, err, otp.ErrNoRecord)
	for range otp.MaxSends - 1 {
		_, err := s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: open})
		require.NoError(t, err)
	}
	require.True(t, why(open).Sends)
	for range policy().MaxAttempts {
		k.verify(t, s, open, wrong(code))
	}
	require.Equal(t, otp.TooManyAttempts, why(open).Verdict)
	k.clock.advance(policy().Expiry)
	require.Equal(t, otp.Expired, why(open).Verdict)
}

func cancel(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	_, err := s.Cancel(context.Background(), "another", id)
	require.ErrorIs(t, err, otp.ErrNoRecord)
	for range 2 {
		r, err := s.Cancel(context.Background(), otp.DefaultApp, id)
		require.NoError(t, err)
		require.Equal(t, otp.Cancelled, r.State)
	}
	require.Equal(t, otp.NotFound, k.verify(t, s, id, code))
	require.Empty(t, k.record(t, id).Sealed)
	_, err = s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: id})
	require.ErrorIs(t, err, otp.ErrNoRecord)
	used, code := k.issue(t, s, request(t, 1))
	require.Equal(t, otp.Valid, k.verify(t, s, used, code))
	_, err = s.Cancel(context.Background(), otp.DefaultApp, used)
	require.ErrorAs(t, err, new(*otp.NotOpenError))
}

func findsLatest(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	try := func(code, purpose string) otp.Verdict {
		tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, Phone: r.Phone, Purpose: purpose, Code: code})
		require.NoError(t, err)
		return tried.Verdict
	}
	require.Equal(t, otp.NotFound, try("123456", "login"))
	old, codeOld := k.issue(t, s, r)
	_, code := k.issue(t, s, r)
	if code != codeOld {
		require.Equal(t, otp.Wrong, try(codeOld, "login"), "only the latest counts")
	}
	require.Equal(t, otp.WasSuperseded, k.verify(t, s, old, codeOld))
	require.Equal(t, otp.NotFound, try(code, "payment"))
	require.Equal(t, otp.Valid, try(code, "login"))
	require.Equal(t, otp.AlreadyUsed, try(code, "login"))
	k.clock.advance(policy().Expiry)
	require.Equal(t, otp.NotFound, try(code, "login"))

	id, code := k.issue(t, s, r)
	stranger, err := phone.Restore("+905550000000")
	require.NoError(t, err)
	for _, wrongly := range []otp.Try{{Phone: stranger}, {Purpose: "payment"}, {Phone: stranger, Purpose: "login"}} {
		wrongly.App, wrongly.ID, wrongly.Code = otp.DefaultApp, id, code
		tried, err := s.Verify(context.Background(), wrongly)
		require.NoError(t, err)
		require.Equal(t, otp.NotFound, tried.Verdict, "phone and purpose must match where they are given")
	}
	require.Zero(t, k.record(t, id).Attempts)
	tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: id, Phone: r.Phone, Purpose: "login", Code: code})
	require.NoError(t, err)
	require.Equal(t, otp.Valid, tried.Verdict)
}

func testNumber(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	r.Test, r.Code, r.Limits = true, "424242", otp.Limits{Cooldown: time.Hour, PerHour: 1, PerDay: 1, MaxGuesses: 1}
	for range 3 {
		issued, err := s.Issue(context.Background(), r)
		require.NoError(t, err)
		require.True(t, issued.Test)
		require.Empty(t, k.job(issued.ID).ID)
		again, err := s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: issued.ID, Limits: r.Limits})
		require.NoError(t, err)
		require.True(t, again.Test)
		require.Equal(t, otp.Wrong, k.verify(t, s, issued.ID, "424243"))
		tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: issued.ID, Code: "424242", Limits: r.Limits})
		require.NoError(t, err)
		require.Equal(t, otp.Tried{ID: issued.ID, Verdict: otp.Valid, Test: true}, tried)
	}
	r.Test, r.Code = false, ""
	id, code := k.issue(t, s, r) // nothing of it has counted for the phone
	require.Equal(t, otp.Wrong, k.verify(t, s, id, wrong(code)))
	r.Test, r.Code = true, "424242"
	issued, err := s.Issue(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, otp.Valid, k.verify(t, s, issued.ID, r.Code))
	require.Equal(t, 1, k.history(t, r).Guesses.Wrong, "a fixed code is no success of the phone's")
}

func reopenKeepsCounts(t *testing.T, k *kit) {
	s := k.service(t, policy())
	r := request(t, 1)
	r.Answer, r.Once = idAnswer, once("key", "this")
	issued, err := s.Issue(context.Background(), r)
	require.NoError(t, err)
	k.clock.advance(time.Minute)
	_, err = s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: issued.ID})
	require.NoError(t, err)
	k.verify(t, s, issued.ID, wrong(k.code(t, issued.ID)))
	k.clock.advance(policy().Expiry)
	look := func() otp.History { return k.history(t, request(t, 1)) }
	before := look()
	require.Len(t, before.Sends, 2)
	require.Equal(t, 1, before.Guesses.Wrong)
	k.reopen()
	require.Equal(t, before, look())
	_, err = s.Issue(context.Background(), r)
	require.Equal(t, issued.ID.String(), replayed(t, err))
	tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: issued.ID, Code: "000000"})
	require.NoError(t, err)
	require.Equal(t, otp.Expired, tried.Verdict)
}

// Of an OTP issued more than a day ago a message may be younger.
func reopenKeepsResent(t *testing.T, k *kit) {
	p := policy()
	p.Expiry = otp.MaxExpiry
	s := k.service(t, p)
	id, _ := k.issue(t, s, request(t, 1))
	k.clock.advance(50 * time.Minute)
	_, err := s.Resend(context.Background(), otp.Again{App: otp.DefaultApp, ID: id})
	require.NoError(t, err)
	k.clock.advance(24*time.Hour - time.Minute)
	before := k.history(t, request(t, 1)).Sends
	require.Len(t, before, 1)
	k.reopen()
	require.Equal(t, before, k.history(t, request(t, 1)).Sends)
}
