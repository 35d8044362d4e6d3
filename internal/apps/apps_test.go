package apps_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/apps"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// documents keeps them in memory; record/bolt is tested with its own.
type documents struct {
	mu   sync.Mutex
	docs map[string][]byte
	err  error

	failAfter int // so many more changes are kept, then none; 0 for all
}

func (d *documents) Documents(_ context.Context, prefix string) (map[string][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string][]byte{}
	for name, text := range d.docs {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			out[rest] = text
		}
	}
	return out, d.err
}

func (d *documents) SetDocument(_ context.Context, name string, text []byte) error {
	runtime.Gosched() // a disk takes its time
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	if d.failAfter > 0 {
		if d.failAfter--; d.failAfter == 0 {
			d.err = errors.New("disk full")
		}
	}
	if text == nil {
		delete(d.docs, name)
		return nil
	}
	d.docs[name] = text
	return nil
}

type kit struct {
	docs *documents
	now  atomic.Int64
	*apps.Registry
}

func defaults() apps.Settings {
	return apps.Settings{
		Title: new("wabek"), Pool: new("default"), Length: new(6), ExpirySeconds: new(600), Attempts: new(5), Reissue: new(apps.Supersede),
		CooldownSeconds: new(30), PerHour: new(6), PerDay: new(20), WrongTries: new(100), Locale: new("en"),
	}
}

const fixed = "a fixed key of the configuration"

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{docs: &documents{docs: map[string][]byte{}}}
	k.now.Store(1_800_000_000)
	k.open(t)
	return k
}

func (k *kit) clock() time.Time { return time.Unix(k.now.Load(), 0) }

func (k *kit) open(tb testing.TB) {
	tb.Helper()
	var err error
	k.Registry, err = apps.Open(tb.Context(), apps.Config{
		Documents: k.docs, Default: defaults(), Fixed: []apps.FixedKey{{ID: "fixed", Digest: apps.DigestOf(fixed), Scopes: apps.Scopes()}}, PhoneKey: keys.NewMAC([]byte("key")), CallbackKey: keys.NewMAC([]byte("callback")),
		Now: k.clock, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
}

var home = netip.MustParseAddr("192.0.2.7")

func (k *kit) key(t *testing.T, n apps.NewKey) (apps.Key, string) {
	t.Helper()
	key, text, err := k.CreateKey(t.Context(), n)
	require.NoError(t, err)
	require.Regexp(t, `^wbk_[a-z2-7]{10}_[a-z2-7]{26}$`, text)
	return key, text
}

func TestKeys(t *testing.T) { //nolint:tparallel // the steps of one story
	t.Parallel()
	k := newKit(t)
	_, err := k.SaveApp(t.Context(), "shop", apps.Settings{}, true)
	require.NoError(t, err)
	key, text := k.key(t, apps.NewKey{App: "shop", Label: "web", Scopes: []apps.Scope{apps.ScopeOTP}})

	t.Run("one lets its app in, and is good for its scopes", func(t *testing.T) { //nolint:paralleltest // as above
		caller, err := k.Authenticate(text, home)
		require.NoError(t, err)
		require.Equal(t, "shop", caller.App.Name)
		require.True(t, caller.Key.Has(apps.ScopeOTP))
		require.True(t, caller.Key.Has(apps.ScopeRead))
		require.False(t, caller.Key.Has(apps.ScopeAdmin))
	})
	t.Run("its secret is nowhere", func(t *testing.T) { //nolint:paralleltest // as above
		secret := text[strings.LastIndex(text, "_")+1:]
		for _, doc := range k.docs.docs {
			require.NotContains(t, string(doc), secret)
		}
	})
	t.Run("what isn't quite it doesn't", func(t *testing.T) { //nolint:paralleltest // as above
		for _, bad := range []string{"", "x", text + "x", text[:len(text)-1], "wbk_" + key.ID + "_", "wbk__", "wbk_aaaaaaaaaa_" + text[15:], strings.ToUpper(text)} {
			_, err := k.Authenticate(bad, home)
			require.ErrorIs(t, err, apps.ErrWrongKey, bad)
		}
	})
	t.Run("the configuration's own is the default app's, for everything", func(t *testing.T) { //nolint:paralleltest // as above
		caller, err := k.Authenticate(fixed, home)
		require.NoError(t, err)
		require.Equal(t, otp.DefaultApp, caller.App.Name)
		require.True(t, caller.Key.Has(apps.ScopeAdmin))
	})
	t.Run("a network may bound it", func(t *testing.T) { //nolint:paralleltest // as above
		_, near := k.key(t, apps.NewKey{App: "shop", Scopes: []apps.Scope{apps.ScopeOTP}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}})
		for from, want := range map[string]error{"192.0.2.200": nil, "::ffff:192.0.2.1": nil, "2001:db8::1": nil, "192.0.3.1": apps.ErrWrongNetwork, "2001:db9::1": apps.ErrWrongNetwork} {
			_, err := k.Authenticate(near, netip.MustParseAddr(from))
			require.Equal(t, want, err, from)
		}
		_, err := k.Authenticate(near, netip.Addr{})
		require.ErrorIs(t, err, apps.ErrWrongNetwork, "an address that isn't known is in no network")
	})
	t.Run("it may expire", func(t *testing.T) { //nolint:paralleltest // as above
		_, short := k.key(t, apps.NewKey{App: "shop", Scopes: []apps.Scope{apps.ScopeOTP}, Expires: k.clock().Add(time.Minute)})
		k.now.Add(59)
		_, err := k.Authenticate(short, home)
		require.NoError(t, err)
		k.now.Add(1)
		_, err = k.Authenticate(short, home)
		require.ErrorIs(t, err, apps.ErrKeyExpired)
	})
	t.Run("all is still so after a restart", func(t *testing.T) { //nolint:paralleltest // as above
		before := k.Keys("")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k.Run(ctx) // stores the last uses
		k.open(t)
		require.Equal(t, before, k.Keys(""))
		require.Equal(t, k.clock().Add(-time.Minute).Truncate(time.Minute).UTC(), k.Keys("shop")[0].LastUsed)
		_, err := k.Authenticate(text, home)
		require.NoError(t, err)
	})
	t.Run("revoked it lets nobody in, also after a restart", func(t *testing.T) { //nolint:paralleltest // as above
		require.NoError(t, k.RevokeKey(t.Context(), key.ID))
		for range 2 {
			_, err := k.Authenticate(text, home)
			require.ErrorIs(t, err, apps.ErrWrongKey)
			k.open(t)
		}
		require.ErrorIs(t, k.RevokeKey(t.Context(), key.ID), apps.ErrNoKey)
	})
}

func TestKeys_WhatIsRefused(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for name, c := range map[string]struct {
		new   apps.NewKey
		field string
	}{
		"no scope":         {apps.NewKey{App: "default"}, "scopes"},
		"an unknown scope": {apps.NewKey{App: "default", Scopes: []apps.Scope{"root"}}, "scopes"},
		"a past expiry":    {apps.NewKey{App: "default", Scopes: apps.Scopes(), Expires: k.clock()}, "expires"},
		"a label of lines": {apps.NewKey{App: "default", Scopes: apps.Scopes(), Label: "a\nb"}, "label"},
		"many networks":    {apps.NewKey{App: "default", Scopes: apps.Scopes(), Networks: make([]netip.Prefix, 51)}, "networks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := k.CreateKey(t.Context(), c.new)
			var wrong *apps.SettingError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, c.field, wrong.Field)
		})
	}
	_, _, err := k.CreateKey(t.Context(), apps.NewKey{App: "nobody", Scopes: apps.Scopes()})
	require.ErrorIs(t, err, apps.ErrNoApp)
}

func TestApps(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	shop, err := k.SaveApp(t.Context(), "shop", apps.Settings{Length: new(8), Reissue: new(apps.Same), RatePerSecond: new(2.5)}, true)
	require.NoError(t, err)
	require.Equal(t, otp.Policy{Length: 8, Expiry: 10 * time.Minute, MaxAttempts: 5}, shop.Policy, "the rest is the default app's")
	require.Equal(t, otp.Limits{Cooldown: 30 * time.Second, PerHour: 6, PerDay: 20, MaxGuesses: 100}, shop.Limits)
	require.Equal(t, 2, shop.Burst)

	_, err = k.SaveApp(t.Context(), "shop", apps.Settings{}, true)
	require.ErrorIs(t, err, apps.ErrExists)
	_, err = k.SaveApp(t.Context(), "shops", apps.Settings{}, false)
	require.ErrorIs(t, err, apps.ErrNoApp)
	_, err = k.SaveApp(t.Context(), "Shop!", apps.Settings{}, true)
	require.ErrorIs(t, err, apps.ErrMalformed)

	_, err = k.SaveApp(t.Context(), otp.DefaultApp, apps.Settings{Attempts: new(3), CallbackURL: new("https://example.com/")}, false)
	require.NoError(t, err)
	shop, err = k.App("shop")
	require.NoError(t, err)
	require.Equal(t, otp.Policy{Length: 8, Expiry: 10 * time.Minute, MaxAttempts: 3}, shop.Policy, "a change of the default app is the others' too")
	require.Empty(t, shop.CallbackURL, "but for what belongs to one app")
	k.open(t)
	again, err := k.App("shop")
	require.NoError(t, err)
	require.Equal(t, shop, again)

	_, text := k.key(t, apps.NewKey{App: "shop", Scopes: apps.Scopes()})
	require.NoError(t, k.DeleteApp(t.Context(), "shop"))
	_, err = k.Authenticate(text, home)
	require.ErrorIs(t, err, apps.ErrWrongKey)
	_, err = k.SaveApp(t.Context(), "shop", apps.Settings{}, true)
	require.NoError(t, err)
	k.open(t)
	_, err = k.Authenticate(text, home)
	require.ErrorIs(t, err, apps.ErrWrongKey, "a new app of the name knows no old key")
	require.ErrorIs(t, k.DeleteApp(t.Context(), otp.DefaultApp), apps.ErrDefault)
	require.ErrorIs(t, k.DeleteApp(t.Context(), "nobody"), apps.ErrNoApp)
}

func TestApps_AChangeThatIsNotStoredDoesNotHold(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	before := maps.Clone(k.docs.docs)
	k.docs.err = errors.New("disk full")
	_, err := k.SaveApp(t.Context(), "shop", apps.Settings{}, true)
	require.ErrorIs(t, err, k.docs.err)
	_, _, err = k.CreateKey(t.Context(), apps.NewKey{App: "default", Scopes: apps.Scopes()})
	require.ErrorIs(t, err, k.docs.err)
	require.Len(t, k.Apps(), 1)
	require.Empty(t, k.Keys(""))
	require.Equal(t, before, k.docs.docs)
}

func TestApps_AWrongSettingIsNamed(t *testing.T) {
	t.Parallel()
	for field, own := range map[string]apps.Settings{
		"title":           {Title: new("")},
		"pool":            {Pool: new("Pool")},
		"reissue":         {Reissue: new(apps.Reissue("both"))},
		"length":          {Length: new(5)},
		"expirySeconds":   {ExpirySeconds: new(59)},
		"attempts":        {Attempts: new(11)},
		"cooldownSeconds": {CooldownSeconds: new(-1)},
		"perHour":         {PerHour: new(-1)},
		"perDay":          {PerDay: new(1001)},
		"wrongTries":      {WrongTries: new(101)},
		"ratePerSecond":   {RatePerSecond: new(-0.1)},
		"burst":           {Burst: new(-1)},
		"perAddressHour":  {PerAddressHour: new(-1)},
		"allowCountries":  {AllowCountries: new([]string{"TR", "UK"})},
		"denyCountries":   {DenyCountries: new([]string{"tr"})},
		"country":         {Country: new("UK")},
		"locale":          {Locale: new("türkçe")},
		"testNumbers":     {TestNumbers: new(map[string]string{"x": "12"})},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			_, err := newKit(t).SaveApp(t.Context(), "shop", own, true)
			var wrong *apps.SettingError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, field, wrong.Field)
			require.ErrorContains(t, err, field)
		})
	}
}

func TestCallbackSecrets(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	changed := k.Changed()
	shop, err := k.SaveApp(t.Context(), "shop", apps.Settings{CallbackURL: new("https://example.com/hook")}, true)
	require.NoError(t, err)
	<-changed
	first := k.CallbackSecret("shop", shop.Callback.Salt)
	require.Len(t, first, 32)
	require.NotEqual(t, first, k.CallbackSecret("other", shop.Callback.Salt))
	shop, err = k.SaveApp(t.Context(), "shop", apps.Settings{CallbackURL: new("https://example.com/other")}, false)
	require.NoError(t, err)
	require.Equal(t, first, k.CallbackSecret("shop", shop.Callback.Salt), "another address is no reason for another secret")
	shop, err = k.RotateCallbackSecret(t.Context(), "shop")
	require.NoError(t, err)
	require.NotEqual(t, first, k.CallbackSecret("shop", shop.Callback.Salt))
	require.Equal(t, first, k.CallbackSecret("shop", shop.Callback.Previous))
	require.Equal(t, k.clock().Add(apps.CallbackOverlap).UTC(), shop.Callback.Until)
	k.open(t)
	again, err := k.App("shop")
	require.NoError(t, err)
	require.Equal(t, shop, again)
	require.NoError(t, k.DeleteApp(t.Context(), "shop"))
	shop, err = k.SaveApp(t.Context(), "shop", apps.Settings{CallbackURL: new("https://example.com/hook")}, true)
	require.NoError(t, err)
	require.NotEqual(t, first, k.CallbackSecret("shop", shop.Callback.Salt), "a new app of the name has a new secret")
	_, err = k.RotateCallbackSecret(t.Context(), "nobody")
	require.ErrorIs(t, err, apps.ErrNoApp)
}

func TestTestNumbers(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	number, err := phone.Parse("+905551234567")
	require.NoError(t, err)
	app, err := k.SetTestNumber(t.Context(), otp.DefaultApp, number, "424242")
	require.NoError(t, err)
	for _, doc := range k.docs.docs {
		require.NotContains(t, string(doc), "5551234567")
	}
	code, ok := k.TestNumber(app, number)
	require.True(t, ok)
	require.Equal(t, "424242", code)
	app, err = k.SetTestNumber(t.Context(), otp.DefaultApp, number, "")
	require.NoError(t, err)
	_, ok = k.TestNumber(app, number)
	require.False(t, ok)
}

func TestTestNumbers_SetAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	const count = 50
	var wait sync.WaitGroup
	errs := make([]error, count)
	for i := range count {
		number, err := phone.Parse(fmt.Sprintf("+9055512345%02d", i))
		require.NoError(t, err)
		wait.Go(func() { _, errs[i] = k.SetTestNumber(t.Context(), otp.DefaultApp, number, "424242") })
	}
	wait.Wait()
	require.NoError(t, errors.Join(errs...))
	app, err := k.App(otp.DefaultApp)
	require.NoError(t, err)
	require.Len(t, app.TestNumbers, count)
}

func TestDeleteApp_WhatIsGoneIsGoneWhereTheDiskFails(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	_, err := k.SaveApp(t.Context(), "shop", apps.Settings{}, true)
	require.NoError(t, err)
	_, one := k.key(t, apps.NewKey{App: "shop", Scopes: apps.Scopes()})
	_, two := k.key(t, apps.NewKey{App: "shop", Scopes: apps.Scopes()})
	k.docs.failAfter = 1
	require.Error(t, k.DeleteApp(t.Context(), "shop"))
	stored := len(k.docs.docs)
	good := 0
	for _, text := range []string{one, two} {
		if _, err := k.Authenticate(text, home); err == nil {
			good++
		}
	}
	require.Equal(t, 1, good, "the key that is off the disk lets nobody in")
	k.docs.failAfter, k.docs.err = 0, nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.Run(ctx)
	require.Len(t, k.docs.docs, stored, "and doesn't come back with its last use")
	require.NoError(t, k.DeleteApp(t.Context(), "shop"))
	require.Empty(t, k.Keys("shop"))
}

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "192.0.2.7/24": "192.0.2.0/24", "2001:db8::1": "2001:db8::1/128", "2001:db8::1/32": "2001:db8::/32",
		"::ffff:192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7/120": "192.0.2.0/24", "::ffff:192.0.2.7/96": "0.0.0.0/0",
	} {
		network, err := apps.ParseNetwork(text)
		require.NoError(t, err, text)
		require.Equal(t, want, network.String(), text)
	}
}

func TestLimiter_AChangeOfSettingsGivesNothingAway(t *testing.T) {
	t.Parallel()
	l := apps.NewLimiter(func() time.Time { return time.Unix(1_800_000_000, 0) })
	address := netip.MustParseAddr("192.0.2.1")
	passed := 0
	for i := range 100 { // requests from before and after a change, at once
		a := &apps.App{Name: "shop", Rate: 2, Burst: 40 + i%2}
		if l.Admit(a, netip.Addr{}) == nil {
			passed++
		}
	}
	require.Equal(t, 40, passed)
	passed = 0
	for i := range 100 {
		a := &apps.App{Name: "other", PerAddress: 5 + i%2}
		if l.Admit(a, address) == nil {
			passed++
		}
	}
	require.Equal(t, 5, passed)
}

func TestLimiter_TheLowestRateHasAnEnd(t *testing.T) {
	t.Parallel()
	l := apps.NewLimiter(func() time.Time { return time.Unix(1_800_000_000, 0) })
	app := &apps.App{Name: "shop", Rate: 1e-300, Burst: 1}
	require.NoError(t, l.Admit(app, netip.Addr{}))
	var limit *otp.LimitError
	require.ErrorAs(t, l.Admit(app, netip.Addr{}), &limit)
	require.Greater(t, limit.RetryAfter, 24*time.Hour)
	require.Greater(t, limit.Window, 24*time.Hour)
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1_800_000_000)
	l := apps.NewLimiter(func() time.Time { return time.Unix(now.Load(), 0) })
	app := &apps.App{Name: "shop", Rate: 2, Burst: 40}
	passed := func(a *apps.App, address string, n int) int {
		var addr netip.Addr
		if address != "" {
			addr = netip.MustParseAddr(address)
		}
		var ok atomic.Int64
		var wait sync.WaitGroup
		for range n {
			wait.Go(func() {
				err := l.Admit(a, addr)
				if err == nil {
					ok.Add(1)
					return
				}
				var limit *otp.LimitError
				if !errors.As(err, &limit) || limit.RetryAfter <= 0 {
					t.Error("a refusal without an end:", err)
				}
			})
		}
		wait.Wait()
		return int(ok.Load())
	}
	require.Equal(t, 40, passed(app, "", 500), "its burst, exactly")
	now.Add(3)
	require.Equal(t, 6, passed(app, "", 500))
	require.Equal(t, 40, passed(&apps.App{Name: "other", Rate: 2, Burst: 40}, "", 500), "another app has its own")

	free := &apps.App{Name: "free", PerAddress: 5}
	require.Equal(t, 5, passed(free, "192.0.2.1", 50))
	require.Equal(t, 0, passed(free, "::ffff:192.0.2.1", 50), "the same address")
	require.Equal(t, 5, passed(free, "192.0.2.2", 50))
	require.Equal(t, 5, passed(free, "2001:db8::1", 50))
	require.Equal(t, 0, passed(free, "2001:db8::2", 50), "the same household")
	require.Equal(t, 50, passed(free, "", 50))
	now.Add(720)
	require.Equal(t, 1, passed(free, "192.0.2.1", 50))

	both := &apps.App{Name: "both", Rate: 1, Burst: 3, PerAddress: 1}
	require.Equal(t, 1, passed(both, "192.0.2.1", 50))
	require.Equal(t, 1, passed(both, "192.0.2.2", 50), "an address that is refused costs the app nothing")
	require.Equal(t, 1, passed(both, "192.0.2.3", 50))
	require.Equal(t, 0, passed(both, "192.0.2.4", 50))
}

func TestSendsTo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow, deny []string
		code        string
		want        bool
	}{
		{nil, nil, "TR", true},
		{nil, nil, "", true},
		{[]string{"TR"}, nil, "TR", true},
		{[]string{"TR"}, nil, "DE", false},
		{[]string{"TR"}, nil, "", false},
		{nil, []string{"TR"}, "TR", false},
		{nil, []string{"TR"}, "DE", true},
		{[]string{"TR"}, []string{"TR"}, "TR", false},
	} {
		require.Equal(t, c.want, (&apps.App{Allow: c.allow, Deny: c.deny}).SendsTo(c.code), "%+v", c)
	}
}
