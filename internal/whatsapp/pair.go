package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types/events"
)

// Errors of Pair.
var (
	// ErrPairTimeout says that nobody scanned a code in time. WhatsApp gives codes for about three minutes; after
	// them Pair may be called again.
	ErrPairTimeout = errors.New("no phone scanned the code in time")
	// ErrPairOutdated says that WhatsApp refuses this version of the client: a newer wabek is needed.
	ErrPairOutdated = errors.New("WhatsApp refuses this version of the client: a newer version of wabek is needed")
	// ErrPairPasskey says that the account confirms new devices by a passkey, which a program without a screen
	// doesn't have.
	ErrPairPasskey = errors.New("this WhatsApp account asks for a passkey to link a device, and wabek can't give one: " +
		"turn the passkey off in WhatsApp's settings, or use another account")
	// ErrPairRefused says that pairing failed on WhatsApp's or the phone's side; the text says how.
	ErrPairRefused = errors.New("pairing was refused")
)

// The times of pairing. WhatsApp sends six codes; its own client shows the first for a minute, the others for 20 s.
const (
	fullSet           = 6
	firstCode         = 60 * time.Second
	otherCodes        = 20 * time.Second
	qrPatience        = 20 * time.Second // until the first code comes
	loginAfterPairing = 60 * time.Second // it uploads 812 keys
)

// QRCode is one code to show. The next one follows when its time is over.
type QRCode struct {
	Text  string        // what the QR code holds
	Valid time.Duration // how long it can be scanned
}

// Pair links a new device: it hands codes to show, one after another, until a phone has scanned one, and returns
// after the login that follows, disconnected again. The device is stored by then; NewSession starts it.
// Errors: ErrPairTimeout, ErrPairOutdated, ErrPairPasskey, ErrPairRefused, ErrPlace, ErrOtherPlace, the context's.
func Pair(ctx context.Context, devices *Devices, place Place, show func(QRCode), log *slog.Logger) (Stored, error) {
	cli, err := newClient(devices.container.NewDevice(), place, log)
	if err != nil {
		return Stored{}, err
	}
	p := pairing{events: make(chan any, 64)}
	cli.AddEventHandler(p.handle)
	// The connection lives as long as its context, and the one of the login inherits it.
	conn, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	if err := dial(ctx, conn, hangUp, cli); err != nil {
		return Stored{}, fmt.Errorf("pair: %w", err)
	}
	defer cli.Disconnect()
	if err := p.scan(ctx, show); err != nil {
		return Stored{}, fmt.Errorf("pair: %w", err)
	}
	// From here on the phone shows the device as linked, so it is kept even where the first login fails.
	stored, err := devices.adopt(ctx, *cli.Store.ID)
	if err != nil {
		return Stored{}, fmt.Errorf("store paired device: %w", err)
	}
	log.InfoContext(ctx, "device is linked, logging in", "session", stored.ID, "account", stored.Number)
	if err := p.login(ctx); err != nil {
		err = fmt.Errorf("log in after pairing: %w", err)
		if _, gone := devices.device(ctx, stored); errors.Is(gone, ErrNoDevice) {
			err = errors.Join(err, devices.Forget(ctx, stored.ID)) // logged out at once: nothing is left to keep
		}
		return Stored{}, err
	}
	return stored, nil
}

// pairing follows one pairing. whatsmeow has a channel of codes of its own; it isn't used, because it panics where a
// server hangs up while a code is being handed over.
type pairing struct{ events chan any }

// handle keeps the events that matter. It never waits: it runs on the connection's queue.
func (p *pairing) handle(event any) {
	switch event.(type) {
	case *events.QR, *events.RotateADVSecret, *events.PairSuccess, *events.PairError, *events.PairPasskeyRequest,
		*events.PairPasskeyConfirmation, *events.PairPasskeyError, *events.QRScannedWithoutMultidevice,
		*events.Connected, *events.Disconnected, events.PermanentDisconnect:
		select {
		case p.events <- event:
		default: // nobody reads any more: there are only a few of them
		}
	}
}

// scan shows codes until a phone has scanned one.
func (p *pairing) scan(ctx context.Context, show func(QRCode)) error {
	var codes []string // the one that is shown, and those to come
	next := time.NewTimer(qrPatience)
	defer next.Stop()
	shown := func() {
		valid := otherCodes
		if len(codes) == fullSet {
			valid = firstCode
		}
		next.Reset(valid)
		show(QRCode{Text: codes[0], Valid: valid})
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next.C:
			if len(codes) < 2 {
				return ErrPairTimeout
			}
			codes = codes[1:]
			shown()
		case event := <-p.events:
			switch e := event.(type) {
			case *events.PairSuccess:
				return nil
			case *events.QR:
				if codes = slices.Clone(e.Codes); len(codes) == 0 {
					return fmt.Errorf("%w: WhatsApp sent no code", ErrPairRefused)
				}
				shown()
			case *events.RotateADVSecret: // the codes hold the secret
				for i := range codes {
					codes[i] = strings.Replace(codes[i], e.OldSecret, e.NewSecret, 1)
				}
				if len(codes) > 0 {
					shown()
				}
			default:
				if err := pairError(event); err != nil {
					return err
				}
			}
		}
	}
}

// pairError says what an event that ends a pairing means; nil for one that doesn't.
func pairError(event any) error {
	switch e := event.(type) {
	case *events.PairError:
		return fmt.Errorf("%w: %w", ErrPairRefused, masked(e.Error))
	case *events.PairPasskeyRequest, *events.PairPasskeyConfirmation, *events.PairPasskeyError:
		return ErrPairPasskey
	case *events.QRScannedWithoutMultidevice:
		return fmt.Errorf("%w: the phone's WhatsApp is too old for linked devices", ErrPairRefused)
	case *events.ClientOutdated:
		return ErrPairOutdated
	case *events.Disconnected: // WhatsApp hangs up when the codes have run out
		return ErrPairTimeout
	case events.PermanentDisconnect:
		return fmt.Errorf("%w: %s", ErrPairRefused, maskNumbers(e.PermanentDisconnectDescription()))
	default:
		return nil
	}
}

// login waits for the login after pairing, which whatsmeow begins by itself when the server says code 515.
func (p *pairing) login(ctx context.Context) error {
	timer := time.NewTimer(loginAfterPairing)
	defer timer.Stop()
	for {
		select {
		case event := <-p.events:
			if _, ok := event.(*events.Connected); ok {
				return nil
			}
			switch err := pairError(event); {
			case errors.Is(err, ErrPairTimeout):
				return fmt.Errorf("%w: the connection was cut; the device is linked and logs in at the next start", ErrPairRefused)
			case err != nil:
				return err
			}
		case <-timer.C:
			return fmt.Errorf("%w: no login within %s", ErrPairRefused, loginAfterPairing)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
