package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/callback"
	"wabek/internal/job"
)

// letters are dead ones, in memory; package callback tests the real ones.
type letters struct {
	all       []callback.Letter
	forgotten []string // apps
}

func (*letters) CheckURL(url string) error {
	if url == "http://127.0.0.1/" {
		return errors.New("the address is within this machine")
	}
	return nil
}

func (l *letters) Dead(_ context.Context, _ string, after uint64, limit int) (page []callback.Letter, _ error) {
	for _, letter := range l.all {
		if letter.Place > after && len(page) < limit {
			page = append(page, letter)
		}
	}
	return page, nil
}

func (l *letters) Replay(_ context.Context, app, id string) error {
	switch id {
	case "waits":
		return callback.ErrWaits
	case "backlog":
		return callback.ErrBacklog
	case "Not An Id":
		return fmt.Errorf("replay callback: %w", job.ErrName)
	case "away":
		return errors.New("the queue is away")
	}
	n, _ := l.Purge(context.Background(), app, id)
	if n == 0 {
		return callback.ErrNoLetter
	}
	return nil
}

func (l *letters) ReplayAll(_ context.Context, app string) (int, error) {
	return l.Purge(context.Background(), app, "")
}

func (l *letters) Forget(_ context.Context, app string) error {
	l.forgotten = append(l.forgotten, app)
	return nil
}

func (l *letters) Purge(_ context.Context, _, id string) (int, error) {
	before := len(l.all)
	l.all = slices.DeleteFunc(l.all, func(letter callback.Letter) bool { return id == "" || letter.ID == id })
	return before - len(l.all), nil
}

const callbackOfShop = "/api/v1/admin/apps/shop/callback"

func TestCallbacks_TheirSecret(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, doc := b.call("POST /api/v1/admin/apps", `{"name":"shop","callbackUrl":"http://127.0.0.1/"}`)
	require.Equal(t, "callbackUrl", doc["field"])
	b.call("POST /api/v1/admin/apps", `{"name":"shop","callbackUrl":"https://shop.example/wabek"}`)
	_, first := b.call("GET "+callbackOfShop, "")
	require.Equal(t, "https://shop.example/wabek", first["url"])
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, first["secret"])
	require.NotContains(t, first, "previousSecret")
	_, second := b.call("POST "+callbackOfShop+"/rotate", "")
	require.NotEqual(t, first["secret"], second["secret"])
	require.Equal(t, first["secret"], second["previousSecret"])
	require.Equal(t, "2026-11-25T09:00:00.000Z", second["previousUntil"])
	b.after(24 * time.Hour)
	_, third := b.call("GET "+callbackOfShop, "")
	require.Equal(t, document{"url": first["url"], "secret": second["secret"]}, third)
	secret, _ := first["secret"].(string)
	require.NotContains(t, b.log.String(), secret)
}

func TestCallbacks_DeadLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for place := range uint64(103) {
		b.letters.all = append(b.letters.all, callback.Letter{
			Place: place + 1, ID: "id-" + string('a'+rune(place%26)), Reason: "expired", Tries: 3, First: b.clock, At: b.clock,
		})
	}
	b.call("POST /api/v1/admin/apps", `{"name":"shop"}`)
	list := func(after string) []any {
		_, doc := b.call("GET "+callbackOfShop+"/dead"+after, "")
		page, _ := doc["letters"].([]any)
		return page
	}
	require.Len(t, list(""), 100)
	require.Len(t, list("?after=100"), 3)
	_, doc := b.call("POST "+callbackOfShop+"/dead/replay", `{"id":"id-b"}`)
	require.Equal(t, document{"success": true, "count": 1.0}, doc)
	status, _ := b.call("POST "+callbackOfShop+"/dead/replay", `{"id":"id-b"}`)
	require.Equal(t, http.StatusNotFound, status)
	_, doc = b.call("POST "+callbackOfShop+"/dead/discard", `{"id":"id-c"}`)
	require.Equal(t, document{"success": true, "count": 4.0}, doc)
	_, doc = b.call("POST "+callbackOfShop+"/dead/replay", `{}`)
	require.Equal(t, document{"success": true, "count": 95.0}, doc)
	require.Empty(t, list(""))
}

func TestCallbacks_WhyALetterIsNotReplayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.call("POST /api/v1/admin/apps", `{"name":"shop"}`)
	for id, want := range map[string]string{"waits": "conflict", "backlog": "conflict", "Not An Id": "not_found", "away": "queue_unavailable"} {
		_, doc := b.call("POST "+callbackOfShop+"/dead/replay", `{"id":"`+id+`"}`)
		require.Equal(t, want, doc["code"], id)
	}
}

// Neither what waits nor how its WHMCS is asked outlives an app: the next one of its name is somebody else's.
func TestApps_WhatIsKeptForADeletedOneIsForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, request := range []string{"POST /api/v1/admin/apps", "POST /api/v1/admin/apps"} {
		b.letters.forgotten = nil
		b.call(request, `{"name":"shop"}`)
		require.Equal(t, []string{"shop"}, b.letters.forgotten, "a deletion may have been cut short")
		status, _ := b.call("GET /api/v1/admin/apps/shop/whmcs", "")
		require.Equal(t, http.StatusNotFound, status)
		b.call("PUT /api/v1/admin/apps/shop/whmcs", goodAccess)
		b.call("DELETE /api/v1/admin/apps/shop", "")
		require.Equal(t, []string{"shop", "shop"}, b.letters.forgotten)
	}
}
