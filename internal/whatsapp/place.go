package whatsapp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
)

// Errors of a Place.
var (
	// ErrPlace says that an endpoint or a root key is malformed, or that one is set without the other.
	ErrPlace = errors.New("malformed place of WhatsApp")
	// ErrOtherPlace says that this process already speaks to a WhatsApp with another root key. The client keeps
	// the key in a global variable, so there can be one for the life of a process.
	ErrOtherPlace = errors.New("this process already speaks to a WhatsApp with another root key")
)

// Place says where WhatsApp is. The zero value is the real one; anything else is an override like the endpoint
// URL of a cloud SDK.
type Place struct {
	Endpoint string // http://host:port, spoken to in plain TCP
	RootKey  string // the public key that signs the server's certificates, 64 hex digits
}

// Validate checks a place. The error wraps ErrPlace and says which part is wrong.
func (p Place) Validate() error {
	_, _, err := p.parse()
	return err
}

func (p Place) parse() (host string, key [32]byte, err error) {
	switch {
	case p.Endpoint == "" && p.RootKey == "":
		return "", realRootKey(), nil
	case p.Endpoint == "" || p.RootKey == "":
		return "", key, fmt.Errorf("%w: endpoint and root key go together; set both or neither", ErrPlace)
	}
	u, err := url.Parse(p.Endpoint)
	if err != nil || u.Scheme != "http" || u.Port() == "" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", key, fmt.Errorf("%w: the endpoint must look like http://host:port", ErrPlace)
	}
	raw, err := hex.DecodeString(p.RootKey)
	if err != nil || len(raw) != len(key) {
		return "", key, fmt.Errorf("%w: the root key must be 64 hex digits", ErrPlace)
	}
	return u.Host, [32]byte(raw), nil
}

// trust is the process's root key once a place has been taken. whatsmeow reads it from a global in each handshake.
//
//nolint:gochecknoglobals // the counterpart of whatsmeow.WACertPubKey and store.DeviceProps, which are globals
var trust struct {
	sync.Mutex
	taken bool
	real  [32]byte // whatsmeow's own key, before anything changed it
}

func realRootKey() [32]byte {
	trust.Lock()
	defer trust.Unlock()
	if trust.taken {
		return trust.real
	}
	return whatsmeow.WACertPubKey
}

// take makes the place the process's, before the first connection of any client: it sets what whatsmeow keeps in
// global variables, the root key and the name that the phone shows under "linked devices".
func (p Place) take() (host string, err error) {
	host, key, err := p.parse()
	if err != nil {
		return "", err
	}
	trust.Lock()
	defer trust.Unlock()
	if !trust.taken {
		trust.taken, trust.real = true, whatsmeow.WACertPubKey
		if whatsmeow.WACertPubKey != key {
			whatsmeow.WACertPubKey = key
		}
		store.SetOSInfo("wabek", [3]uint32{1, 0, 0})
	}
	if whatsmeow.WACertPubKey != key {
		return "", ErrOtherPlace
	}
	return host, nil
}

// errPlainDial is what every connection gets that doesn't go to the endpoint.
var errPlainDial = errors.New("an endpoint of WhatsApp is set: nothing else is dialled")

// httpClient dials host in plain TCP, whatever the address asked for, and nothing else: with an endpoint set no
// byte may leave for the real WhatsApp.
func httpClient(host string) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, host)
		},
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return nil, errPlainDial },
		DisableKeepAlives: true,
	}}
}

// dialTimeout bounds TCP connect, TLS and websocket upgrade. whatsmeow bounds the handshake after them to 20 s.
const dialTimeout = 15 * time.Second
