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

// Wish is what somebody wrote to the account who wants no more notices, or wants them again.
type Wish struct {
	From phone.Number
	Want optout.Wish
	ID   string    // of the WhatsApp message; whoever wrote it has chosen it
	At   time.Time // by WhatsApp's clock, to the second
}

// onMessage takes the one thing that is to be known of what people write: whether it is a wish. The text goes no further.
// WhatsApp gets its acknowledgement once this has returned, and that is the last time that the message can be read.
func (s *Session) onMessage(e *events.Message) {
	if s.cfg.OnWish == nil || !s.fromSomebody(e) {
		return
	}
	want, found := optout.Read(textOf(e.Message))
	if !found {
		return
	}
	from, err := s.numberOf(e.Info.Sender, e.Info.SenderAlt)
	if err != nil {
		s.log.Error("a wish is lost: its sender's number isn't known", "message", maskNumbers(e.Info.ID), "err", masked(err))
		return
	}
	s.cfg.OnWish(Wish{From: from, Want: want, ID: e.Info.ID, At: e.Info.Timestamp})
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

// numberOf finds the number of who wrote: the message says it, or the store has learned it before. Errors are without
// numbers where they are logged masked.
func (s *Session) numberOf(sender, alt types.JID) (phone.Number, error) {
	for _, jid := range []types.JID{sender, alt} {
		if jid.Server == types.DefaultUserServer {
			return phone.Restore("+" + jid.User)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), ledgerPatience)
	defer cancel()
	jid, err := s.cli.Store.LIDs.GetPNForLID(ctx, sender.ToNonAD())
	if err != nil {
		return phone.Number{}, err
	}
	return phone.Restore("+" + jid.User) // of an unknown one it is empty
}
