package stories_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A month's invoices are announced, each until it has an answer, while API, sender and NATS are killed under them: each client
// gets one notice, whatever was cut. The resolver runs in the API.
func TestStory_EveryInvoiceIsOneNotice(t *testing.T) {
	t.Parallel()
	w := startAll(t, "WABEK_NOTICES_PER_MINUTE=0")
	s := &noticeStory{t: t, w: w, invoices: int64(inLongForm(50_000, 300))}
	var hooks sync.WaitGroup
	for range 16 {
		hooks.Go(s.hook)
	}
	kills := inLongForm(5, 2)
	for i := range kills {
		eventually(t, func() bool { return s.answered.Load() >= s.invoices*int64(i+1)/int64(kills+1) }, "the hooks stand still")
		w.api.kill()
		w.startAPI()
		w.sender.kill()
		w.startSender()
		w.nats.kill()
		w.startNATS()
	}
	hooks.Wait()
	w.untilReady() // a sender that was killed comes back a while after its notices are handed out again
	for left := s.invoices + 1; left > 0; {
		eventually(t, func() bool {
			h, there := w.client.health()
			now := int64(h.Notices.Waiting + h.Notices.Pending)
			less := there && now < left
			if less {
				left = now
			}
			return less
		}, "some notices are never settled")
		if left == s.invoices/2 { // one kill in the middle of the sending too
			w.sender.kill()
			w.startSender()
		}
	}
	copied := 0
	for n := range s.invoices {
		messages, err := w.phones.shows(clientOf(n))
		require.NoError(t, err)
		require.Len(t, messages, 1, "the phone of invoice %d", n)
		copied += messages[0].Copies - 1
	}
	require.LessOrEqual(t, copied, 3*(kills+1), "copies, which a phone shows once, are those in flight at a kill")
	t.Logf("%d invoices, as many messages; API, sender and NATS killed %d times each; requests cut %d, told again %d, copies %d",
		s.invoices, kills, s.cut.Load(), s.known.Load(), copied)
}

type noticeStory struct {
	t        *testing.T
	w        *world
	invoices int64

	next, answered, cut, known atomic.Int64
}

func clientOf(invoice int64) string { return fmt.Sprintf("90557%07d", invoice) }

// signedEvent is a request of the enriched hook, which brings the client along.
func signedEvent(key string, event any, now time.Time) (body []byte, header http.Header) {
	body, _ = json.Marshal(event) // maps can always be written
	stamp := strconv.FormatInt(now.Unix(), 10)
	digest := sha256.Sum256([]byte(key))
	mac := hmac.New(sha256.New, digest[:])
	mac.Write(append([]byte(stamp+"."), body...))
	return body, http.Header{"X-Api-Key": {key}, "X-Wabek-Signature": {"t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))}}
}

func invoiceCreated(invoice int64) map[string]any {
	return map[string]any{
		"action": "InvoiceCreated", "invoiceid": invoice + 1, "userid": invoice + 1,
		"client": map[string]any{"phonenumber": "+90." + clientOf(invoice)[2:], "country": "TR", "language": "english", "firstname": "Jane", "currency_code": "TRY"},
		"data":   map[string]any{"total": "120.00", "duedate": "2026-12-01", "url": "https://billing.example/viewinvoice.php?id=1"},
	}
}

// hook announces invoices one after the other, each until it has an answer, and some once more.
func (s *noticeStory) hook() {
	for {
		n := s.next.Add(1) - 1
		if n >= s.invoices {
			return
		}
		first, ok := s.untilAnswered(n)
		if !ok {
			return
		}
		s.answered.Add(1)
		if n%10 == 0 {
			if again, ok := s.untilAnswered(n); ok && again != first {
				s.t.Errorf("invoice %d is event %s, then %s", n, first, again)
			}
		}
	}
}

func (s *noticeStory) untilAnswered(n int64) (eventID string, ok bool) {
	pause := time.NewTicker(glance)
	defer pause.Stop()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); {
		body, header := signedEvent(s.w.client.key, invoiceCreated(n), time.Now())
		a, err := request(http.MethodPost, s.w.client.url+"/api/v1/whmcs-webhook", header, json.RawMessage(body))
		var said struct {
			EventID   string `json:"eventId"`
			Duplicate bool   `json:"duplicate"`
		}
		switch {
		case err != nil:
			s.cut.Add(1)
		case a.status == http.StatusOK && json.Unmarshal(a.body, &said) == nil:
			if said.Duplicate {
				s.known.Add(1)
			}
			return said.EventID, true
		case a.status != http.StatusServiceUnavailable:
			s.t.Errorf("invoice %d: status %d: %s", n, a.status, a.body)
			return "", false
		}
		<-pause.C
	}
	s.t.Errorf("invoice %d has no answer", n)
	return "", false
}
