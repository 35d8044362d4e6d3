package senderapp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"

	"wabek/internal/job"
	"wabek/internal/optout"
	"wabek/internal/whatsapp"
)

// wishIDSize is how many bytes of a hash name a wish.
const wishIDSize = 16

// wishID names a wish in the queue. It is the same for a message that comes twice, also to two sessions of one account; the
// message's own id isn't fit for a subject, and whoever wrote it could have chosen any.
func wishID(message string) string {
	sum := sha256.Sum256([]byte(message))
	return hex.EncodeToString(sum[:wishIDSize])
}

// hearWishes makes what a session tells its wishes to: it seals each and puts it into the queue, until the queue has it or
// work ends. Nil where nothing can be sealed.
func (a *App) hearWishes(work context.Context, log *slog.Logger) func(whatsapp.Wish) {
	if a.o.Sealer == nil {
		return nil
	}
	return func(w whatsapp.Wish) {
		id := wishID(w.ID)
		sealed, err := job.SealWish(a.o.Sealer, a.o.Pool, id, job.Wish{From: w.From, Stop: w.Want == optout.Stop, At: w.At})
		if err != nil {
			log.ErrorContext(work, "a wish is lost: it can't be sealed", "wish", id, "err", err)
			return
		}
		for wait := lookAgain / 16; ; wait = min(2*wait, lookAgain) {
			err := a.o.Broker.PutWish(work, a.o.Pool, id, sealed)
			if err == nil {
				return
			}
			if wait == lookAgain/16 && work.Err() == nil {
				log.WarnContext(work, "a wish isn't stored yet, trying on", "wish", id, "err", err)
			}
			if pause(work, wait) != nil {
				log.ErrorContext(work, "a wish is lost: it couldn't be stored in time", "wish", id, "err", err)
				return
			}
		}
	}
}
