package otp

import (
	"fmt"
	"time"
)

// Limit names a bound. The strings are part of the public contract.
type Limit string

// The limits that hang on a phone. Those of apps, addresses and countries are package apps'.
const (
	LimitCooldown   Limit = "phone_cooldown"    // a pause between two messages to a phone
	LimitPhoneHour  Limit = "phone_per_hour"    // messages to a phone within an hour
	LimitPhoneDay   Limit = "phone_per_day"     // messages to a phone within 24 hours
	LimitGuessDelay Limit = "wrong_tries_delay" // a growing pause between wrong codes for a phone
	LimitGuesses    Limit = "wrong_tries"       // wrong codes in a row for a phone
)

// LimitError refuses a request for the time being.
type LimitError struct {
	Limit      Limit
	Allowed    int           // how many the limit allows
	Window     time.Duration // within what time; 0 where the limit ends by no time
	RetryAfter time.Duration // when it is worth trying again; 0 where no time helps
}

// Error names the limit; nothing of the request is in it.
func (e *LimitError) Error() string { return "over the limit " + string(e.Limit) }

// Limits bound what may be sent to one phone and guessed for it, per app. A zero field is no bound.
type Limits struct {
	Cooldown time.Duration `json:"cooldown"` // between two messages
	PerHour  int           `json:"perHour"`  // messages within an hour
	PerDay   int           `json:"perDay"`   // messages within 24 hours, at most MaxPerDay
	// MaxGuesses is how many wrong codes in a row, over all OTPs of a phone, stop every further try until an operator
	// lifts it. NIST SP 800-63B section 5.2.2 allows 100 at most. The tenth and each after it is followed by a pause.
	MaxGuesses int `json:"maxGuesses"`
}

// Bounds of Limits.
const (
	MaxCooldown   = 24 * time.Hour
	MaxPerDay     = 1000
	MostGuesses   = 100
	sendWindow    = 24 * time.Hour // how far History.Sends goes back
	freeGuesses   = MaxAttempts    // wrong codes before the pauses begin: an OTP of its own may have as many
	firstPause    = 30 * time.Second
	longestPause  = time.Hour
	pauseDoubling = 7 // 30 s doubled so often is above an hour
)

// GuessLife is how long after its latest wrong code a row that stopped nothing counts. A phone that is never verified
// again would be remembered for ever; see docs/adr/0014 for what a guesser gains by waiting for so long.
const GuessLife = 30 * 24 * time.Hour

// Validate says what is wrong with limits.
func (l Limits) Validate() error {
	switch {
	case l.Cooldown < 0 || l.Cooldown > MaxCooldown:
		return fmt.Errorf("a cooldown of %v is not within 0 to %v", l.Cooldown, MaxCooldown)
	case l.PerHour < 0 || l.PerHour > MaxPerDay:
		return fmt.Errorf("%d messages an hour are not within 0 to %d", l.PerHour, MaxPerDay)
	case l.PerDay < 0 || l.PerDay > MaxPerDay:
		return fmt.Errorf("%d messages a day are not within 0 to %d", l.PerDay, MaxPerDay)
	case l.MaxGuesses < 0 || l.MaxGuesses > MostGuesses:
		return fmt.Errorf("%d wrong codes in a row are not within 0 to %d", l.MaxGuesses, MostGuesses)
	}
	return nil
}

// Guesses counts wrong codes in a row for a phone, over all of its OTPs of one app. A right one ends the row.
type Guesses struct {
	Wrong   int
	Last    time.Time // of the latest wrong one
	Stopped bool      // with the latest one the row had reached Limits.MaxGuesses of its day
}

// Lapsed says that a row counts no more: it stopped nothing, and nothing was added to it for GuessLife. A hard stop
// doesn't lapse.
func (g Guesses) Lapsed(now time.Time) bool {
	return !g.Stopped && !now.Before(g.Last.Add(GuessLife))
}

// guessed is a row with one more wrong code.
func (l Limits) guessed(g Guesses, now time.Time) Guesses {
	wrong := g.Wrong + 1
	return Guesses{Wrong: wrong, Last: now.Truncate(time.Millisecond), Stopped: l.MaxGuesses > 0 && wrong >= l.MaxGuesses}
}

// pause is how long after its latest wrong code a phone must wait for the next try.
func (g Guesses) pause() time.Duration {
	over := g.Wrong - freeGuesses
	switch {
	case over < 0:
		return 0
	case over >= pauseDoubling:
		return longestPause
	}
	return firstPause << over
}

// send says whether another message may go to the phone now.
func (l Limits) send(h History, now time.Time) error {
	if err := l.stopped(h.Guesses); err != nil {
		return err
	}
	if n := len(h.Sends); n > 0 && l.Cooldown > 0 {
		if wait := h.Sends[n-1].Add(l.Cooldown).Sub(now); wait > 0 {
			return &LimitError{Limit: LimitCooldown, Allowed: 1, Window: l.Cooldown, RetryAfter: wait}
		}
	}
	for _, c := range []struct {
		limit  Limit
		most   int
		window time.Duration
	}{{LimitPhoneHour, l.PerHour, time.Hour}, {LimitPhoneDay, l.PerDay, sendWindow}} {
		if c.most == 0 || len(h.Sends) < c.most {
			continue
		}
		// The most recent ones fill the window until the oldest of them leaves it.
		if wait := h.Sends[len(h.Sends)-c.most].Add(c.window).Sub(now); wait > 0 {
			return &LimitError{Limit: c.limit, Allowed: c.most, Window: c.window, RetryAfter: wait}
		}
	}
	return nil
}

// guess says whether another code may be tried for the phone now.
func (l Limits) guess(g Guesses, now time.Time) error {
	if err := l.stopped(g); err != nil || l.MaxGuesses == 0 {
		return err
	}
	// No pause ends later than this, unless the wrong code was noted while the clock was far ahead.
	if wait := g.Last.Add(g.pause()).Sub(now); wait > 0 && wait <= 2*longestPause {
		return &LimitError{Limit: LimitGuessDelay, Allowed: 1, Window: g.pause(), RetryAfter: wait}
	}
	return nil
}

func (l Limits) stopped(g Guesses) error {
	if l.MaxGuesses > 0 && g.Wrong >= l.MaxGuesses {
		return &LimitError{Limit: LimitGuesses, Allowed: l.MaxGuesses}
	}
	return nil
}
