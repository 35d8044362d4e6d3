package callback_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/callback"
	"wabek/internal/job"
)

func TestCallback_IsSignedByStandardWebhooks(t *testing.T) {
	t.Parallel()
	b := running(t, nil)
	r := receive(t, nil)
	secret := b.to.set(app, r.URL+"/hook?token=1")
	b.enqueue(app, 1)
	r.waitFor(t, 1)
	g := r.requests()[0]
	require.NoError(t, verify(t, secret, g))
	require.Error(t, verify(t, callback.NewSecret(), g))
	require.Equal(t, "application/json", g.Header.Get("Content-Type"))
	require.Equal(t, eventID(1), g.ID)
	require.Equal(t, //nolint:testifylint // the very bytes count, for they are signed
		`{"type":"otp.status","timestamp":"2026-11-24T09:00:00.123Z","data":{`+
			`"otpId":"01935f6c-0000-7000-8000-000000000001","app":"shop","state":"open","status":"sent","to":"+90•••••4567","purpose":"login",`+
			`"createdAt":"2026-11-24T08:59:59.123Z","expiresAt":"2026-11-24T09:01:00.123Z","sentAt":"2026-11-24T09:00:00.123Z",`+
			`"metadata":{"order":"7"},"test":false,"seq":20}}`, string(g.Body))
	b.empty()
}

func TestCallback_IsSignedByBothSecretsWhileOneTakesTheOthersPlace(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := running(t, func(c *callback.Config) { c.Now = clock.Now })
	r := receive(t, nil)
	old, current := callback.NewSecret(), callback.NewSecret()
	b.to.change(func(list map[string]callback.Endpoint) {
		list[app] = callback.Endpoint{URL: r.URL, Secret: current, Previous: old, PreviousUntil: clock.Now().Add(time.Hour)}
	})
	b.enqueue(app, 1)
	r.waitFor(t, 1)
	g := r.requests()[0]
	require.NoError(t, verify(t, old, g))
	require.NoError(t, verify(t, current, g))
	require.Len(t, strings.Fields(g.Header.Get("webhook-signature")), 2)

	clock.add(time.Hour)
	b.enqueue(app, 2)
	r.waitFor(t, 2)
	g = r.requests()[1]
	require.Len(t, strings.Fields(g.Header.Get("webhook-signature")), 1)
	g.Header.Set("webhook-timestamp", g.Header.Get("webhook-timestamp")) // an hour ahead of the library's clock
	require.ErrorContains(t, verify(t, current, g), "too new")
}

func TestCallback_KeepsIDAndBodyOverTriesAndIsStampedAnew(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := running(t, func(c *callback.Config) { c.Now = clock.Now; c.Schedule = []time.Duration{time.Minute} })
	r := receive(t, answer(http.StatusInternalServerError))
	secret := b.to.set(app, r.URL)
	b.enqueue(app, 1)
	require.Eventually(t, func() bool { return r.count() == 1 }, patient, tick)
	r.set(nil)
	// The failure is noted a moment after the receiver has answered, and counts from then.
	require.Eventually(t, func() bool { clock.add(time.Minute); return r.distinct() == 1 }, patient, 2*tick)
	all := r.requests()
	require.Equal(t, all[0].ID, all[1].ID)
	require.Equal(t, all[0].Body, all[1].Body)
	require.NotEqual(t, all[0].Header.Get("webhook-timestamp"), all[1].Header.Get("webhook-timestamp"))
	require.NoError(t, verify(t, secret, all[0]))
	require.NoError(t, verify(t, secret, all[1]))
}

func TestEnqueue_RefusesWhatMustNotBePosted(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.to.set(app, "https://example.com")
	for name, spoil := range map[string]func(*callback.OTP){
		"no id":                    func(o *callback.OTP) { o.ID = "" },
		"an id that isn't one":     func(o *callback.OTP) { o.ID = "a.b" },
		"no seq":                   func(o *callback.OTP) { o.Seq = 0 },
		"a number in the clear":    func(o *callback.OTP) { o.To = "+905551234567" },
		"metadata that isn't JSON": func(o *callback.OTP) { o.Metadata = json.RawMessage("{secret") },
		"too much metadata":        func(o *callback.OTP) { o.Metadata = json.RawMessage(`"` + strings.Repeat("x", 70_000) + `"`) },
	} {
		e, good := event(app, 1), event(app, 2)
		spoil(&e.OTP)
		err := b.Enqueue(within(t), e, good)
		require.ErrorIs(t, err, callback.ErrEvent, name)
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, err.Error(), "1234567")
	}
	require.Equal(t, 1, b.stored(), "the good one went its way each time")
}

func TestSeq_RisesWithTheStateAndIsTheSameForTheSame(t *testing.T) {
	t.Parallel()
	states := []job.State{job.Queued, job.Sending, job.Failed, job.Sent, job.Delivered, job.Read}
	rapid.Check(t, func(t *rapid.T) {
		message, rank := rapid.IntRange(0, 10).Draw(t, "message"), rapid.IntRange(0, 5).Draw(t, "rank")
		locked, closed := rapid.Bool().Draw(t, "locked"), rapid.Bool().Draw(t, "closed")
		now := callback.Seq(message, states[rank], locked, closed)
		require.NotZero(t, now)
		require.Equal(t, now, callback.Seq(message, states[rank], locked, closed))
		for later := rank + 1; later < len(states); later++ {
			require.Greater(t, callback.Seq(message, states[later], locked, closed), now)
			require.Greater(t, callback.Seq(message, states[later], locked, true), now)
		}
		if !closed {
			require.Greater(t, callback.Seq(message, states[rank], locked, true), now, "a locked one may be superseded")
		}
		if !closed && !locked {
			require.Greater(t, callback.Seq(message, states[rank], true, false), now)
		}
		require.Greater(t, callback.Seq(message+1, job.Queued, locked, closed), now)
	})
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, n := range []int{24, 32, 64} {
		s, err := callback.ParseSecret(text(n))
		require.NoError(t, err)
		require.Equal(t, text(n), s.Reveal())
	}
	for _, bad := range []string{"", "whsec_", text(23), text(65), text(32)[6:], "whsec_!!!", text(32) + "\n", "WHSEC_" + text(32)[6:]} {
		_, err := callback.ParseSecret(bad)
		require.ErrorIs(t, err, callback.ErrSecret, bad)
	}
	a, b := callback.NewSecret(), callback.NewSecret()
	require.False(t, a.Equal(b))
	again, err := callback.ParseSecret(a.Reveal())
	require.NoError(t, err)
	require.True(t, a.Equal(again))
	require.Equal(t, text(32), callback.SecretOf(make([]byte, 32)).Reveal())
	require.True(t, callback.SecretOf(nil).IsZero())
	require.True(t, callback.Secret{}.IsZero())
	require.Empty(t, callback.Secret{}.Reveal())

	var out strings.Builder
	e := callback.Endpoint{URL: "u", Secret: a}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", a, "endpoint", e)
	inJSON, err := json.Marshal(e)
	require.NoError(t, err)
	for _, printed := range []string{out.String(), string(inJSON), fmt.Sprintf("%v %+v %#v %s %q", a, a, a, a, a), fmt.Sprintf("%v %+v %#v", e, e, &e)} {
		require.NotContains(t, printed, a.Reveal()[6:])
		require.Contains(t, printed, "[secret]")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"soon":                          0,
		"-1":                            0,
		"1.5":                           0,
		"0":                             time.Second,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"3600":                          time.Hour,
		"3601":                          time.Hour,
		"18446744073709551615":          time.Hour,
		"18446744073709551616":          0,
		"Tue, 24 Nov 2026 12:05:00 GMT": 5 * time.Minute,
		"Tue, 24 Nov 2026 11:05:00 GMT": time.Second,
		"Tue, 24 Nov 2099 12:00:00 GMT": time.Hour,
	} {
		require.Equal(t, want, callback.RetryAfter(text, now), text)
	}
}

func FuzzDecodeStored(f *testing.F) {
	f.Add([]byte(`{"v":1,"first":1,"tries":2,"due":3,"body":{"a":"<"}}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		again, ok := callback.Recode(data)
		if !ok {
			return
		}
		twice, ok := callback.Recode(again)
		require.True(t, ok)
		require.Equal(t, again, twice, "the body isn't altered by being stored again")
	})
}
