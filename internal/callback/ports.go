package callback

import (
	"context"
	"time"
)

// Queue keeps callbacks, and the letters of those that were given up. Package queue has it.
type Queue interface {
	// PutCallback stores a callback without waiting, and calls done exactly once, from any goroutine: taken where it is
	// stored now; not taken, and no error, where one of this app and id is there already, which waits or is being ended
	// right now. It blocks only while as many are in flight as are allowed.
	PutCallback(ctx context.Context, app, id string, data []byte, done func(taken bool, err error))
	// Full says whether an error of PutCallback means that no more callbacks fit in.
	Full(err error) bool
	// OpenCallbacks opens the source of an app's callbacks.
	OpenCallbacks(app string) (Source, error)

	// PutDeadCallback stores a letter. There may be several of one app and id.
	PutDeadCallback(ctx context.Context, app, id string, letter []byte) error
	// DeadCallback reads the latest letter of an app's callback, and its place; nil where there is none.
	DeadCallback(ctx context.Context, app, id string) (letter []byte, place uint64, err error)
	// DropDeadCallback removes the letter at a place, and no other.
	DropDeadCallback(ctx context.Context, place uint64) error
	// DeadCallbacks reads up to limit letters of an app, the oldest first, above the place after.
	DeadCallbacks(ctx context.Context, app string, after uint64, limit int, each func(place uint64, letter []byte)) error
	// PurgeDeadCallbacks removes the letters of an app's callback, or all of the app's where id is "", and says how many
	// there were.
	PurgeDeadCallbacks(ctx context.Context, app, id string) (int, error)
	// ForgetCallbacks removes everything that is kept for an app.
	ForgetCallbacks(ctx context.Context, app string) error
}

// Source hands out the callbacks of one app.
type Source interface {
	// Next waits for a callback. It is called from one goroutine. Its error is the context's, or that the queue is
	// closed for good.
	Next(ctx context.Context) (Delivery, error)
	// Waiting counts the callbacks that aren't done.
	Waiting(ctx context.Context) (int, error)
	// Close gives back what nobody has taken.
	Close() error
}

// Delivery is one callback handed out. The first of Ack, Later, Drop and Replace that succeeds ends it. Until then the
// queue hands it to nobody else, unless this process dies.
type Delivery interface {
	ID() string
	Data() []byte
	Ack() error                      // it is done
	Later(after time.Duration) error // hand it out again, as it is, after a pause of at most 60 s
	Drop(reason string) error        // remove it for good
	// Replace puts data in its place, as one step, to be handed out anew.
	Replace(ctx context.Context, data []byte) error
}

// Endpoints knows where callbacks go. Its methods are called often and must be quick.
type Endpoints interface {
	// Apps lists the apps that have an endpoint.
	Apps() []string
	// Endpoint is where an app's callbacks go; false where nowhere.
	Endpoint(app string) (Endpoint, bool)
	// Changed is closed at the next change of any endpoint. It is asked for anew before each look at Apps.
	Changed() <-chan struct{}
}

// Endpoint is where an app's callbacks go, and what they are signed with.
type Endpoint struct {
	URL    string
	Secret Secret // not zero
	// Previous signs too, until PreviousUntil: so a secret is changed without a callback that the receiver can't verify.
	Previous      Secret
	PreviousUntil time.Time
}
