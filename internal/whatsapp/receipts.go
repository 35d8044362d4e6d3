package whatsapp

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/job"
)

// receiptLinger is how long a receipt waits for company. One status stored alone takes more work than it is worth
// while messages go out, and often the next receipt says more of the same message.
const receiptLinger = 50 * time.Millisecond

// receiptQueue is how many receipts may wait for OnReceipts. More than that are lost: a status stays lower than it
// could be, which is better than whatsmeow's event queue standing still.
const receiptQueue = 8192

// ledgerPatience bounds a look-up that nobody else gives a deadline.
const ledgerPatience = 5 * time.Second

// receiptSet is a receipt as it comes: one state of one or more messages.
type receiptSet struct {
	ids   []types.MessageID
	state job.State
	at    time.Time
}

// handle takes whatsmeow's events. It runs on the connection's own queue, so it never waits, but for a wish to be kept.
func (s *Session) handle(event any) {
	switch e := event.(type) {
	case *events.Receipt:
		s.onReceipt(e)
		return
	case *events.Message:
		s.onMessage(e)
		return
	case *events.NotifyAccountReachoutTimelock:
		s.onReachOutLock(e)
		return
	}
	end, ok := ends(event)
	if !ok {
		return
	}
	select {
	case s.signals <- end:
	default: // the dial loop looks at the socket itself now and then
	}
}

func (s *Session) onReceipt(e *events.Receipt) {
	var state job.State
	switch e.Type { //nolint:exhaustive // the others are no news of a recipient
	case types.ReceiptTypeDelivered, types.ReceiptTypeInactive:
		state = job.Delivered
	case types.ReceiptTypeRead, types.ReceiptTypePlayed:
		state = job.Read
	default:
		return
	}
	// The account's own phone and other devices get a copy of each message too.
	if e.IsGroup || e.IsFromMe || s.own[e.Sender.User] {
		return
	}
	select {
	case s.receipts <- receiptSet{ids: e.MessageIDs, state: state, at: e.Timestamp}:
	default:
		if s.lost.Add(1) == 1 {
			s.log.Error("receipts are lost: whoever takes them is too slow")
		}
	}
}

func (s *Session) onReachOutLock(e *events.NotifyAccountReachoutTimelock) {
	if !e.IsActive {
		s.log.Info("WhatsApp has lifted its lock on new contacts")
		return
	}
	s.log.Warn("WhatsApp lets this account write to no new contact for a while",
		"kind", maskNumbers(e.EnforcementType), "until", e.TimeEnforcementEnds.Time)
}

// passReceipts hands receipts over until the session is offline and none is left.
func (s *Session) passReceipts(ctx context.Context, offline <-chan struct{}) {
	linger := time.NewTimer(0)
	defer linger.Stop()
	var batch []job.Receipt
	for {
		select {
		case r := <-s.receipts:
			batch = s.matched(ctx, batch[:0], r)
		case <-offline:
			s.pass(s.waiting(ctx, batch[:0]))
			return
		}
		linger.Reset(receiptLinger)
		select {
		case <-linger.C:
		case <-offline:
		}
		batch = s.waiting(ctx, batch)
		s.pass(batch)
	}
}

// waiting appends the receipts that wait.
func (s *Session) waiting(ctx context.Context, batch []job.Receipt) []job.Receipt {
	for {
		select {
		case r := <-s.receipts:
			batch = s.matched(ctx, batch, r)
		default:
			return batch
		}
	}
}

func (s *Session) pass(batch []job.Receipt) {
	if len(batch) > 0 && s.cfg.OnReceipts != nil {
		s.cfg.OnReceipts(batch)
	}
}

// matched appends what a receipt says of our messages.
func (s *Session) matched(ctx context.Context, batch []job.Receipt, r receiptSet) []job.Receipt {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	for _, id := range r.ids {
		e, found, err := s.cfg.Ledger.Find(ctx, id)
		if err != nil {
			s.log.ErrorContext(ctx, "receipt can't be matched", "message", id, "err", err)
			continue
		}
		if found {
			batch = append(batch, job.Receipt{Job: e.Job, Pool: e.Pool, State: r.state, At: r.at})
		}
	}
	return batch
}

// messageForRetry gives a message's text again to a device that couldn't read it, while the message lives. whatsmeow
// asks where its own memory has lost it: after a restart, or 256 messages later.
func (s *Session) messageForRetry(requester, chat types.JID, id types.MessageID) *waE2E.Message {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerPatience)
	defer cancel()
	e, found, err := s.cfg.Ledger.Find(ctx, id)
	if err != nil || !found || len(e.Sealed) == 0 || s.cfg.Open == nil {
		s.log.Info("phone asks again for a message that is gone", "message", id, "known", found, "err", err)
		return nil
	}
	body, err := s.cfg.Open(e.envelope())
	if err != nil {
		s.log.Error("message can't be opened again", "message", id, "job", e.Job, "err", err)
		return nil
	}
	// Only the recipient's devices, and the account's own, may have it.
	if !s.isUser(ctx, chat, body) || (!s.own[requester.User] && !s.isUser(ctx, requester, body)) {
		s.log.Error("a stranger asks for a message", "message", id, "job", e.Job)
		return nil
	}
	return textMessage(body.Text)
}

// isUser says whether a JID is a device of the body's recipient.
func (s *Session) isUser(ctx context.Context, jid types.JID, body job.Body) bool {
	if jid.Server == types.HiddenUserServer {
		pn, err := s.cli.Store.LIDs.GetPNForLID(ctx, jid.ToNonAD())
		if err != nil {
			return false
		}
		jid = pn
	}
	return jid.Server == types.DefaultUserServer && jid.User == body.To.Digits()
}
