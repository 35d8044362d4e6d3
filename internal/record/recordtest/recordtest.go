// Package recordtest is the conformance suite of record stores: what every otp.Store must do, whatever it stands on.
//
// In: a way to open an empty store, and for stores that keep files a way to open them again. Out: named subtests.
// On failure: the subtest says which promise of otp.Store is broken. Only tests import this package.
package recordtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// Open opens an empty store for one test and closes it with that test. clock is the time by which it must go.
type Open func(t *testing.T, clock func() time.Time) otp.Store

// OpenFiles gives a function that opens the same files at each call, having closed the store of the call before.
// The first call makes them; the last store is closed with the test.
type OpenFiles func(t *testing.T, clock func() time.Time) func() otp.Store

// Run holds a store against the whole contract of otp.Store.
func Run(t *testing.T, open Open) {
	t.Helper()
	once := func(t *testing.T, clock func() time.Time) func() otp.Store {
		t.Helper()
		store := open(t, clock)
		return func() otp.Store { return store }
	}
	run(t, once, map[string]func(*testing.T, *kit){
		"a right code is valid once":                                                rightCodeOnce,
		"an unknown id is not found":                                                unknownID,
		"an OTP of another app is not found":                                        otherApp,
		"expired is looked at before all else":                                      expiredFirst,
		"superseded is looked at before locked and used":                            supersededSecond,
		"locked is looked at before used, and used before the code":                 lockedThenUsed,
		"the last wrong code is Invalid OTP, the next try Too many attempts":        lastWrongCode,
		"a new OTP supersedes that of the same app, phone and purpose alone":        supersedeSameAlone,
		"a used OTP is not superseded":                                              usedNotSuperseded,
		"an expired OTP is not superseded":                                          expiredNotSuperseded,
		"a minute and 23 hours after its expiry an OTP still says OTP expired":      expiredForLong,
		"the rule of issuing sees the open OTP, and none once it is used or over":   admitSeesHistory,
		"a rule that keeps the open OTP supersedes nothing":                         admitKeepsOpen,
		"what the rule of issuing refuses is not stored":                            admitRefuses,
		"an error of a rule leaves the record as it was":                            updateRefuses,
		"the sealed body stays until the OTP is used":                               sealedUntilUsed,
		"one operation panics, one errs, 500 neighbours succeed":                    neighbours,
		"of 256 right codes at once exactly one is valid":                           racingRightCodes,
		"a try between the steps of another finds the OTP used":                     tryBetweenSteps,
		"of 64 wrong codes at once exactly ten count":                               racingWrongCodes,
		"of 64 OTPs issued at once for one phone exactly one stays open":            racingIssues,
		"a cancelled context is refused":                                            cancelled,
		"messages to a phone are counted per app, whatever the purpose":             countsMessages,
		"of 500 OTPs asked at once under a cooldown exactly one is issued":          racingCooldown,
		"wrong codes in a row are counted over the OTPs of a phone":                 countsGuesses,
		"a row of wrong codes lapses a month after its latest, a hard stop never":   guessesLapse,
		"a key gives its request the answer it had, and does nothing again":         onceIssue,
		"a key gives a try the verdict it had, and counts nothing again":            onceVerify,
		"a key gives its answer for a day, whatever became of the OTP":              onceOutlivesOTP,
		"a refusal is not remembered under a key":                                   onceRefused,
		"of 64 requests at once with one key exactly one is done":                   racingOnce,
		"an open OTP is sent again under an id of its own":                          resend,
		"what cannot be sent again is superseded":                                   resendWorn,
		"what does not fit the request is superseded":                               resendUnfit,
		"what is not open is not sent again":                                        resendNotOpen,
		"a cancelled OTP is not found, and its message not wanted":                  cancel,
		"the latest OTP is found by phone and purpose until it expires":             findsLatest,
		"a test number has no message and is under no limit":                        testNumber,
		"any sequence of operations gives the verdicts of the model":                model,
		"operations on many phones at once give each the verdicts of its own model": concurrentModel,
	})
}

// RunReopen holds a store that keeps files against what it must still know when they are opened again.
func RunReopen(t *testing.T, open OpenFiles) {
	t.Helper()
	run(t, open, map[string]func(*testing.T, *kit){
		"a record is the same":                                                      reopenKeepsRecords,
		"verdicts are the same":                                                     reopenKeepsVerdicts,
		"a new OTP supersedes one from before":                                      reopenKeepsHistory,
		"messages, wrong codes and keys count on":                                   reopenKeepsCounts,
		"a message sent again counts for its day":                                   reopenKeepsResent,
		"any sequence of operations and reopenings gives the verdicts of the model": model,
	})
}

func run(t *testing.T, open OpenFiles, tests map[string]func(*testing.T, *kit)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newKit(t, open))
		})
	}
}

// kit is one store with the product's own service above it, and the phones' view of the codes.
type kit struct {
	clock  *clock
	store  *spy
	reopen func()
	ring   *keys.Ring
	seals  *keys.SealKeys
}

// clock stands still until it is moved.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// spy notes the jobs that pass: their sealed bodies tell a test the codes, as they tell a phone.
type spy struct {
	inner otp.Store
	jobs  sync.Map // otp.ID -> job.Envelope
}

func (s *spy) Issue(ctx context.Context, d otp.Draft, admit otp.Admit) error {
	s.jobs.Store(d.Record.ID, d.Job)
	return s.inner.Issue(ctx, d, admit)
}

func (s *spy) Update(ctx context.Context, id otp.ID, c otp.Change) error {
	if c.Job != nil {
		s.jobs.Store(id, *c.Job)
	}
	return s.inner.Update(ctx, id, c)
}

func (s *spy) Get(ctx context.Context, id otp.ID) (otp.Record, error) { return s.inner.Get(ctx, id) }

func (s *spy) Latest(ctx context.Context, app string, number phone.Hash, purpose string) (otp.ID, error) {
	return s.inner.Latest(ctx, app, number, purpose)
}

func (s *spy) Answered(ctx context.Context, once *otp.Once) error { return s.inner.Answered(ctx, once) }

func (s *spy) Forgive(ctx context.Context, app string, number phone.Hash) error {
	return s.inner.Forgive(ctx, app, number)
}

func newKit(t *testing.T, open OpenFiles) *kit {
	t.Helper()
	secret, err := keys.NewSecret("a secret for tests, of 32 characters or more")
	require.NoError(t, err)
	ring, _, err := keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(t, err)
	k := &kit{clock: &clock{}, ring: ring, seals: keys.DeriveSealKeys(secret, keys.Secret{})}
	k.clock.ms.Store(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixMilli())
	again := open(t, k.clock.now)
	k.store = &spy{inner: again()}
	k.reopen = func() { k.store.inner = again() }
	return k
}

// policy is that of most tests.
func policy() otp.Policy { return otp.Policy{Length: 6, Expiry: 10 * time.Minute, MaxAttempts: 3} }

func (k *kit) service(t require.TestingT, p otp.Policy) *otp.Service {
	s, err := otp.NewService(k.store, k.ring, k.seals, p, rand.Reader, k.clock.now)
	require.NoError(t, err)
	return s
}

// request is for one of a few phones, of DefaultApp, for "login".
func request(t require.TestingT, number int) otp.Request {
	n, err := phone.Restore(fmt.Sprintf("+9055512345%02d", number))
	require.NoError(t, err)
	return otp.Request{App: otp.DefaultApp, Pool: job.DefaultPool, Phone: n, Purpose: "login"}
}

// issue makes an OTP and reads its code off the phone.
func (k *kit) issue(t require.TestingT, s *otp.Service, r otp.Request) (id otp.ID, code string) {
	issued, err := s.Issue(context.Background(), r)
	require.NoError(t, err)
	return issued.ID, k.code(t, issued.ID)
}

// job is the latest send job of an OTP, zero where there is none.
func (k *kit) job(id otp.ID) job.Envelope {
	envelope, _ := k.store.jobs.Load(id)
	return envelope.(job.Envelope) //nolint:forcetypeassert // the spy stores nothing else
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

func (k *kit) code(t require.TestingT, id otp.ID) string {
	envelope, ok := k.store.jobs.Load(id)
	require.True(t, ok, "no job was stored with the OTP")
	body, err := job.Open(k.seals, envelope.(job.Envelope)) //nolint:forcetypeassert // the spy stores nothing else
	require.NoError(t, err)
	code := sixDigits.FindString(body.Text)
	require.NotEmpty(t, code)
	return code
}

// wrong is another code of the same length.
func wrong(code string) string {
	return string('0'+(code[0]-'0'+1)%10) + code[1:]
}

// verify tries a code as the app of most tests.
func (k *kit) verify(t require.TestingT, s *otp.Service, id otp.ID, code string) otp.Verdict {
	tried, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: id, Code: code})
	require.NoError(t, err)
	return tried.Verdict
}

// change changes a record by a rule of the test's own.
func (k *kit) change(id otp.ID, rule func(*otp.Record) error) error {
	return k.store.Update(context.Background(), id, otp.Change{Rule: func(r *otp.Record, _ *otp.History) error { return rule(r) }})
}

// record reads a record the one way that every store has.
func (k *kit) record(t require.TestingT, id otp.ID) (out otp.Record) {
	require.NoError(t, k.change(id, func(r *otp.Record) error {
		out = *r
		return nil
	}))
	return out
}
