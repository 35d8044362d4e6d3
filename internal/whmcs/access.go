package whmcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"wabek/internal/job"
)

// Access is how an app's WHMCS can be asked.
type Access struct {
	URL        string // of the directory that holds configuration.php, like https://billing.example.com
	Identifier string // of an API credential (Setup > Staff Management > Manage API Credentials)
	Secret     string
	AccessKey  string // for an address that isn't on the list; may be empty
}

// ErrNoAccess says that an app has no WHMCS to ask.
var ErrNoAccess = errors.New("the app has no WHMCS")

// Documents keeps small named texts; record/bolt does.
type Documents interface {
	Documents(ctx context.Context, prefix string) (map[string][]byte, error)
	SetDocument(ctx context.Context, name string, text []byte) error
}

// Sealer seals and opens what is stored; *keys.SealKeys does.
type Sealer interface {
	job.Sealer
	job.Opener
}

const accessDocs = "whmcs/"

// sealedFor is under which name the things of this package are sealed. No pool can be called so, hence no sender has the
// key.
const sealedFor = "whmcs:api"

// accesses are those of all apps: sealed on disk, in the clear in memory.
type accesses struct {
	docs   Documents
	sealer Sealer

	mu  sync.Mutex // held while one is stored
	now sync.RWMutex
	all map[string]Access
}

func openAccesses(ctx context.Context, docs Documents, sealer Sealer) (*accesses, error) {
	a := &accesses{docs: docs, sealer: sealer, all: map[string]Access{}}
	stored, err := docs.Documents(ctx, accessDocs)
	if err != nil {
		return nil, fmt.Errorf("read WHMCS access: %w", err)
	}
	for app, sealed := range stored {
		plain, err := sealer.Open(sealedFor, []byte(accessDocs+app), sealed)
		if err != nil {
			return nil, fmt.Errorf("read WHMCS access of app %s: %w", app, err)
		}
		var one Access
		if err := json.Unmarshal(plain, &one); err != nil {
			return nil, fmt.Errorf("read WHMCS access of app %s: malformed", app) // the cause would quote it
		}
		a.all[app] = one
		// Anew under the secret of today, so that the one before may go.
		if err := a.store(ctx, app, one); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *accesses) store(ctx context.Context, app string, one Access) error {
	plain, err := json.Marshal(one) //nolint:gosec // it is sealed right after
	if err != nil {
		return fmt.Errorf("store WHMCS access: %w", err)
	}
	sealed, err := a.sealer.Seal(sealedFor, []byte(accessDocs+app), plain)
	if err != nil {
		return fmt.Errorf("store WHMCS access: %w", err)
	}
	if err := a.docs.SetDocument(ctx, accessDocs+app, sealed); err != nil {
		return fmt.Errorf("store WHMCS access: %w", err)
	}
	return nil
}

func (a *accesses) of(app string) (Access, bool) {
	a.now.RLock()
	defer a.now.RUnlock()
	one, ok := a.all[app]
	return one, ok
}

func (a *accesses) set(ctx context.Context, app string, one Access) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.store(ctx, app, one); err != nil {
		return err
	}
	a.change(func() { a.all[app] = one })
	return nil
}

func (a *accesses) drop(ctx context.Context, app string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.docs.SetDocument(ctx, accessDocs+app, nil); err != nil {
		return fmt.Errorf("forget WHMCS access: %w", err)
	}
	a.change(func() { delete(a.all, app) })
	return nil
}

func (a *accesses) change(do func()) {
	a.now.Lock()
	defer a.now.Unlock()
	do()
}
