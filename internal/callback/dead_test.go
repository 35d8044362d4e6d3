package callback_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/callback"
)

func TestDead_ListReplayPurge(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := running(t, func(c *callback.Config) { c.Now = clock.Now; c.Schedule = []time.Duration{48 * time.Hour} })
	r := receive(t, answer(http.StatusBadRequest))
	b.to.set(app, r.URL)
	b.enqueue(app, numbers(7)...)
	require.Eventually(t, func() bool { clock.add(time.Minute); return len(b.dead()) == 7 }, patient, 2*tick)
	b.empty()

	page, err := b.Dead(within(t), app, 0, 3)
	require.NoError(t, err)
	require.Len(t, page, 3)
	rest, err := b.Dead(within(t), app, page[2].Place, 100)
	require.NoError(t, err)
	require.Len(t, rest, 4)
	all := slices.Concat(page, rest)
	for _, l := range all {
		require.Equal(t, callback.ReasonTooOld, l.Reason)
		require.Equal(t, app, l.App)
		require.Equal(t, "status 400", l.Last)
		require.Contains(t, string(l.Body), `"type":"otp.status"`)
	}
	empty, err := b.Dead(within(t), other, 0, 100)
	require.NoError(t, err)
	require.Empty(t, empty)

	before := r.count()
	r.set(nil)
	require.ErrorIs(t, b.Replay(within(t), app, "nothing"), callback.ErrNoLetter)
	require.NoError(t, b.Replay(within(t), app, all[0].ID))
	require.ErrorIs(t, b.Replay(within(t), app, all[0].ID), callback.ErrNoLetter)
	require.Eventually(t, func() bool { clock.add(time.Minute); return r.distinct() == 1 }, patient, 2*tick)
	again := r.requests()[before]
	require.Equal(t, all[0].ID, again.ID)
	i := slices.IndexFunc(r.requests(), func(g got) bool { return g.ID == again.ID })
	require.Equal(t, r.requests()[i].Body, again.Body, "what is replayed is what was to be posted")
	n, err := b.Purge(within(t), app, all[1].ID)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = b.ReplayAll(within(t), app)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.Eventually(t, func() bool { clock.add(time.Minute); return r.distinct() == 6 }, patient, 2*tick)
	require.Empty(t, b.dead())
	b.empty()
	n, err = b.Purge(within(t), app, "")
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestDead_WhatFailsAgainAfterItsReplayIsThereAgain(t *testing.T) {
	t.Parallel()
	clock := newClock()
	b := running(t, func(c *callback.Config) { c.Now = clock.Now; c.Schedule = []time.Duration{48 * time.Hour} })
	r := receive(t, answer(http.StatusBadRequest))
	b.to.set(app, r.URL)
	b.enqueue(app, 1)
	for n := range 3 {
		require.Eventually(t, func() bool { clock.add(time.Minute); return len(b.dead()) == 1 && b.stored() == 0 }, patient, 2*tick)
		require.Equal(t, n+1, r.count())
		replayed, err := b.ReplayAll(within(t), app)
		require.NoError(t, err)
		require.Equal(t, 1, replayed)
	}
}

func TestDead_AnAppWithTooManyWaitingKeepsItsRestAsLetters(t *testing.T) {
	t.Parallel()
	b := running(t, func(c *callback.Config) { c.Backlog = 10; c.InFlight = 1 })
	release := make(chan struct{})
	slow := receive(t, func(http.ResponseWriter, got) bool { <-release; return true })
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	fast := receive(t, nil)
	b.to.set(app, slow.URL)
	b.to.set(other, fast.URL)
	require.Eventually(t, func() bool { return len(b.States()) == 2 }, patient, tick)
	for n := range 25 {
		b.enqueue(app, n)
	}
	require.Equal(t, 25, b.stored()+len(b.dead()))
	require.GreaterOrEqual(t, len(b.dead()), 10, "the count is one that is corrected now and then")
	require.Equal(t, callback.ReasonOverflow, b.dead()[0].Reason)
	require.ErrorIs(t, b.Replay(within(t), app, b.dead()[0].ID), callback.ErrBacklog)
	b.enqueue(other, numbers(9)...)
	fast.waitFor(t, 9)
	letGo()
	require.Eventually(t, func() bool {
		_, err := b.ReplayAll(within(t), app)
		return err == nil && len(b.dead()) == 0
	}, patient, tick)
	slow.waitFor(t, 25)
	b.empty()
}

func TestDead_AFullQueueMakesLettersInsteadOfStoppingEverything(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.to.set(app, "https://example.com")
	b.bound(3)
	b.enqueue(app, numbers(5)...)
	require.Equal(t, 3, b.stored())
	require.Len(t, b.dead(), 2)
	require.Equal(t, callback.ReasonOverflow, b.dead()[0].Reason)
	require.ErrorIs(t, b.Replay(within(t), app, b.dead()[0].ID), callback.ErrBacklog)
}

func TestDead_WhatCantBeReadIsPutAside(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r := receive(t, nil)
	put := func(id, data string) {
		done := make(chan error, 1)
		b.queue.PutCallback(within(t), app, id, []byte(data), func(_ bool, err error) { done <- err })
		require.NoError(t, <-done)
	}
	put("bad-1", "{")
	put("bad-2", `{"v":1,"first":1}`)
	put("newer", `{"v":2,"first":1,"body":{}}`)
	b.to.set(app, r.URL)
	b.run()
	b.enqueue(app, 1)
	r.waitFor(t, 1)
	require.Eventually(t, func() bool { return b.stored() == 1 }, patient, tick, "the newer one stays")
	letters := b.dead()
	require.Len(t, letters, 2)
	require.Equal(t, callback.ReasonMalformed, letters[0].Reason)
	require.Error(t, b.Replay(within(t), app, "bad-1"))
	n, err := b.ReplayAll(within(t), app)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, 1, r.count())
}
