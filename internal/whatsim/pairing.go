package whatsim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// Errors of Pair.
var (
	// ErrBadQR says that a QR code is malformed, unknown, used, expired, or that its client has gone.
	ErrBadQR = errors.New("the QR code is not valid any more, or never was: scan the one the client shows now")
	// ErrPairRefused says that the client did not accept the pairing.
	ErrPairRefused = errors.New("the client refused the pairing")
	// ErrNoDeviceNumber says that an account has used up its 255 device numbers, which are never given out twice.
	ErrNoDeviceNumber = errors.New("the account has used all its device numbers: pair with another account")
)

const (
	refCount = 6
	// A client shows its first code for a minute, each of the others for 20 seconds.
	firstRefLife = 60 * time.Second
	nextRefLife  = 20 * time.Second
	refSlack     = 10 * time.Second
	maxDevice    = 255 // a device number is one byte on the wire
	qrFields     = 5
)

// Paired is what Pair has made.
type Paired struct {
	// Account is the number the client is paired with, digits.
	Account string `json:"account"`
	// JID is the client's own, number:device@s.whatsapp.net.
	JID string `json:"jid"`
}

// pairings are the QR codes that clients show.
type pairings struct {
	mu      sync.Mutex
	tickets map[string]ticket // by ref
}

type ticket struct {
	conn    *conn
	expires time.Time
}

// offer makes the refs of a new connection.
func (p *pairings) offer(c *conn) []node {
	p.mu.Lock()
	defer p.mu.Unlock()
	refs := make([]node, refCount)
	expires := time.Now().Add(firstRefLife + refSlack)
	for i := range refs {
		raw := make([]byte, 24)
		_, _ = rand.Read(raw) // never fails
		ref := "2@" + base64.StdEncoding.EncodeToString(raw)
		refs[i] = node{Tag: "ref", Content: []byte(ref)}
		p.tickets[ref] = ticket{conn: c, expires: expires}
		expires = expires.Add(nextRefLife)
	}
	return refs
}

// claim takes a code out of use, with all others of its connection, and returns the connection that shows it.
func (p *pairings) claim(code qrCode) (*conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.tickets[code.ref]
	if !ok || time.Now().After(t.expires) || t.conn.noise != code.noise || !bytes.Equal(t.conn.reg.GetEIdent(), code.identity[:]) {
		return nil, ErrBadQR
	}
	p.dropLocked(t.conn)
	return t.conn, nil
}

func (p *pairings) drop(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(c)
}

func (p *pairings) dropLocked(c *conn) {
	if c.reg == nil {
		return // it never showed one
	}
	for ref, t := range p.tickets {
		if t.conn == c {
			delete(p.tickets, ref)
		}
	}
}

// offerPairing sends a new client the refs it makes its QR codes from.
func (c *conn) offerPairing() {
	c.send(node{
		Tag:     "iq",
		Attrs:   attrs{"from": types.ServerJID, "type": "set", "id": c.nextID(), "xmlns": "md"},
		Content: []node{{Tag: "pair-device", Content: c.s.pairs.offer(c)}},
	})
}

// qrCode is the text of a QR code, taken apart.
type qrCode struct {
	ref             string
	noise, identity [32]byte
	adv             []byte // the secret between client and phone
}

// parseQR takes "https://wa.me/settings/linked_devices#ref,noise,identity,secret,type", or what follows the #.
func parseQR(qr string) (qrCode, error) {
	if _, after, ok := strings.Cut(qr, "#"); ok {
		qr = after
	}
	fields := strings.Split(strings.TrimSpace(qr), ",")
	if len(fields) < qrFields-1 || len(fields) > qrFields {
		return qrCode{}, ErrBadQR
	}
	code := qrCode{ref: fields[0]}
	var keys [3][]byte
	for i := range keys {
		var err error
		if keys[i], err = base64.StdEncoding.DecodeString(fields[i+1]); err != nil || len(keys[i]) != 32 {
			return qrCode{}, ErrBadQR
		}
	}
	code.noise, code.identity, code.adv = [32]byte(keys[0]), [32]byte(keys[1]), keys[2]
	return code, nil
}

// Pair lets the phone of an account scan a client's QR code, given as its text, and returns once the client has
// logged in. An empty account takes a number nobody is paired with. It fails with ErrBadQR, ErrBadNumber,
// ErrPairRefused, ErrNoDeviceNumber, ErrClosed, or ctx's error.
func (s *Server) Pair(ctx context.Context, qr, account string) (Paired, error) {
	code, err := parseQR(qr)
	if err != nil {
		return Paired{}, err
	}
	if account == "" {
		account = s.freeAccount()
	} else if err := checkDigits(account); err != nil {
		return Paired{}, err
	}
	c, err := s.pairs.claim(code)
	if err != nil {
		return Paired{}, err
	}
	d, err := s.pair(ctx, c, code, account)
	if err != nil {
		return Paired{}, fmt.Errorf("pair with %s: %w", account, err)
	}
	select {
	case <-d.online:
	case <-ctx.Done():
		return Paired{}, fmt.Errorf("pair with %s: wait for the login: %w", account, ctx.Err())
	case <-s.stop:
		return Paired{}, ErrClosed
	}
	jid := d.account.pn()
	jid.Device = d.number
	s.log.InfoContext(ctx, "paired", "device", short(account)+":"+strconv.Itoa(int(d.number)))
	return Paired{Account: account, JID: jid.String()}, nil
}

// pair is the phone's side of the pairing: it signs the client's identity, checks its signature in return, and
// makes the client reconnect.
func (s *Server) pair(ctx context.Context, c *conn, code qrCode, digits string) (*device, error) {
	p := s.phone(digits)
	number, err := s.takeNumber(p)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	// The account's key must be the phone's Signal identity: clients take it as the identity of device 0.
	identity := p.keys().IdentityKey
	p.mu.Unlock()
	details, err := proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: new(uint32(number)), Timestamp: new(uint64(time.Now().Unix())), //nolint:gosec // this century's dates are positive
		KeyIndex: new(uint32(number)),
	})
	if err != nil {
		return nil, err
	}
	sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*identity.Priv), bytes.Join([][]byte{{6, 0}, details, code.identity[:]}, nil))
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: identity.Pub[:], AccountSignature: sig[:],
	})
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, code.adv)
	mac.Write(signed)
	sealed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	if err != nil {
		return nil, err
	}
	jid, id := p.pn(), c.nextID()
	jid.Device = number
	answer := c.expect(id)
	c.send(node{
		Tag:   "iq",
		Attrs: attrs{"from": types.ServerJID, "type": "set", "id": id, "t": time.Now().Unix(), "xmlns": "md"},
		Content: []node{{Tag: "pair-success", Content: []node{
			{Tag: "device-identity", Content: sealed},
			{Tag: "device", Attrs: attrs{"jid": jid, "lid": p.device(number)}},
			{Tag: "platform", Attrs: attrs{"name": "android"}},
		}}},
	})
	select {
	case n := <-answer:
		if err := checkPairing(n, bytes.Join([][]byte{{6, 1}, details, code.identity[:], identity.Pub[:]}, nil), code.identity); err != nil {
			return nil, err
		}
	case <-c.done:
		return nil, fmt.Errorf("%w: it hung up", ErrPairRefused)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d := newDevice(p, number, c.noise, code.identity, readUint(c.reg.GetERegid()))
	// The device must be known before the client is told to come back, and must outlive a kill.
	if err := s.addDevice(d); err != nil {
		return nil, err
	}
	c.restart()
	return d, nil
}

// checkPairing checks the client's answer to pair-success: its signature over the identity it was given.
func checkPairing(n *node, signed []byte, identity [32]byte) error {
	if text(n, "type") != "result" {
		e := n.GetChildByTag("error")
		return fmt.Errorf("%w: %s %s", ErrPairRefused, text(&e, "code"), text(&e, "text"))
	}
	var answer waAdv.ADVSignedDeviceIdentity
	if err := proto.Unmarshal(content(n.GetChildByTag("pair-device-sign", "device-identity")), &answer); err != nil {
		return fmt.Errorf("%w: %w", ErrPairRefused, err)
	}
	if len(answer.GetDeviceSignature()) != 64 ||
		!ecc.VerifySignature(ecc.NewDjbECPublicKey(identity), signed, [64]byte(answer.GetDeviceSignature())) {
		return fmt.Errorf("%w: its signature is wrong", ErrPairRefused)
	}
	return nil
}

// takeNumber gives out an account's next device number, and has written down that it did when it returns: a
// number given out twice would bring a client's old keys back to life.
func (s *Server) takeNumber(p *phone) (uint16, error) {
	s.dirMu.Lock()
	a := s.accounts[p.digits]
	if a == nil {
		a = &account{phone: p, devices: make(map[uint16]*device)}
		s.accounts[p.digits] = a
	}
	if a.last >= maxDevice {
		s.dirMu.Unlock()
		return 0, ErrNoDeviceNumber
	}
	a.last++
	number := a.last
	s.dirMu.Unlock()
	return number, s.saveAccounts()
}

func (s *Server) addDevice(d *device) error {
	s.dirMu.Lock()
	s.accounts[d.account.digits].devices[d.number] = d
	s.dirMu.Unlock()
	return s.saveAccounts()
}

// freeAccount returns a number that no companion was ever paired with.
func (s *Server) freeAccount() string {
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	for n := 905_550_000_001; ; n++ {
		digits := strconv.Itoa(n)
		if s.accounts[digits] == nil {
			p := s.phones[digits]
			if p == nil {
				p = newPhone(s.seed, digits)
				s.phones[digits] = p
			}
			// Taken at once, so that two pairings at the same time get two numbers.
			s.accounts[digits] = &account{phone: p, devices: make(map[uint16]*device)}
			return digits
		}
	}
}
