package stories_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clients give each request a key of its own and send it until it has an answer, while the API is killed under them:
// each key is one message, whatever was cut.
func TestStory_EveryKeyIsOneMessage(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	s := &onceStory{t: t, w: w, keys: int64(inLongForm(10_000, 300))}
	var clients sync.WaitGroup
	for range inLongForm(200, 20) {
		clients.Go(s.client)
	}
	kills := inLongForm(10, 2)
	for i := range kills {
		eventually(t, func() bool { return s.answered.Load() >= s.keys*int64(i+1)/int64(kills+1) }, "the requests stand still")
		w.api.kill()
		w.startAPI()
	}
	clients.Wait()
	require.Positive(t, s.cut.Load(), "no request was under way at a kill")
	require.Positive(t, s.replayed.Load(), "no answer was given again")

	for pending := s.keys + 1; pending > 0; { // ten thousand take the one session a while: it must go on
		eventually(t, func() bool {
			h, there := w.client.health()
			less := there && int64(h.Relay.Pending) < pending
			if less {
				pending = int64(h.Relay.Pending)
			}
			return less
		}, "some jobs are never settled")
	}
	shown := 0
	for n := range s.keys {
		messages, err := w.phones.shows(numberOf(n))
		require.NoError(t, err)
		require.Len(t, messages, 1, "the phone of key %d", n)
		require.Equal(t, 1, messages[0].Copies)
		shown += len(messages)
	}
	t.Logf("%d keys, %d messages; API killed %d times; requests cut %d, answers given again %d, refused for now %d",
		s.keys, shown, kills, s.cut.Load(), s.replayed.Load(), s.notNow.Load())
}

type onceStory struct {
	t    *testing.T
	w    *world
	keys int64

	next, answered, cut, replayed, notNow atomic.Int64
}

func numberOf(key int64) string { return fmt.Sprintf("90556%07d", key) }

// client sends requests one after the other, each until it has an answer, and some once more after it.
func (s *onceStory) client() {
	for {
		key := s.next.Add(1) - 1
		if key >= s.keys {
			return
		}
		first, ok := s.untilAnswered(key)
		if !ok {
			return
		}
		s.answered.Add(1)
		if key%10 == 0 {
			again, ok := s.untilAnswered(key)
			if ok && !bytes.Equal(first.body, again.body) {
				s.t.Errorf("key %d is answered %s, then %s", key, first.body, again.body)
			}
		}
	}
}

func (s *onceStory) untilAnswered(key int64) (answer, bool) {
	header := http.Header{"X-Api-Key": {s.w.client.key}, "Idempotency-Key": {fmt.Sprint("key-", key)}}
	body := map[string]string{"phone": "+" + numberOf(key), "purpose": "verification"}
	pause := time.NewTicker(glance)
	defer pause.Stop()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); {
		a, err := request(http.MethodPost, s.w.client.url+"/api/v1/otp", header, body)
		switch {
		case err != nil:
			s.cut.Add(1)
		case a.status == http.StatusOK:
			if a.header.Get("Idempotent-Replayed") != "" {
				s.replayed.Add(1)
			}
			return a, true
		case a.status == http.StatusConflict, a.status == http.StatusServiceUnavailable:
			s.notNow.Add(1)
		default:
			s.t.Errorf("key %d: status %d: %s", key, a.status, a.body)
			return a, false
		}
		<-pause.C
	}
	s.t.Errorf("key %d has no answer", key)
	return answer{}, false
}
