//nolint:thelper // these are the subtests themselves: a failure must name their own line
package recordtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/otp"
)

// modelOTP is all that the rules need to know of an OTP, kept as simply as can be.
type modelOTP struct {
	id         otp.ID
	app        string
	scope      string // app, phone, purpose
	code       string
	expires    time.Time
	wrongTries int
	used       bool
	superseded bool
}

// world is a model of a store, beside the store.
type world struct {
	k        *kit
	s        *otp.Service
	otps     []*modelOTP
	advanced time.Duration
}

// issue issues in both.
func (w *world) issue(t require.TestingT, r otp.Request) {
	scope := fmt.Sprint(r.App, "/", r.Phone.E164(), "/", r.Purpose)
	id, code := w.k.issue(t, w.s, r)
	now := w.k.clock.now()
	for _, o := range w.otps {
		if o.scope == scope && !o.used && now.Before(o.expires) {
			o.superseded = true
		}
	}
	w.otps = append(w.otps, &modelOTP{id: id, app: r.App, scope: scope, code: code, expires: now.Add(policy().Expiry)})
}

// verify tries a code in both and compares.
func (w *world) verify(t require.TestingT, o *modelOTP, app, code string) {
	got, err := w.s.Verify(context.Background(), otp.Try{App: app, ID: o.id, Code: code})
	require.NoError(t, err)
	require.Equal(t, o.try(app, code, w.k.clock.now()).Reason(), got.Verdict.Reason())
}

func (o *modelOTP) try(app, code string, now time.Time) otp.Verdict {
	if app != o.app {
		return otp.NotFound
	}
	if !now.Before(o.expires) {
		return otp.Expired
	}
	if o.superseded {
		return otp.WasSuperseded
	}
	if o.wrongTries >= policy().MaxAttempts {
		return otp.TooManyAttempts
	}
	if o.used {
		return otp.AlreadyUsed
	}
	if code != o.code {
		o.wrongTries++
		return otp.Wrong
	}
	o.used = true
	return otp.Valid
}

// model plays random operations. All runs share the store, each with apps of its own.
func model(t *testing.T, k *kit) {
	var runs atomic.Int64
	s := k.service(t, policy())
	rapid.Check(t, func(t *rapid.T) {
		prefix := fmt.Sprintf("run %d app ", runs.Add(1))
		w := &world{k: k, s: s}
		app := func() string { return prefix + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app") }
		pick := func() *modelOTP {
			if len(w.otps) == 0 {
				t.Skip("no OTP yet")
			}
			// Mostly a recent one: the older an OTP, the less can still become of it.
			back := min(rapid.IntRange(0, 5).Draw(t, "back"), len(w.otps)-1)
			return w.otps[len(w.otps)-1-back]
		}
		t.Repeat(map[string]func(*rapid.T){
			"issue": func(t *rapid.T) {
				r := request(t, rapid.IntRange(0, 2).Draw(t, "phone"))
				r.App, r.Purpose = app(), rapid.SampledFrom([]string{"login", "payment"}).Draw(t, "purpose")
				w.issue(t, r)
			},
			"verify right": func(t *rapid.T) {
				o := pick()
				w.verify(t, o, o.app, o.code)
			},
			"verify wrong": func(t *rapid.T) {
				o := pick()
				w.verify(t, o, o.app, wrong(o.code))
			},
			"verify as any app": func(t *rapid.T) {
				o := pick()
				w.verify(t, o, app(), o.code)
			},
			"advance": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 300).Draw(t, "seconds")) * time.Second
				if w.advanced += d; w.advanced > 23*time.Hour {
					t.Skip("records may be gone")
				}
				k.clock.advance(d)
			},
			"reopen": func(*rapid.T) { k.reopen() },
		})
		for _, o := range w.otps {
			w.verify(t, o, o.app, o.code)
		}
	})
}

// concurrentModel plays a model per phone, all at once: whoever mixes up two phones, or an operation of the same
// commit with another, breaks a verdict.
func concurrentModel(t *testing.T, k *kit) {
	s := k.service(t, policy())
	together(32, func(i int) {
		random := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // a test's dice
		w := &world{k: k, s: s}
		r := request(t, i)
		for range 60 {
			switch {
			case len(w.otps) == 0 || random.IntN(4) == 0:
				w.issue(failer{t}, r)
			case random.IntN(2) == 0:
				o := w.otps[len(w.otps)-1]
				w.verify(failer{t}, o, o.app, o.code)
			default:
				o := w.otps[random.IntN(len(w.otps))]
				w.verify(failer{t}, o, o.app, wrong(o.code))
			}
			if t.Failed() {
				return
			}
		}
	})
}

// failer fails a test from any goroutine, where FailNow may not be called.
type failer struct{ t *testing.T }

func (f failer) Errorf(format string, args ...any) { f.t.Errorf(format, args...) }
func (f failer) FailNow()                          { f.t.Fail() }
