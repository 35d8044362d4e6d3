// Package apiapp wires an API node: HTTP, the OTP rules, the records, the relay to the queue, and what comes
// back from the senders. With no queue configured it brings one along, and a sender: a cluster of one.
//
// In: settings and where to print. Out: a running server with an address. On failure: New says what is wrong
// with the settings or the data directory and leaves nothing running; later troubles show in /readyz.
package apiapp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/callback"
	"wabek/internal/config"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/outbound"
	"wabek/internal/queue"
	"wabek/internal/record/bolt"
	"wabek/internal/relay"
	"wabek/internal/status"
	"wabek/internal/text"
	"wabek/internal/whatsapp"
	"wabek/internal/whmcs"
)

// Options is what an App needs.
type Options struct {
	Config config.API
	Logger *slog.Logger
	Stdin  io.Reader // of commands; nil: the process's
	Stdout io.Writer // for what a person must see once: the first key, codes to scan
	// Terminal says that a person reads Stdout. Without one the first key goes into a file.
	Terminal bool
	// APIKey is a fixed key where the settings name none. Without either, one is made at the first start.
	APIKey string
	// ShowQR shows a code to scan, where a session runs in this process; nil prints it to Stdout.
	ShowQR func(whatsapp.QRCode)
	// Sender runs in place of this process's own sender, on the node's connection to the queue and with the keys of
	// its jobs, until ctx ends. Nil: the product's own, where the node brings one.
	Sender func(ctx context.Context, nc *nats.Conn, broker *queue.Broker, opener job.Opener) error
	Now    func() time.Time // nil: time.Now
}

// retention is how long a record outlives its expiry, so that its reason stays true.
const retention = 24 * time.Hour

// mostFollowers is how many may follow OTPs live at once.
const mostFollowers = 1000

// otpOf is the id of the OTP that a job belongs to, as a text.
func otpOf(id job.ID) string {
	if of, _, ok := otp.ParseJobID(id); ok {
		return of.String()
	}
	return string(id)
}

// App is a running API node.
type App struct {
	o        Options
	cleanups []cleanup // of what is open, in the order of opening

	nc        *nats.Conn
	broker    *queue.Broker
	records   *bolt.Store
	relay     *relay.Relay
	presence  *presence
	paces     *paces
	apps      *apps.Registry
	signIn    func() string // makes a link into the console
	locales   []string
	hub       *status.Hub
	seal      *keys.SealKeys
	outbound  *outbound.Client
	callbacks *callback.Service
	hooks     *whmcs.Service
	notices   *relay.Relay
	news      chan struct{} // wakes tellNews
	gone      chan goneEndpoint
	send      func(context.Context) error // runs the sender of this process; nil where senders run elsewhere
	server    *api.Server
	listener  net.Listener
}

// cleanup undoes one step of New.
type cleanup struct {
	name string
	do   func() error
}

// New opens everything and listens, but serves nothing yet: Run does. On an error nothing is left open.
func New(ctx context.Context, o Options) (_ *App, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := newApp(o)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := os.MkdirAll(o.Config.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("WABEK_DATA_DIR: %w", err)
	}
	secret, err := a.secret()
	if err != nil {
		return nil, err
	}
	if err := a.openBroker(); err != nil {
		return nil, err
	}
	ring, err := a.openRecords(ctx, secret)
	if err != nil {
		return nil, err
	}
	if err := a.dropOldDoor(); err != nil {
		return nil, err
	}
	if err := a.openPresence(ctx); err != nil {
		return nil, err
	}
	service, seal, err := a.openService(secret, ring)
	if err != nil {
		return nil, err
	}
	if err := a.openSender(seal); err != nil {
		return nil, err
	}
	return a, a.openServer(ctx, service, ring)
}

func newApp(o Options) *App {
	return &App{o: o, hub: status.NewHub(mostFollowers, otpOf), paces: newPaces(o.Config.MaxWait, o.Now), news: make(chan struct{}, 1), gone: make(chan goneEndpoint, 16)}
}

func (a *App) openService(secret keys.Secret, ring *keys.Ring) (*otp.Service, *keys.SealKeys, error) {
	a.seal = keys.DeriveSealKeys(secret, a.o.Config.SecretPrevious)
	seal := a.seal
	service, err := otp.NewService(a.records, ring, seal, otp.Policy{
		Length: a.o.Config.OTPLength, Expiry: a.o.Config.OTPExpiry(), MaxAttempts: a.o.Config.OTPMaxAttempts,
	}, rand.Reader, a.o.Now)
	return service, seal, err
}

// standalone says that this node brings its own queue and sender.
func (a *App) standalone() bool { return a.o.Config.NATSURL.IsZero() }

func (a *App) secret() (keys.Secret, error) {
	if secret := a.o.Config.Secret; !secret.IsZero() || !a.standalone() {
		return secret, nil
	}
	return loadSecret(a.o.Config.DataDir)
}

func (a *App) openBroker() error {
	nc, err := a.dial()
	if err != nil {
		return err
	}
	a.nc = nc
	a.onClose("queue connection", func() error { nc.Close(); return nil })
	a.broker, err = queue.New(nc, queue.Options{Replicas: 1, Logger: a.o.Logger})
	return err
}

func (a *App) openRecords(ctx context.Context, secret keys.Secret) (*keys.Ring, error) {
	store, err := bolt.Open(bolt.Options{
		Path: filepath.Join(a.o.Config.DataDir, "records.db"), Now: a.o.Now, Retention: retention,
		Committed: a.offer, Withdrawn: a.withdrawn, Released: a.released, Watched: a.watched, Changed: a.changed, Logger: a.o.Logger,
	})
	if err != nil {
		return nil, err
	}
	a.records = store
	a.onClose("records", store.Close)
	stored, err := store.Keys()
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	ring, changed, err := keys.OpenRing(stored, secret, a.o.Config.SecretPrevious)
	if err != nil {
		return nil, fmt.Errorf("%w: WABEK_SECRET, or the file secret in the data directory, must be the one that this data directory was made with; "+
			"after a change of it, set the old one as WABEK_SECRET_PREVIOUS", err)
	}
	if changed != nil {
		if err := store.SaveKeys(ctx, changed); err != nil {
			return nil, fmt.Errorf("store keys: %w", err)
		}
	}
	a.relay = relay.New(relay.Config{
		Outbox: store, Publisher: a.broker, Log: a.broker, Connected: a.connected, Now: a.o.Now, Logger: a.o.Logger,
	})
	a.notices = a.newNoticeRelay()
	return ring, nil
}

// openApps reads apps and keys. It returns the digest of the default app's fixed key, and that key where it was just made.
func (a *App) openApps(ctx context.Context, ring *keys.Ring) (digest apps.Digest, made string, err error) {
	digest, made, err = apiKeyDigest(a.records, cmp.Or(a.o.Config.APIKey.Reveal(), a.o.APIKey))
	if err != nil {
		return digest, "", err
	}
	secret, err := a.secret()
	if err != nil {
		return digest, "", err
	}
	a.apps, err = apps.Open(ctx, apps.Config{
		Documents: a.records, Default: defaultApp(a.o.Config), Fixed: []apps.FixedKey{{ID: "fixed", Digest: digest, Scopes: apps.Scopes()}, localKey(secret)},
		PhoneKey: ring.PhoneHashKey(), CallbackKey: ring.CallbackKey(),
		Now: a.o.Now, Logger: a.o.Logger,
	})
	if wrong := new(apps.SettingError); errors.As(err, &wrong) && variableOf[wrong.Field] != "" {
		err = fmt.Errorf("%s: %w", variableOf[wrong.Field], err)
	}
	return digest, made, err
}

// variableOf names the variable of a setting whose form only package apps knows.
//
//nolint:gochecknoglobals // a table that nothing changes
var variableOf = map[string]string{
	"title": "WABEK_APP_TITLE", "locale": "WABEK_LOCALE", "country": "WABEK_COUNTRY", "ratePerSecond": "WABEK_RATE_PER_SECOND",
}

// defaultApp is what the configuration says of the default app.
func defaultApp(c config.API) apps.Settings {
	return apps.Settings{
		Title: &c.AppTitle, Pool: &c.Pool, Length: &c.OTPLength, ExpirySeconds: new(c.OTPExpiryMinutes * 60), Attempts: &c.OTPMaxAttempts,
		Reissue: new(apps.Reissue(c.OTPReissue)), CooldownSeconds: &c.OTPCooldownSeconds, PerHour: &c.OTPMaxPerHour, PerDay: &c.OTPMaxPerDay,
		WrongTries: &c.OTPMaxWrongTries, RatePerSecond: &c.RatePerSecond, Burst: &c.RateBurst, PerAddressHour: &c.PerAddressHour,
		AllowCountries: (*[]string)(&c.AllowCountries), DenyCountries: (*[]string)(&c.DenyCountries), Country: &c.AppCountry, Locale: &c.AppLocale,
	}
}

// madeKey is the key of a first start; its text is empty on others.
type madeKey struct {
	text   string
	digest apps.Digest
}

// openAPI makes the server, which listens nowhere yet.
func (a *App) openAPI(ctx context.Context, service *otp.Service, ring *keys.Ring, deliveries api.Deliveries) (madeKey, error) {
	digest, made, err := a.openApps(ctx, ring)
	if err != nil {
		return madeKey{}, err
	}
	texts, err := text.Load(a.o.Config.TextsDir)
	if err != nil {
		return madeKey{}, fmt.Errorf("WABEK_TEXTS_DIR: %w", err)
	}
	a.locales = texts.Locales()
	if err := a.openCallbacks(); err != nil {
		return madeKey{}, err
	}
	if err := a.openNotices(ctx, ring, a.seal); err != nil {
		return madeKey{}, err
	}
	var posted api.Callbacks = callbacks{a.callbacks, a.outbound}
	if a.broker == nil {
		posted = noCallbacks{a.outbound}
	}
	a.server, err = api.New(api.Options{
		OTPs: service, Callers: a.apps, Limiter: apps.NewLimiter(a.o.Now), Texts: texts, Deliveries: deliveries, Live: a.hub, Callbacks: posted, Hooks: a.hooks,
		Admission: &admission{a.presence, a.paces, a.relay.Waiting}, Health: a, Proxies: a.o.Config.TrustedProxies, Now: a.o.Now, Logger: a.o.Logger,
	})
	return madeKey{text: made, digest: digest}, err
}

func (a *App) openServer(ctx context.Context, service *otp.Service, ring *keys.Ring) error {
	made, err := a.openAPI(ctx, service, ring, a.broker)
	if err != nil {
		return err
	}
	a.listener, err = net.Listen("tcp", a.o.Config.Addr) //nolint:noctx // at once, or not at all
	if err != nil {
		return fmt.Errorf("WABEK_ADDR: %w", err)
	}
	a.onClose("listener", func() error {
		if err := a.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	if err := a.openDoor(); err != nil {
		return err
	}
	if err := a.openConsole(a.locales); err != nil {
		return err
	}
	if made.text == "" {
		return nil
	}
	if err := a.showFirstKey(made.text); err != nil {
		return err
	}
	return keepAPIKey(ctx, a.records, made.digest)
}

// URL is where the API can be reached from this machine.
func (a *App) URL() string {
	addr := a.listener.Addr().(*net.TCPAddr) //nolint:forcetypeassert // we listen on TCP
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// Run serves until ctx ends, or until its server or its sender does, then drains: new requests are refused, those
// under way are answered, and a sender in this process finishes what it sends. Committed jobs that the queue
// hasn't taken yet wait in the outbox for the next start. It closes the App.
func (a *App) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { a.watch("queue", a.broker.Run(background)) })
	group.Go(func() { a.relay.Run(background) })
	group.Go(func() { a.project(background) })
	group.Go(func() { a.apps.Run(background) })
	group.Go(func() { a.callbacks.Run(background) })
	group.Go(func() { a.tellNews(background) })
	group.Go(func() { a.notices.Run(background) })
	group.Go(func() { a.hooks.Run(background) })
	group.Go(func() { a.hearWishes(background, a.seal) })

	ctx, halt := context.WithCancel(ctx)
	ended := make(chan error, 2)
	running := cap(ended)
	go func() { ended <- a.runSender(ctx) }()
	go func() { ended <- a.server.Serve(a.listener) }()

	a.o.Logger.Info("listening", "url", a.URL(), "standalone", a.standalone())
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
		running--
	}
	a.o.Logger.Info("stopping")
	halt()
	a.presence.stop()
	drain, cancel := context.WithTimeout(background, a.o.Config.DrainTimeout)
	defer cancel()
	err = errors.Join(err, a.server.Shutdown(drain))
	for range running {
		err = errors.Join(err, <-ended)
	}
	stop()
	group.Wait()
	return errors.Join(err, a.close())
}

func (a *App) onClose(name string, do func() error) {
	a.cleanups = append(a.cleanups, cleanup{name: name, do: do})
}

// close undoes what was opened, the last first.
func (a *App) close() error {
	var errs []error
	for _, c := range slices.Backward(a.cleanups) {
		if err := c.do(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

// project folds the statuses of the senders into the records, and tells the relay what is settled.
func (a *App) project(ctx context.Context) {
	select {
	case <-a.broker.Ready(): // there are streams to read
	case <-ctx.Done():
		return
	}
	sink := status.Fan(a.hub, a.records, status.SinkFunc(a.tellStatuses()), status.SinkFunc(a.noted), status.SinkFunc(a.notedNotices))
	a.watch("statuses", a.broker.Statuses(ctx, "records", sink.Apply))
}

// watch logs that a part ended by itself, which only happens when the connection to the queue was closed.
func (a *App) watch(part string, err error) {
	if err != nil {
		a.o.Logger.Error("part has stopped", "part", part, "err", err)
	}
}
