package senderapp

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"

	"wabek/internal/job"
	"wabek/internal/optout"
	"wabek/internal/whatsapp"
)

// wishIDSize is how many bytes of a hash name a wish.
const wishIDSize = 16

// wishID names a wish in the queue. It is the same for a message that comes twice, also to two sessions of one account. The
// message's own id isn't fit for a subject, and whoever wrote it could have chosen one of somebody else's.
func wishID(w whatsapp.Wish) string {
	sum := sha256.Sum256([]byte(w.From.E164() + " " + w.ID))
	return hex.EncodeToString(sum[:wishIDSize])
}

// hearWishes makes what a session tells its wishes to: it seals each and keeps it on disk, from where it goes into the queue.
// Nil where nothing can be sealed.
func (a *App) hearWishes(kept *spool, log *slog.Logger) func(whatsapp.Wish) {
	if a.o.Sealer == nil {
		return nil
	}
	return func(w whatsapp.Wish) {
		id := wishID(w)
		sealed, err := job.SealWish(a.o.Sealer, a.o.Pool, id, job.Wish{From: w.From, Stop: w.Want == optout.Stop, At: w.At})
		if err == nil {
			err = kept.keep(a.o.Pool, id, sealed)
		}
		if err != nil {
			log.Error("a wish is lost", "wish", id, "err", err)
		}
	}
}
