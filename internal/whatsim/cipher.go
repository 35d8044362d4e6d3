package whatsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"google.golang.org/protobuf/proto"
)

// maxPad is the most padding bytes a plaintext ends with; each of them says how many they are.
const maxPad = 15

var (
	errPadding   = errors.New("bad padding")
	errNoPreKeys = errors.New("the device has not uploaded its keys yet")
	errMalformed = errors.New("malformed Signal message")
)

// decrypt opens a parcel with a phone's keys; the phone's lock is held.
func decrypt(ctx context.Context, keys *store.Device, in parcel) (msg *waE2E.Message, err error) {
	defer func() {
		// The Signal library runs into nil pointers on some malformed messages.
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errMalformed, r)
		}
	}()
	format := store.SignalProtobufSerializer
	address := in.sender.jid().SignalAddress()
	cipher := session.NewCipher(session.NewBuilderFromSignal(keys, address, format), address)
	var plain []byte
	switch in.typ {
	case "pkmsg":
		m, err := protocol.NewPreKeySignalMessageFromBytes(in.data, format.PreKeySignalMessage, format.SignalMessage)
		if err != nil {
			return nil, err
		}
		plain, err = cipher.DecryptMessage(ctx, m)
		if err != nil {
			return nil, err
		}
	case "msg":
		m, err := protocol.NewSignalMessageFromBytes(in.data, format.SignalMessage)
		if err != nil {
			return nil, err
		}
		plain, err = cipher.Decrypt(ctx, m)
		if err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: type %q", errMalformed, in.typ)
	}
	if len(plain) == 0 || int(plain[len(plain)-1]) > len(plain) {
		return nil, errPadding
	}
	msg = new(waE2E.Message)
	return msg, proto.Unmarshal(plain[:len(plain)-int(plain[len(plain)-1])], msg)
}

// encrypt writes a message for a companion device, which needs one of its prekeys when there is no session yet;
// the phone's lock is held.
func encrypt(ctx context.Context, keys *store.Device, to *device, msg *waE2E.Message) (typ string, data []byte, err error) {
	defer func() {
		if r := recover(); r != nil { // keys come from a client
			err = fmt.Errorf("%w: %v", errMalformed, r)
		}
	}()
	address := to.jid().SignalAddress()
	builder := session.NewBuilderFromSignal(keys, address, store.SignalProtobufSerializer)
	if has, err := keys.ContainsSession(ctx, address); err != nil {
		return "", nil, err
	} else if !has {
		bundle, err := to.preKeyBundle()
		if err != nil {
			return "", nil, err
		}
		if err := builder.ProcessBundle(ctx, bundle); err != nil {
			return "", nil, err
		}
	}
	plain, err := proto.Marshal(msg)
	if err != nil {
		return "", nil, err
	}
	pad := len(plain)%maxPad + 1
	sealed, err := session.NewCipher(builder, address).Encrypt(ctx, append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...))
	if err != nil {
		return "", nil, err
	}
	typ = "msg"
	if sealed.Type() == protocol.PREKEY_TYPE {
		typ = "pkmsg"
	}
	return typ, sealed.Serialize(), nil
}

// preKeyBundle takes the device's keys for one new session; the one-time prekey is gone from its stock.
func (d *device) preKeyBundle() (*prekey.Bundle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.signed.Pub == [32]byte{} {
		return nil, errNoPreKeys
	}
	oneTimeID, oneTime := optional.NewEmptyUint32(), ecc.ECPublicKeyable(nil)
	if len(d.oneTime) > 0 {
		oneTimeID, oneTime = optional.NewOptionalUint32(d.oneTime[0].ID), ecc.NewDjbECPublicKey(d.oneTime[0].Pub)
		d.oneTime = d.oneTime[1:]
	}
	return prekey.NewBundle(d.registration, uint32(d.number), oneTimeID, d.signed.ID, oneTime,
		ecc.NewDjbECPublicKey(d.signed.Pub), d.signature, identity.NewKey(ecc.NewDjbECPublicKey(d.identity))), nil
}
