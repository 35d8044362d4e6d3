package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.mau.fi/whatsmeow"
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

// loginAfterPairing is how long the first login may take: it uploads 812 keys.
const loginAfterPairing = 60 * time.Second

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
	p := pairing{cli: cli, connected: make(chan struct{}, 1), refused: make(chan error, 1)}
	cli.AddEventHandler(p.handle)
	// The connection lives as long as its context, and the one of the login inherits it.
	conn, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	defer cli.Disconnect()
	codes, err := cli.GetQRChannel(conn)
	if err != nil {
		return Stored{}, fmt.Errorf("pair: %w", err)
	}
	if err := dial(ctx, conn, hangUp, cli); err != nil {
		return Stored{}, fmt.Errorf("pair: %w", err)
	}
	if err := p.scan(ctx, codes, show); err != nil {
		return Stored{}, err
	}
	// From here on the phone shows the device as linked, so it is kept even where the first login fails.
	stored, err := devices.adopt(ctx, *cli.Store.ID)
	if err != nil {
		return Stored{}, fmt.Errorf("store paired device: %w", err)
	}
	log.Info("device is linked, logging in", "session", stored.ID, "account", stored.Number)
	if err := p.login(ctx); err != nil {
		err = fmt.Errorf("log in after pairing: %w", err)
		if _, gone := devices.device(ctx, stored); errors.Is(gone, ErrNoDevice) {
			err = errors.Join(err, devices.Forget(ctx, stored.ID)) // logged out at once: nothing is left to keep
		}
		return Stored{}, err
	}
	return stored, nil
}

type pairing struct {
	cli       *whatsmeow.Client
	connected chan struct{}
	refused   chan error
}

// handle takes the events of the login that follows; those of pairing itself come through the QR channel.
func (p *pairing) handle(event any) {
	if _, ok := event.(*events.Connected); ok {
		select {
		case p.connected <- struct{}{}:
		default:
		}
		return
	}
	if end, ok := event.(events.PermanentDisconnect); ok {
		select {
		case p.refused <- fmt.Errorf("%w: %s", ErrPairRefused, maskNumbers(end.PermanentDisconnectDescription())):
		default:
		}
	}
}

// scan shows codes until a phone has scanned one.
func (p *pairing) scan(ctx context.Context, codes <-chan whatsmeow.QRChannelItem, show func(QRCode)) error {
	for {
		select {
		case item, open := <-codes:
			if !open {
				return pairEnd(ctx)
			}
			done, err := qrItem(item, show)
			if done {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("pair: %w", ctx.Err())
		}
	}
}

func pairEnd(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("pair: %w", ctx.Err())
	}
	return ErrPairTimeout
}

// qrItem handles one item of the QR channel; done says that it is the last one, err nil then means success.
func qrItem(item whatsmeow.QRChannelItem, show func(QRCode)) (done bool, err error) {
	switch item.Event {
	case whatsmeow.QRChannelEventCode:
		show(QRCode{Text: item.Code, Valid: item.Timeout})
		return false, nil
	case whatsmeow.QRChannelSuccess.Event:
		return true, nil
	case whatsmeow.QRChannelTimeout.Event:
		return true, ErrPairTimeout
	case whatsmeow.QRChannelClientOutdated.Event:
		return true, ErrPairOutdated
	case whatsmeow.QRChannelEventPasskeyRequest, whatsmeow.QRChannelEventPasskeyResponse:
		return true, ErrPairPasskey
	case whatsmeow.QRChannelScannedWithoutMultidevice.Event:
		return true, fmt.Errorf("%w: the phone's WhatsApp is too old for linked devices", ErrPairRefused)
	case whatsmeow.QRChannelEventError:
		return true, fmt.Errorf("%w: %w", ErrPairRefused, masked(item.Error))
	default:
		return true, fmt.Errorf("%w: unexpected %s", ErrPairRefused, item.Event)
	}
}

// login waits for the login after pairing, which whatsmeow begins by itself when the server says code 515.
func (p *pairing) login(ctx context.Context) error {
	timer := time.NewTimer(loginAfterPairing)
	defer timer.Stop()
	select {
	case <-p.connected:
		return nil
	case err := <-p.refused:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: no login within %s", ErrPairRefused, loginAfterPairing)
	case <-ctx.Done():
		return ctx.Err()
	}
}
