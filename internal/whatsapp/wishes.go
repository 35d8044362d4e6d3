package whatsapp

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/optout"
	"wabek/internal/phone"
)

// wishQueue is how many wishes may wait for OnWish. It is more than come while the queue is away for a day, and each
// takes a hundred bytes.
const wishQueue = 4096

// Wish is what somebody wrote to the account who wants no more notices, or wants them again.
type Wish struct {
	From phone.Number
	Want optout.Wish
	ID   string    // of the WhatsApp message; whoever wrote it has chosen it
	At   time.Time // by WhatsApp's clock, to the second
}

// heard is a wish of whom a number may not be known yet.
type heard struct {
	sender, alt types.JID
	want        optout.Wish
	id          types.MessageID
	at          time.Time
}

// onMessage takes the one thing that is to be known of what people write: whether it is a wish. The text goes no further.
func (s *Session) onMessage(e *events.Message) {
	if s.cfg.OnWish == nil || !s.fromSomebody(e) {
		return
	}
	want, found := optout.Read(textOf(e.Message))
	if !found {
		return
	}
	select {
	case s.wishes <- heard{sender: e.Info.Sender, alt: e.Info.SenderAlt, want: want, id: e.Info.ID, at: e.Info.Timestamp}:
	default:
		s.log.Error("a wish is lost: too many wait to be stored", "message", maskNumbers(e.Info.ID))
	}
}

// fromSomebody says that a message is new and was written by a person to this account alone.
func (s *Session) fromSomebody(e *events.Message) bool {
	switch {
	case e.SourceWebMsg != nil, e.IsEdit, e.Info.Edit != types.EditAttributeEmpty: // history, or another message changed
		return false
	case e.Info.IsFromMe, e.Info.DeviceSentMeta != nil, s.own[e.Info.Sender.User]:
		return false
	case e.Info.IsGroup, e.Info.IsIncomingBroadcast(), e.Info.Sender.IsBot():
		return false
	}
	return isPerson(e.Info.Chat) && e.Info.Chat.User == e.Info.Sender.User
}

// isPerson says that a JID is of a person: of no group, list, status or channel.
func isPerson(jid types.JID) bool {
	return jid.Server == types.DefaultUserServer || jid.Server == types.HiddenUserServer
}

// textOf is the text of a message that is nothing but text.
func textOf(m *waE2E.Message) string {
	if text := m.GetConversation(); text != "" {
		return text
	}
	return m.GetExtendedTextMessage().GetText()
}

// passWishes hands wishes over, one after the other, until the session is offline and none is left.
func (s *Session) passWishes(ctx context.Context, offline <-chan struct{}) {
	for {
		select {
		case h := <-s.wishes:
			s.passWish(ctx, h)
			continue
		case <-offline:
		}
		for {
			select {
			case h := <-s.wishes:
				s.passWish(ctx, h)
			default:
				return
			}
		}
	}
}

func (s *Session) passWish(ctx context.Context, h heard) {
	from, err := s.numberOf(ctx, h)
	if err != nil {
		s.log.WarnContext(ctx, "a wish is dropped: its sender's number isn't known", "message", maskNumbers(h.id), "err", masked(err))
		return
	}
	s.cfg.OnWish(Wish{From: from, Want: h.want, ID: h.id, At: h.at})
}

// numberOf finds the number of who wrote: the message says it, or the store has learned it before. Errors are without
// numbers where they are logged masked.
func (s *Session) numberOf(ctx context.Context, h heard) (phone.Number, error) {
	for _, jid := range []types.JID{h.sender, h.alt} {
		if jid.Server == types.DefaultUserServer {
			return phone.Restore("+" + jid.User)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	jid, err := s.cli.Store.LIDs.GetPNForLID(ctx, h.sender.ToNonAD())
	if err != nil {
		return phone.Number{}, err
	}
	return phone.Restore("+" + jid.User) // of an unknown one it is empty
}
