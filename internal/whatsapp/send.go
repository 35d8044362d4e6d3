package whatsapp

import (
	"context"
	"errors"
	"strings"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"wabek/internal/job"
)

// What a send finds before anything has gone out.
var (
	errAlreadySent  = errors.New("the ledger knows the message as sent")
	errNoRecipient  = errors.New("no key of any device of the recipient could be had")
	errNoDevices    = errors.New("the recipient has no device on WhatsApp")
	errTurnTimeout  = errors.New("the session was busy until the deadline")
	errStopping     = errors.New("the session stops")
	errNotConnected = errors.New("the session is not connected")
)

// Send sends a message under the id in its body and waits for WhatsApp's acknowledgement, until ctx ends or the
// default deadline. A message that the ledger knows as sent isn't sent again; that is no error. Every error is a
// *job.Failure.
func (s *Session) Send(ctx context.Context, env job.Envelope, body job.Body) error {
	ctx, cancel := context.WithTimeout(ctx, s.sendTimeout)
	defer cancel()
	if state := s.State(); !state.Up() {
		if e, found, err := s.cfg.Ledger.Find(ctx, body.MessageID); err == nil && found && e.Sent {
			return nil
		}
		return downFailure(state)
	}
	select {
	case s.turn <- struct{}{}:
	case <-s.stopping:
		return &job.Failure{Class: job.NotSent, Reason: job.ReasonDisconnected, Err: errStopping}
	case <-ctx.Done():
		return &job.Failure{Class: job.NotSent, Reason: job.ReasonDisconnected, Err: errTurnTimeout}
	}
	try := &attempt{
		cli: s.cli, to: types.NewJID(body.To.Digits(), types.DefaultUserServer),
		entry: s.cfg.Ledger.begin(ctx, newEntry(env, body, s.ID())),
	}
	_, err := s.cli.SendMessage(context.WithValue(ctx, attemptKey{}, try), try.to, textMessage(body.Text),
		whatsmeow.SendRequestExtra{ID: body.MessageID, Timeout: s.sendTimeout})
	<-s.turn
	return s.conclude(ctx, try, body.MessageID, err)
}

// textMessage makes a message. whatsmeow keeps and changes it, so each send needs a new one.
func textMessage(text string) *waE2E.Message { return &waE2E.Message{Conversation: new(text)} }

// conclude says what became of a try.
func (s *Session) conclude(ctx context.Context, try *attempt, id types.MessageID, err error) error {
	if !try.out {
		if already, lerr := try.entry.wait(ctx); lerr == nil && already {
			return nil
		}
		if err == nil || errors.Is(err, errNoRecipient) {
			err = s.whyNoRecipient(ctx, try)
		}
		return classify(err, false)
	}
	if err == nil {
		s.cfg.Ledger.MarkSent(id)
		return nil
	}
	failure := classify(err, true)
	if failure.Class == job.UnknownOutcome && !errors.Is(err, context.Canceled) {
		select { // the connection may be dead without anybody having noticed
		case s.reset <- struct{}{}:
		default:
		}
	}
	return failure
}

// whyNoRecipient tells a number without WhatsApp from one whose keys couldn't be fetched.
func (s *Session) whyNoRecipient(ctx context.Context, try *attempt) error {
	lid, err := s.cli.Store.LIDs.GetLIDForPN(ctx, try.to)
	if err != nil || lid.IsEmpty() {
		return errNoRecipient
	}
	devices, err := s.cli.GetUserDevices(ctx, []types.JID{lid})
	if err == nil && len(devices) == 0 {
		return errNoDevices
	}
	return errNoRecipient
}

// attempt is one run of SendMessage. It travels in the context, so that the session store, the last stop before the
// stanza leaves, can look whether it may.
type attempt struct {
	cli   *whatsmeow.Client
	to    types.JID
	entry *ledgerWrite
	out   bool // the stanza may have left; written and read by the goroutine that sends
}

type attemptKey struct{}

// watchedSessions is the store of encryption sessions. whatsmeow saves what a message has used right before its
// stanza leaves, and SendMessage stops there if that fails. So this is where a message is held back that would reach
// nobody (whatsmeow answers nil for it), that was sent already, or that the ledger doesn't have yet; and until this
// has returned, nothing has gone out. Costs nothing but a look at the addresses; the ledger's write has run beside
// the encryption meanwhile.
type watchedSessions struct{ store.SessionStore }

func (w watchedSessions) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	try, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return w.SessionStore.PutManySessions(ctx, sessions)
	}
	lid, err := try.cli.Store.LIDs.GetLIDForPN(ctx, try.to) // from memory: SendMessage has just had it
	if err != nil {
		return err
	}
	if !holdsUser(sessions, lid) {
		return errNoRecipient
	}
	if err := w.SessionStore.PutManySessions(ctx, sessions); err != nil {
		return err
	}
	already, err := try.entry.wait(ctx)
	switch {
	case err != nil:
		return err
	case already:
		return errAlreadySent
	}
	try.out = true
	return nil
}

// holdsUser says whether a session with any device of the user is among those saved.
func holdsUser(sessions map[string][]byte, user types.JID) bool {
	prefix := user.SignalAddressUser() + ":"
	for address := range sessions {
		if strings.HasPrefix(address, prefix) {
			return true
		}
	}
	return false
}
