package whatsapp

import "time"

// Code says in one stable word how a session is. Programs may match on it.
type Code string

// The codes.
const (
	Stopped    Code = "wa-stopped"         // not started, or stopped by us
	Connecting Code = "wa-connecting"      // dialling, logging in, or waiting for the next try
	Connected  Code = "wa-connected"       // logged in: may send
	LoggedOut  Code = "wa-logged-out"      // unlinked on the phone, locked or banned: dead
	Replaced   Code = "wa-stream-replaced" // another program runs the same device: dead
	Banned     Code = "wa-banned"          // banned for a time; tries again after it
	Outdated   Code = "wa-client-outdated" // WhatsApp wants a newer client; tries again now and then
	Refused    Code = "wa-refused"         // WhatsApp refuses the login for another reason; tries again
)

// State is how a session is, for programs and for people.
type State struct {
	Code    Code
	Text    string    // a sentence for people, without a number in it
	Since   time.Time // when it came to be so
	RetryAt time.Time // when the session tries to log in again, zero where that is not known
}

// Up says that the session may send.
func (s State) Up() bool { return s.Code == Connected }

// Dead says that the session never sends again by itself: a person has to act.
func (s State) Dead() bool { return s.Code == LoggedOut || s.Code == Replaced }

// The sentences. The connected and the dead ones tell what to do.
const (
	textStopped    = "The session is stopped."
	textConnecting = "The session is connecting to WhatsApp."
	textConnected  = "The session is connected and may send."
	textUnlinked   = "WhatsApp has logged this device out: it was unlinked on the phone. Pair it again."
	textLocked     = "WhatsApp has logged this device out: the account is locked or its phone is gone. Look at the phone, then pair again."
	textBannedGood = "WhatsApp has banned this account. Look at the phone; another account must be paired."
	textReplaced   = "Another program runs the same device, so WhatsApp has cut this one off. Stop the other one, then start this one again."
	textOutdated   = "WhatsApp refuses this version of the client. A newer version of wabek is needed."
)
