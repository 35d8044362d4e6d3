package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/phone"
)

func sealer(t *testing.T) *keys.SealKeys {
	t.Helper()
	s, err := keys.NewSecret(strings.Repeat("secret ", 8))
	require.NoError(t, err)
	return keys.DeriveSealKeys(s, keys.Secret{})
}

func body(t *testing.T) job.Body {
	t.Helper()
	to, err := phone.Parse("+905551234567")
	require.NoError(t, err)
	return job.Body{To: to, Text: "code 123456", MessageID: "3EB0AA", Expires: time.UnixMilli(1_700_000_000_123)}
}

func TestSealOpen_RoundTrip(t *testing.T) {
	t.Parallel()
	k := sealer(t)
	e, err := job.Seal(k, "j-1", job.LaneOTP, "default", body(t))
	require.NoError(t, err)
	require.Equal(t, job.AnySession, e.Target)
	require.NotContains(t, string(e.Sealed), "123456")
	require.NotContains(t, string(e.Sealed), "5551234567")
	got, err := job.Open(k, e)
	require.NoError(t, err)
	require.Equal(t, body(t), got)

	for name, moved := range map[string]func(*job.Envelope){
		"to another job":  func(e *job.Envelope) { e.ID = "j-2" },
		"to another lane": func(e *job.Envelope) { e.Lane = job.LaneNotice },
		"cut short":       func(e *job.Envelope) { e.Sealed = e.Sealed[:len(e.Sealed)-1] },
		"emptied":         func(e *job.Envelope) { e.Sealed = nil },
	} {
		t.Run("a body moved "+name+" doesn't open", func(t *testing.T) {
			t.Parallel()
			e := e
			moved(&e)
			_, err := job.Open(k, e)
			require.ErrorIs(t, err, keys.ErrForged)
		})
	}
	t.Run("moved to another session it does: the target isn't bound, so that jobs can be forwarded", func(t *testing.T) {
		t.Parallel()
		e := e
		e.Target = "abcdefgh"
		_, err := job.Open(k, e)
		require.NoError(t, err)
	})
}

func TestOpen_LeavesNewerBodiesAlone(t *testing.T) {
	t.Parallel()
	k := sealer(t)
	for text, want := range map[string]error{
		`{"v":99,"to":"+905551234567","text":"x","wa_id":"3EB0"}`: job.ErrNewerFormat,
		`{"v":1,"to":"905551234567","text":"x","wa_id":"3EB0"}`:   job.ErrMalformed,
		`{"v":1,"to":"+905551234567","text":"","wa_id":"3EB0"}`:   job.ErrMalformed,
		`{"v":1,"to":"+905551234567","text":"x"}`:                 job.ErrMalformed,
		`secret text`: job.ErrMalformed,
	} {
		sealed, err := k.Seal("default", []byte("wabek job/otp/default/j"), []byte(text))
		require.NoError(t, err)
		_, err = job.Open(k, job.Envelope{ID: "j", Lane: job.LaneOTP, Pool: "default", Sealed: sealed})
		require.ErrorIs(t, err, want, text)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "default", "0190-ab"} {
		_, err := job.ParseID(good)
		require.NoError(t, err)
		require.NoError(t, job.CheckPool(good))
	}
	for _, bad := range []string{"", "-a", "A", "a.b", "a*", "a>", "a b", strings.Repeat("a", 65), "ä"} {
		_, err := job.ParseID(bad)
		require.ErrorIs(t, err, job.ErrName, bad)
		require.ErrorIs(t, job.CheckPool(bad), job.ErrName, bad)
		require.ErrorIs(t, job.CheckSession(bad), job.ErrName, bad)
	}
	require.NoError(t, job.CheckSession("abcdefg1"))
	require.ErrorIs(t, job.CheckSession("any"), job.ErrName, "no session can be named like the target of all")
}

func TestStatus_RoundTrip(t *testing.T) {
	t.Parallel()
	s := job.Status{Job: "j", Pool: "p", State: job.Sending, Session: "abcdefg1", Fence: 7, Try: 2, Nonce: "n", Released: true, Reason: job.ReasonDisconnected, At: time.UnixMilli(5).UTC()}
	data, err := s.Encode()
	require.NoError(t, err)
	got, err := job.DecodeStatus(data)
	require.NoError(t, err)
	require.Equal(t, s, got)
	_, err = job.DecodeStatus([]byte(`{"v":2,"job":"j"}`))
	require.ErrorIs(t, err, job.ErrNewerFormat)
	for _, bad := range []string{"", "{}", "[]", `{"v":1}`} {
		_, err = job.DecodeStatus([]byte(bad))
		require.ErrorIs(t, err, job.ErrMalformed)
	}
}

func FuzzDecodeStatus(f *testing.F) {
	f.Add([]byte(`{"v":1,"job":"j","state":"sent"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := job.DecodeStatus(data)
		if err != nil {
			return
		}
		again, err := s.Encode()
		require.NoError(t, err)
		require.True(t, json.Valid(again))
	})
}

// memLog is a Log in memory, for the rule of Raise alone; the real one is tested in package queue.
type memLog struct {
	seq    uint64
	last   job.Status
	raced  func(*memLog) // called before a Put
	failed error
}

func (l *memLog) Last(context.Context, string, job.ID) (job.Status, uint64, error) {
	return l.last, l.seq, nil
}

func (l *memLog) Put(_ context.Context, s job.Status, expected uint64) (uint64, error) {
	if l.raced != nil {
		l.raced(l)
	}
	if l.failed != nil {
		return 0, l.failed
	}
	if expected != l.seq {
		return 0, job.ErrConflict
	}
	l.seq++
	l.last = s
	return l.seq, nil
}

func TestRaise_NeverLowers(t *testing.T) {
	t.Parallel()
	states := []job.State{job.Sending, job.Failed, job.Expired, job.Cancelled, job.Moved, job.Sent, job.Delivered, job.Read}
	rapid.Check(t, func(t *rapid.T) {
		log := &memLog{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			s := job.Status{Job: "j", Pool: "p", State: rapid.SampledFrom(states).Draw(t, "state")}
			before := log.last.State.Rank()
			var guess uint64
			if before < s.State.Rank() && rapid.Bool().Draw(t, "guesses") {
				guess = log.seq
			}
			seq, raised, err := job.Raise(t.Context(), log, s, guess)
			require.NoError(t, err)
			require.Equal(t, before < s.State.Rank(), raised)
			require.Equal(t, max(before, s.State.Rank()), log.last.State.Rank())
			require.Equal(t, log.seq, seq)
		}
	})
}

func TestRaise_TriesAgainWhenItLosesARace(t *testing.T) {
	t.Parallel()
	races := 0
	log := &memLog{raced: func(l *memLog) {
		if races++; races <= 3 {
			l.seq++
			l.last.State = job.Sending
		}
	}}
	_, now, err := job.Raise(t.Context(), log, job.Status{Job: "j", State: job.Sent}, 0)
	require.NoError(t, err)
	require.True(t, now)
	require.Equal(t, job.Sent, log.last.State)
}

func TestRaise_TellsOfAQueueThatIsAway(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	_, _, err := job.Raise(t.Context(), &memLog{failed: away}, job.Status{Job: "j", State: job.Sent}, 0)
	require.ErrorIs(t, err, away)
}

func TestFailure_IsAnErrorThatKeepsItsCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	var err error = &job.Failure{Class: job.RecipientFault, Reason: job.ReasonNotOnWhatsApp, Err: cause}
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "recipient (not_on_whatsapp): cause")
}
