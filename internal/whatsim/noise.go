package whatsim

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"google.golang.org/protobuf/proto"
)

// noiseName is the protocol's name, padded to the 32 bytes that both h and ck start as.
const noiseName = "Noise_XX_25519_AESGCM_SHA256\x00\x00\x00\x00"

// sealer is AES-256-GCM with a counter as nonce: one direction of a connection, or the handshake's current key.
type sealer struct {
	gcm cipher.AEAD
	n   uint32
}

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	gcm, err := cipher.NewGCM(block)
	return sealer{gcm: gcm}, err
}

func (s *sealer) nonce() []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint32(b[8:], s.n)
	s.n++
	return b
}

func (s *sealer) seal(plain, ad []byte) []byte { return s.gcm.Seal(nil, s.nonce(), plain, ad) }

func (s *sealer) open(sealed, ad []byte) ([]byte, error) {
	return s.gcm.Open(nil, s.nonce(), sealed, ad)
}

// symmetric is the server's handshake state. WhatsApp's Noise differs from stock libraries: the first message
// carries no payload and no empty payload is mixed into h, so it is written out here.
type symmetric struct {
	h, ck []byte
	key   sealer
}

func newSymmetric(header []byte) (*symmetric, error) {
	key, err := newSealer([]byte(noiseName))
	if err != nil {
		return nil, err
	}
	s := &symmetric{h: []byte(noiseName), ck: []byte(noiseName), key: key}
	s.mixHash(header)
	return s, nil
}

func (s *symmetric) mixHash(data []byte) {
	sum := sha256.New()
	sum.Write(s.h)
	sum.Write(data)
	s.h = sum.Sum(nil)
}

// derive gives the two 32-byte outputs of HKDF over the chaining key.
func (s *symmetric) derive(secret []byte) (first, second []byte, err error) {
	out, err := hkdf.Key(sha256.New, secret, s.ck, "", 64)
	if err != nil {
		return nil, nil, err
	}
	return out[:32], out[32:], nil
}

func (s *symmetric) mixDH(priv *ecdh.PrivateKey, pub []byte) error {
	remote, err := ecdh.X25519().NewPublicKey(pub)
	if err != nil {
		return err
	}
	secret, err := priv.ECDH(remote)
	if err != nil {
		return err
	}
	ck, key, err := s.derive(secret)
	if err != nil {
		return err
	}
	s.ck = ck
	s.key, err = newSealer(key)
	return err
}

func (s *symmetric) seal(plain []byte) []byte {
	sealed := s.key.seal(plain, s.h)
	s.mixHash(sealed)
	return sealed
}

func (s *symmetric) open(sealed []byte) ([]byte, error) {
	plain, err := s.key.open(sealed, s.h)
	if err == nil {
		s.mixHash(sealed)
	}
	return plain, err
}

// hello is the server's half of the handshake that is the same for every connection.
type hello struct {
	static *ecdh.PrivateKey
	chain  []byte
}

// newHello signs static with the root: root -> intermediate -> leaf, where the leaf's key is the static key.
func newHello(root, static *[32]byte, now time.Time) (*hello, error) {
	key, err := ecdh.X25519().NewPrivateKey(static[:])
	if err != nil {
		return nil, fmt.Errorf("static key: %w", err)
	}
	middle, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	from, to := uint64(now.Add(-24*time.Hour).Unix()), uint64(now.AddDate(10, 0, 0).Unix()) //nolint:gosec // this century's dates are positive
	sign := func(serial, issuer uint32, pub []byte, signer [32]byte) (*waCert.CertChain_NoiseCertificate, error) {
		details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
			Serial: &serial, IssuerSerial: &issuer, Key: pub, NotBefore: &from, NotAfter: &to,
		})
		if err != nil {
			return nil, err
		}
		sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(signer), details)
		return &waCert.CertChain_NoiseCertificate{Details: details, Signature: sig[:]}, nil
	}
	intermediate, err := sign(1, 0, middle.PublicKey().Bytes(), *root)
	if err != nil {
		return nil, err
	}
	leaf, err := sign(2, 1, key.PublicKey().Bytes(), [32]byte(middle.Bytes()))
	if err != nil {
		return nil, err
	}
	chain, err := proto.Marshal(&waCert.CertChain{Intermediate: intermediate, Leaf: leaf})
	return &hello{static: key, chain: chain}, err
}

// greeting is what a finished handshake yields.
type greeting struct {
	client  [32]byte // the client's noise static key, its login credential
	payload *waWa6.ClientPayload
	in, out sealer
}

// shake runs Noise XX as the responder: frames come from next, the answer goes out through write.
func (h *hello) shake(ctx context.Context, frames *frameReader, write func(frame []byte) error) (*greeting, error) {
	var first waWa6.HandshakeMessage
	body, err := frames.next(ctx)
	if err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(body, &first); err != nil {
		return nil, fmt.Errorf("client hello: %w", err)
	}
	theirs := first.GetClientHello().GetEphemeral()
	ours, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	state, err := newSymmetric(frames.header)
	if err != nil {
		return nil, err
	}
	state.mixHash(theirs)
	state.mixHash(ours.PublicKey().Bytes())
	if err := state.mixDH(ours, theirs); err != nil {
		return nil, fmt.Errorf("client hello: %w", err)
	}
	static := state.seal(h.static.PublicKey().Bytes())
	if err := state.mixDH(h.static, theirs); err != nil {
		return nil, fmt.Errorf("client hello: %w", err)
	}
	answer, err := proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: ours.PublicKey().Bytes(), Static: static, Payload: state.seal(h.chain),
	}})
	if err != nil {
		return nil, err
	}
	if err := write(answer); err != nil {
		return nil, err
	}
	if body, err = frames.next(ctx); err != nil {
		return nil, err
	}
	return finish(state, ours, body)
}

// finish reads the client's last handshake message and splits the keys: the first 32 bytes are client to server.
func finish(state *symmetric, ours *ecdh.PrivateKey, body []byte) (*greeting, error) {
	var last waWa6.HandshakeMessage
	if err := proto.Unmarshal(body, &last); err != nil {
		return nil, fmt.Errorf("client finish: %w", err)
	}
	static, err := state.open(last.GetClientFinish().GetStatic())
	if err != nil {
		return nil, fmt.Errorf("client finish: static: %w", err)
	}
	if err := state.mixDH(ours, static); err != nil {
		return nil, fmt.Errorf("client finish: %w", err)
	}
	plain, err := state.open(last.GetClientFinish().GetPayload())
	if err != nil {
		return nil, fmt.Errorf("client finish: payload: %w", err)
	}
	g := &greeting{client: [32]byte(static), payload: new(waWa6.ClientPayload)}
	if err := proto.Unmarshal(plain, g.payload); err != nil {
		return nil, fmt.Errorf("client payload: %w", err)
	}
	in, out, err := state.derive(nil)
	if err != nil {
		return nil, err
	}
	if g.in, err = newSealer(in); err != nil {
		return nil, err
	}
	g.out, err = newSealer(out)
	return g, err
}
