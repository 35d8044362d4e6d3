package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
)

// newClient makes a whatsmeow client that dials only when told to.
func newClient(dev *store.Device, place Place, log *slog.Logger) (*whatsmeow.Client, error) {
	host, err := place.take()
	if err != nil {
		return nil, fmt.Errorf("where WhatsApp is: %w", err)
	}
	cli := whatsmeow.NewClient(dev, newWALogger(log))
	if host != "" {
		h := httpClient(host)
		cli.SetWebsocketHTTPClient(h)
		cli.SetPreLoginHTTPClient(h)
		cli.SetMediaHTTPClient(h)
	}
	cli.EnableAutoReconnect = false
	cli.InitialAutoReconnect = false
	// Without it a login refused with 413 or 414 takes the whole process down.
	cli.RefreshCAT = func(context.Context) error { return errNoCAT }
	// In the store it would keep every text in the clear.
	cli.UseRetryMessageStore = false
	// The chats of the account are none of our business.
	cli.ManualHistorySyncDownload = true
	return cli, nil
}

var errNoCAT = errors.New("this is no Messenger account")

// errKept is what whatsmeow gets when it wants to delete a device that WhatsApp has logged out.
var errKept = errors.New("a device is deleted by its owner only")

// keepDevices is a device container that deletes nothing: whatsmeow would delete a device with all its keys on
// each refused login, also on those that pass.
type keepDevices struct{ store.DeviceContainer }

func (keepDevices) DeleteDevice(context.Context, *store.Device) error { return errKept }
