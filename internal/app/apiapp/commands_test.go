package apiapp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// commands run `api` on a data directory.
type commands struct {
	t   *testing.T
	dir string
}

func (c commands) run(want int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	code := Main(context.Background(), args, []string{"WABEK_DATA_DIR=" + c.dir, "WABEK_API_KEY=a-key-of-these-tests"}, &out, &errs)
	require.Equal(c.t, want, code, "%s: %s", strings.Join(args, " "), errs.String())
	return out.String(), errs.String()
}

func (a *App) post(t *testing.T, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+"/api/v1/otp-verify",
		strings.NewReader(`{"otp_id":"01999999-9999-7999-8999-999999999999","otp":"123456"}`))
	require.NoError(t, err)
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// The same commands, with an API that runs and without one; what the one changes the other knows.
func TestCommands(t *testing.T) {
	t.Parallel()
	a := startAlone(t, func(ctx context.Context) error { <-ctx.Done(); return nil })
	dir := a.o.Config.DataDir
	c := commands{t: t, dir: dir}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()

	c.run(0, "app", "create", "shop", "title=Shop", "perHour=3", "allowCountries=TR,DE", "customCodes=true", "ratePerSecond=2.5")
	out, _ := c.run(0, "key", "create", "-app", "shop", "-scopes", "otp,read", "-networks", "127.0.0.0/8", "-days", "7", "-label", "web")
	key := regexp.MustCompile(`wbk_[a-z2-7]+_[a-z2-7]+`).FindString(out)
	id := strings.Split(key, "_")[1]
	require.Equal(t, http.StatusOK, a.post(t, key))
	_, errs := c.run(1, "app", "create", "shop")
	require.Contains(t, errs, "already")
	cancel()
	require.NoError(t, <-ran)
	require.NoFileExists(t, filepath.Join(dir, doorFile))

	out, _ = c.run(0, "app", "show", "shop")
	require.Contains(t, out, `"perHour": 3`)
	require.Contains(t, out, `"ratePerSecond": 2.5`)
	out, _ = c.run(0, "app", "set", "shop", "perHour=", "length=8")
	require.NotContains(t, out, `"perHour": 3`)
	require.Contains(t, out, `"title": "Shop"`, "what isn't named stays")
	out, _ = c.run(0, "key", "list", "-app", "shop")
	require.Contains(t, out, id)
	require.Contains(t, out, "127.0.0.0/8")
	require.NotContains(t, out, key)
	c.run(0, "app", "test-number", "shop", "+905551234567", "424242")
	c.run(0, "app", "unlock", "shop", "+905551234567")
	c.run(0, "key", "revoke", id)
	_, errs = c.run(1, "key", "revoke", id)
	require.Contains(t, errs, "none of this name")

	a = startAt(t, dir, func(ctx context.Context) error { <-ctx.Done(); return nil })
	ctx, cancel = context.WithCancel(t.Context())
	go func() { ran <- a.Run(ctx) }()
	require.Equal(t, http.StatusUnauthorized, a.post(t, key))
	c.run(0, "app", "delete", "shop")
	out, _ = c.run(0, "app", "list")
	require.NotContains(t, out, "shop")
	text, err := os.Stat(filepath.Join(dir, doorFile))
	require.NoError(t, err)
	where, err := os.ReadFile(filepath.Join(dir, doorFile))
	require.NoError(t, err)
	require.NotContains(t, string(where), "local_", "no key is in the file")
	require.NotContains(t, string(where), "key")
	require.Equal(t, os.FileMode(0o600), text.Mode())
	cancel()
	require.NoError(t, <-ran)
}

// How an app's WHMCS is asked: its secrets come from standard input, and are shown by nobody.
func TestCommands_OfWHMCS(t *testing.T) {
	t.Parallel()
	a := startAlone(t, func(ctx context.Context) error { <-ctx.Done(); return nil })
	require.NoError(t, a.close())
	run := func(stdin string, args ...string) (string, error) {
		var out strings.Builder
		err := administer(t.Context(), Options{Config: a.o.Config, Logger: a.o.Logger, Stdin: strings.NewReader(stdin)}, args, &out)
		return out.String(), err
	}
	_, err := run("", "whmcs", "set", "default", "https://billing.example", "id-1")
	require.ErrorContains(t, err, "secret is missing")
	out, err := run("s3cr3t\nk3y\n", "whmcs", "set", "default", "https://billing.example", "id-1")
	require.NoError(t, err)
	require.Contains(t, out, `"accessKeySet": true`)
	out, err = run("", "whmcs", "show", "default")
	require.NoError(t, err)
	require.Contains(t, out, "id-1")
	require.NotContains(t, out, "s3cr3t")
	_, err = run("", "whmcs", "drop", "default")
	require.NoError(t, err)
	_, err = run("", "whmcs", "show", "default")
	require.Error(t, err)
	for _, what := range []string{"opt-out", "opt-in"} {
		_, err = run("", what, "default", "+905551234567")
		require.NoError(t, err)
	}
}

func TestCommands_WhatCannotBeUnderstood(t *testing.T) {
	t.Parallel()
	c := commands{t: t, dir: t.TempDir()}
	for _, args := range [][]string{
		{"app"},
		{"key"},
		{"app", "make", "x"},
		{"app", "show"},
		{"app", "set", "shop"},
		{"app", "list", "x"},
		{"app", "unlock", "x"},
		{"key", "create", "shop"},
		{"key", "create", "-apps", "x"},
		{"key", "list", "x"},
		{"key", "revoke"},
		{"whmcs", "set", "shop"},
		{"opt-out", "shop"},
	} {
		_, errs := c.run(2, args...)
		require.Contains(t, errs, "api -h")
	}
	for _, args := range [][]string{{"app", "set", "shop", "leng=8"}, {"app", "set", "shop", "length"}, {"app", "set", "shop", "length=eight"}} {
		c.run(1, args...)
	}
	_, errs := commands{t: t, dir: filepath.Join(t.TempDir(), "none")}.run(1, "app", "list")
	require.Contains(t, errs, "start the API once")
}

// Whoever names one letter by a variable that is empty doesn't mean all of them.
func TestCommands_NoLetterIsNotAllOfThem(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"replay", "discard"} {
		_, err := parseCommand([]string{"callback", what, "shop", ""})
		require.ErrorIs(t, err, errCall, what)
	}
}

// Dead letters are in the queue, which is the server's: a command says so where none runs.
func TestCommands_DeadLettersNeedAServer(t *testing.T) {
	t.Parallel()
	a := startAlone(t, func(ctx context.Context) error { <-ctx.Done(); return nil })
	require.NoError(t, a.close())
	c := commands{t: t, dir: a.o.Config.DataDir}
	for _, what := range []string{"dead", "replay", "discard"} {
		_, errs := c.run(1, "callback", what, "default")
		require.Contains(t, errs, "queue", what)
		require.NotContains(t, errs, "panicked", what)
	}
}

// The key for commands goes to the server alone: to no proxy of the environment, and nowhere that somebody redirects to.
func TestCommands_TheKeyGoesNowhereElse(t *testing.T) {
	t.Parallel()
	a := startAlone(t, func(ctx context.Context) error { <-ctx.Done(); return nil })
	t.Cleanup(func() { require.NoError(t, a.close()) })
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	impostor := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer impostor.Close()
	c, err := openAdmin(t.Context(), a.o)
	require.NoError(t, err)
	c.door.URL = impostor.URL
	require.Error(t, c.call(t.Context(), http.MethodGet, appsPath, nil, new(json.RawMessage)))
	require.Zero(t, elsewhere.Load())
	transport, ok := c.http.Transport.(*http.Transport)
	require.True(t, ok)
	require.Nil(t, transport.Proxy)
}
