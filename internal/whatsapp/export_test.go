package whatsapp

import (
	"context"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// What tests may see of the inside.
var (
	MaskNumbers = maskNumbers
	Classify    = classify
	Backoff     = backoff
)

// MessageForRetry is what whatsmeow asks for a message that its own memory has lost.
func (s *Session) MessageForRetry(requester, chat types.JID, id types.MessageID) *waE2E.Message {
	return s.messageForRetry(requester, chat, id)
}

// Handle takes an event as from whatsmeow.
func (s *Session) Handle(event any) { s.handle(event) }

// LearnLID tells the store whose a LID is.
func (s *Session) LearnLID(ctx context.Context, lid, pn types.JID) error {
	return s.cli.Store.LIDs.PutLIDMapping(ctx, lid, pn)
}
