package apps

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// Documents keeps apps and keys: small named texts. record/bolt does.
type Documents interface {
	// Documents are all whose names begin so, by what follows.
	Documents(ctx context.Context, prefix string) (map[string][]byte, error)
	// SetDocument stores one; nil means that it is on stable storage. A nil text takes it away.
	SetDocument(ctx context.Context, name string, text []byte) error
}

const (
	appDocs = "app/"
	keyDocs = "key/"
)

// Config is what a Registry needs; all of it.
type Config struct {
	Documents Documents
	Default   Settings    // of the default app, complete
	Fixed     []FixedKey  // keys of the default app that aren't stored here
	PhoneKey  phone.Keyed // keys the hashes of test numbers
	// CallbackKey keys the secrets that callbacks are signed with.
	CallbackKey phone.Keyed
	Now         func() time.Time
	Logger      *slog.Logger
}

// FixedKey is a key of the default app that comes from elsewhere, like the configuration.
type FixedKey struct {
	ID     string // for the log
	Digest Digest
	Scopes []Scope
}

// Registry has the apps and keys in memory and on disk. Its methods may be called from many goroutines; a change holds
// for every request that begins after it has returned.
type Registry struct {
	cfg   Config
	mu    sync.Mutex // held by whoever changes something
	state atomic.Pointer[state]
	used  sync.Map // id of a key -> *atomic.Int64: Unix minutes of its last use

	changes sync.Mutex
	changed chan struct{} // closed at the next change
}

// document is an app as it is stored.
type document struct {
	Settings
	Callback CallbackKeys `json:"callback,omitzero"`
}

// state is a set of apps and keys; it doesn't change.
type state struct {
	apps map[string]*App
	keys map[string]*Key
}

// Open reads apps and keys.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	r := &Registry{cfg: cfg, changed: make(chan struct{})}
	s := &state{apps: map[string]*App{}, keys: map[string]*Key{}}
	stored, err := cfg.Documents.Documents(ctx, appDocs)
	if err != nil {
		return nil, fmt.Errorf("read apps: %w", err)
	}
	if stored[otp.DefaultApp] == nil {
		stored[otp.DefaultApp] = []byte("{}")
	}
	base := cfg.Default
	// The default app comes first: the others inherit from it.
	names := append([]string{otp.DefaultApp}, slices.Collect(maps.Keys(stored))...)
	for _, name := range names {
		var doc document
		if err := json.Unmarshal(stored[name], &doc); err != nil {
			return nil, fmt.Errorf("read app %s: %w", name, err)
		}
		own := doc.Settings
		inherits := base
		if name == otp.DefaultApp {
			inherits, base = cfg.Default, cfg.Default.MergedWith(own)
		}
		if s.apps[name], err = newApp(name, inherits, own); err != nil {
			return nil, fmt.Errorf("read app %s: %w", name, err)
		}
		s.apps[name].Callback = doc.Callback
	}
	stored, err = cfg.Documents.Documents(ctx, keyDocs)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	for id, text := range stored {
		k := &Key{}
		if err := json.Unmarshal(text, k); err != nil {
			return nil, fmt.Errorf("read key %s: %w", id, err)
		}
		s.keys[id] = k
	}
	r.state.Store(s)
	return r, nil
}

// base is what an app inherits.
func (r *Registry) base(name string) Settings {
	if name == otp.DefaultApp {
		return r.cfg.Default
	}
	return r.cfg.Default.MergedWith(r.state.Load().apps[otp.DefaultApp].Own)
}

// Caller is whose key a request showed.
type Caller struct {
	App *App
	Key *Key
}

// Authenticate finds who a key belongs to. from is the address of the request. Errors: ErrWrongKey, ErrKeyExpired, ErrWrongNetwork.
func (r *Registry) Authenticate(text string, from netip.Addr) (Caller, error) {
	s := r.state.Load()
	digest := DigestOf(text)
	for _, fixed := range r.cfg.Fixed {
		k := Key{ID: fixed.ID, App: otp.DefaultApp, Scopes: fixed.Scopes, Digest: fixed.Digest}
		if k.is(digest) {
			return Caller{App: s.apps[otp.DefaultApp], Key: &k}, nil
		}
	}
	id, ok := idOf(text)
	k := s.keys[id]
	if !ok || k == nil || !k.is(digest) {
		return Caller{}, ErrWrongKey
	}
	now := r.cfg.Now()
	switch {
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return Caller{}, ErrKeyExpired
	case !k.allows(from.Unmap()):
		return Caller{}, ErrWrongNetwork
	}
	app := s.apps[k.App]
	if app == nil {
		return Caller{}, ErrWrongKey
	}
	r.touch(id, now)
	return Caller{App: app, Key: k}, nil
}

// App is an app by its name.
func (r *Registry) App(name string) (*App, error) {
	if a := r.state.Load().apps[name]; a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoApp, name)
}

// Apps are all apps, by name.
func (r *Registry) Apps() []*App {
	return slices.SortedFunc(maps.Values(r.state.Load().apps), func(a, b *App) int { return strings.Compare(a.Name, b.Name) })
}

// SaveApp makes an app, or gives one other settings: what is unset goes back to the default app's. Errors: a
// *SettingError or ErrMalformed, and those of Documents. create refuses a name that is taken, with ErrExists; else one
// that isn't is refused with ErrNoApp.
func (r *Registry) SaveApp(ctx context.Context, name string, own Settings, create bool) (*App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.state.Load().apps[name]; known != nil {
		own.TestNumbers = known.Own.TestNumbers // SetTestNumber's alone: whoever saves has read them a while ago
	}
	return r.saveApp(ctx, name, own, create)
}

// saveApp is SaveApp. The caller holds mu.
func (r *Registry) saveApp(ctx context.Context, name string, own Settings, create bool) (*App, error) {
	old := r.state.Load()
	switch _, known := old.apps[name]; {
	case create && known:
		return nil, fmt.Errorf("%w: app %s", ErrExists, name)
	case !create && !known:
		return nil, fmt.Errorf("%w: %s", ErrNoApp, name)
	}
	next := &state{apps: maps.Clone(old.apps), keys: old.keys}
	app, err := newApp(name, r.base(name), own)
	if err != nil {
		return nil, err
	}
	if known := old.apps[name]; known != nil {
		app.Callback = known.Callback
	}
	if app.CallbackURL != "" && app.Callback.Salt == "" {
		app.Callback.Salt = rand.Text()
	}
	next.apps[name] = app
	if name == otp.DefaultApp { // the others inherit from it
		base := r.cfg.Default.MergedWith(own)
		for other, a := range next.apps {
			if other == name {
				continue
			}
			if next.apps[other], err = newApp(other, base, a.Own); err != nil {
				return nil, fmt.Errorf("app %s: %w", other, err)
			}
			next.apps[other].Callback = a.Callback
		}
	}
	return app, r.storeApp(ctx, app, next)
}

// storeApp stores an app, and then lets the state that has it hold.
func (r *Registry) storeApp(ctx context.Context, a *App, next *state) error {
	text, err := json.Marshal(document{Settings: a.Own, Callback: a.Callback})
	if err != nil {
		return fmt.Errorf("save app: %w", err)
	}
	if err := r.cfg.Documents.SetDocument(ctx, appDocs+a.Name, text); err != nil {
		return fmt.Errorf("save app: %w", err)
	}
	r.hold(next)
	return nil
}

// hold lets a state hold, and says so.
func (r *Registry) hold(next *state) {
	r.state.Store(next)
	r.changes.Lock()
	defer r.changes.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed is closed at the next change of an app or a key.
func (r *Registry) Changed() <-chan struct{} {
	r.changes.Lock()
	defer r.changes.Unlock()
	return r.changed
}

// RotateCallbackSecret gives an app's callbacks another secret; the one before signs too for CallbackOverlap. Errors:
// ErrNoApp, those of Documents.
func (r *Registry) RotateCallbackSecret(ctx context.Context, name string) (*App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	known := old.apps[name]
	if known == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoApp, name)
	}
	app := *known
	app.Callback = CallbackKeys{Salt: rand.Text(), Previous: known.Callback.Salt, Until: r.cfg.Now().Add(CallbackOverlap).UTC().Truncate(time.Second)}
	next := &state{apps: maps.Clone(old.apps), keys: old.keys}
	next.apps[name] = &app
	return &app, r.storeApp(ctx, &app, next)
}

// CallbackSecret is the secret that a salt of an app stands for: 32 bytes.
func (r *Registry) CallbackSecret(app, salt string) []byte {
	sum := r.cfg.CallbackKey.Sum([]byte(app), []byte{0}, []byte(salt))
	return sum[:]
}

// DeleteApp takes an app away, and its keys. Its OTPs can't be verified any more.
func (r *Registry) DeleteApp(ctx context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	switch _, known := old.apps[name]; {
	case name == otp.DefaultApp:
		return ErrDefault
	case !known:
		return fmt.Errorf("%w: %s", ErrNoApp, name)
	}
	next := &state{apps: maps.Clone(old.apps), keys: maps.Clone(old.keys)}
	defer func() { r.hold(next) }() // what is off the disk is off, also where not all of it could be
	// The keys first: one that outlived its app would come alive with the next app of that name.
	for id, k := range old.keys {
		if k.App != name {
			continue
		}
		if err := r.cfg.Documents.SetDocument(ctx, keyDocs+id, nil); err != nil {
			return fmt.Errorf("delete key: %w", err)
		}
		delete(next.keys, id)
		r.used.Delete(id)
	}
	if err := r.cfg.Documents.SetDocument(ctx, appDocs+name, nil); err != nil {
		return fmt.Errorf("delete app: %w", err)
	}
	delete(next.apps, name)
	return nil
}

// NewKey says what a key is to be.
type NewKey struct {
	App      string
	Label    string
	Scopes   []Scope
	Networks []netip.Prefix
	Expires  time.Time
}

// CreateKey makes a key. Its text is in no later answer. Errors: ErrNoApp, a *SettingError, those of Documents.
func (r *Registry) CreateKey(ctx context.Context, n NewKey) (Key, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	if old.apps[n.App] == nil {
		return Key{}, "", fmt.Errorf("%w: %s", ErrNoApp, n.App)
	}
	id, text := newKey()
	k := &Key{
		ID: id, App: n.App, Label: n.Label, Scopes: n.Scopes, Networks: n.Networks, Expires: n.Expires.UTC(),
		Created: r.cfg.Now().UTC().Truncate(time.Second), Digest: DigestOf(text),
	}
	if err := k.check(); err != nil {
		return Key{}, "", err
	}
	if err := r.storeKey(ctx, k); err != nil {
		return Key{}, "", err
	}
	next := &state{apps: old.apps, keys: maps.Clone(old.keys)}
	next.keys[id] = k
	r.hold(next)
	return *k, text, nil
}

func (r *Registry) storeKey(ctx context.Context, k *Key) error {
	doc, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	if err := r.cfg.Documents.SetDocument(ctx, keyDocs+k.ID, doc); err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	return nil
}

// Keys are the keys of an app, or of all for an empty name, the oldest first.
func (r *Registry) Keys(app string) []Key {
	var out []Key
	for _, k := range r.state.Load().keys {
		if app == "" || k.App == app {
			seen := *k
			if m, ok := r.used.Load(k.ID); ok {
				seen.LastUsed = minute(m.(*atomic.Int64).Load()) //nolint:forcetypeassert // touch stores nothing else
			}
			out = append(out, seen)
		}
	}
	slices.SortFunc(out, func(a, b Key) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// RevokeKey takes a key away. Errors: ErrNoKey, those of Documents.
func (r *Registry) RevokeKey(ctx context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	if old.keys[id] == nil {
		return fmt.Errorf("%w: %s", ErrNoKey, id)
	}
	if err := r.cfg.Documents.SetDocument(ctx, keyDocs+id, nil); err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	next := &state{apps: old.apps, keys: maps.Clone(old.keys)}
	delete(next.keys, id)
	r.hold(next)
	r.used.Delete(id)
	return nil
}

// TestNumber is the fixed code of a test number of the app.
func (r *Registry) TestNumber(a *App, n phone.Number) (code string, ok bool) {
	if len(a.TestNumbers) == 0 {
		return "", false
	}
	code, ok = a.TestNumbers[r.numberHash(n)]
	return code, ok
}

// SetTestNumber gives a number a fixed code, or with an empty code makes it an ordinary number again. The number itself
// isn't kept.
func (r *Registry) SetTestNumber(ctx context.Context, app string, n phone.Number, code string) (*App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, err := r.App(app)
	if err != nil {
		return nil, err
	}
	numbers := maps.Clone(a.TestNumbers)
	if numbers == nil {
		numbers = map[string]string{}
	}
	numbers[r.numberHash(n)] = code
	if code == "" {
		delete(numbers, r.numberHash(n))
	}
	own := a.Own
	own.TestNumbers = &numbers
	return r.saveApp(ctx, app, own, false)
}

func (r *Registry) numberHash(n phone.Number) string {
	h := n.Hash(r.cfg.PhoneKey)
	return hex.EncodeToString(h[:])
}

func minute(m int64) time.Time { return time.Unix(m*60, 0).UTC() }

// touch notes the use of a key, to the minute.
func (r *Registry) touch(id string, now time.Time) {
	m, ok := r.used.Load(id)
	if !ok {
		m, _ = r.used.LoadOrStore(id, new(atomic.Int64))
	}
	last := m.(*atomic.Int64) //nolint:forcetypeassert // nothing else is stored
	if minutes := now.Unix() / 60; last.Load() < minutes {
		last.Store(minutes)
	}
}

// Run stores now and then when keys were last used, until ctx ends, and once more then.
func (r *Registry) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.flush(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			r.flush(ctx)
		}
	}
}

func (r *Registry) flush(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	next := &state{apps: old.apps, keys: maps.Clone(old.keys)}
	r.used.Range(func(id, m any) bool {
		k := old.keys[id.(string)]             //nolint:forcetypeassert // touch stores nothing else
		at := minute(m.(*atomic.Int64).Load()) //nolint:forcetypeassert // as above
		if k == nil || !k.LastUsed.Before(at) {
			return true
		}
		used := *k
		used.LastUsed = at
		if err := r.storeKey(ctx, &used); err != nil {
			r.cfg.Logger.Warn("last use of a key not stored", "key", id, "err", err)
			return true
		}
		next.keys[used.ID] = &used
		return true
	})
	r.state.Store(next)
}
