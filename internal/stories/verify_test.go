package stories_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStory_Of256RightTriesAtOnceOneIsValid(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	const tries = 256
	id := w.client.mustIssue(t, "905552000001")
	code := w.phones.receives(t, "905552000001").code()
	begin := make(chan struct{})
	verdicts := make(chan verdict, tries)
	var group sync.WaitGroup
	for range tries {
		group.Go(func() {
			<-begin
			v, err := w.client.verify(id, code)
			if err != nil {
				t.Error(err)
			}
			verdicts <- v
		})
	}
	close(begin)
	group.Wait()
	close(verdicts)
	count := map[verdict]int{}
	for v := range verdicts {
		count[v]++
	}
	require.Equal(t, map[verdict]int{{Valid: true}: 1, {Reason: reasonUsed}: tries - 1}, count)
}

// The crash: the API dies while many right tries are under way, the one that is valid perhaps among them. Each client
// tries again until it is told something.
func TestStory_RightTriesWhileTheAPIIsKilled(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	const clients = 48
	var fresh numbers
	lost, cuts := 0, 0
	for round := range inLongForm(60, 8) {
		digits := fresh.next()
		id := w.client.mustIssue(t, digits)
		code := w.phones.receives(t, digits).code()
		var valid, cut, told atomic.Int32
		var group sync.WaitGroup
		for range clients {
			group.Go(func() {
				for {
					v, err := w.client.verify(id, code)
					switch {
					case errors.Is(err, errRefused): // the request was never made
						<-time.After(2 * time.Millisecond) // leaves the processor to the API's start
						continue
					case err != nil:
						cut.Add(1)
						continue
					case v.Valid:
						valid.Add(1)
					case v.Reason != reasonUsed:
						t.Errorf("unexpected verdict %+v", v)
					}
					told.Add(1)
					return
				}
			})
		}
		// At any moment of the round, or after a few have been told.
		if round%2 == 0 {
			<-time.After(rand.N(8 * time.Millisecond))
		} else {
			eventually(t, func() bool { return int(told.Load()+cut.Load()) >= round%8 }, "nobody is told anything")
		}
		w.api.kill()
		w.startAPI()
		group.Wait()

		cuts += int(cut.Load())
		require.LessOrEqual(t, valid.Load(), int32(1), "round %d", round)
		if valid.Load() == 0 {
			require.Positive(t, cut.Load(), "nobody was told valid:true, and no connection was cut")
			lost++
		}
		v, err := w.client.verify(id, code)
		require.NoError(t, err)
		require.Equal(t, verdict{Reason: reasonUsed}, v, "whoever was told, it is used")
	}
	t.Logf("%d connections cut; valid:true lost with one of them in %d rounds", cuts, lost)
	require.Positive(t, cuts, "no kill came between tries: the story shows nothing")
}
