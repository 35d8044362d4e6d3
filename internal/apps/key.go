package apps

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Scope is what a key may be used for.
type Scope string

// The scopes.
const (
	ScopeOTP   Scope = "otp"   // to issue, verify, send again, cancel and look at OTPs
	ScopeWHMCS Scope = "whmcs" // to post events of WHMCS
	ScopeRead  Scope = "read"  // to look at OTPs
	ScopeAdmin Scope = "admin" // to look after apps, keys and sessions, of every app
)

// Scopes are all of them.
func Scopes() []Scope { return []Scope{ScopeOTP, ScopeWHMCS, ScopeRead, ScopeAdmin} }

// Key is an API key: all of it but its secret.
type Key struct {
	ID       string         `json:"id"` // 10 of a-z and 2-7
	App      string         `json:"app"`
	Label    string         `json:"label,omitempty"`
	Scopes   []Scope        `json:"scopes"`
	Networks []netip.Prefix `json:"networks,omitempty"` // from which it may be used; empty for everywhere
	Created  time.Time      `json:"created"`
	Expires  time.Time      `json:"expires,omitzero"` // zero for never
	Digest   Digest         `json:"digest"`
	LastUsed time.Time      `json:"lastUsed,omitzero"` // to the minute
}

// Digest is SHA-256 of a whole key. A key has 128 random bits, so the hash needs no stretching.
type Digest [sha256.Size]byte

// DigestOf is the digest of a key.
func DigestOf(text string) Digest { return sha256.Sum256([]byte(text)) }

// MarshalText writes hexadecimal digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText reads them.
func (d *Digest) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(d) {
		return fmt.Errorf("%w: digest of a key", ErrMalformed)
	}
	*d = Digest(raw)
	return nil
}

// keyPrefix makes a key known for what it is, to secret scanners too.
const keyPrefix = "wbk_"

const (
	keyIDLength    = 10
	mostNetworks   = 50
	longestKeyName = 60
)

// newKey draws a key wbk_<id>_<secret>. The text is shown once and nowhere kept.
func newKey() (id, text string) {
	id = strings.ToLower(rand.Text())[:keyIDLength]
	return id, keyPrefix + id + "_" + strings.ToLower(rand.Text())
}

// idOf is the id within a key's text; false where it isn't one.
func idOf(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return "", false
	}
	id, _, ok := strings.Cut(rest, "_")
	return id, ok && len(id) == keyIDLength
}

// ParseNetwork reads a range of addresses like 192.0.2.0/24, or a lone address. The error is a *SettingError.
func ParseNetwork(text string) (netip.Prefix, error) {
	// An address of version 4 is compared as one, so it must be kept as one.
	const mapped = 96 // bits before it where it is written within version 6, like ::ffff:192.0.2.7
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return addr.Prefix(addr.BitLen())
	}
	network, err := netip.ParsePrefix(text)
	if err == nil && network.Addr().Is4In6() && network.Bits() >= mapped {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-mapped)
	}
	if err != nil {
		return netip.Prefix{}, &SettingError{Field: "networks", Text: "networks must be ranges like 192.0.2.0/24 or 2001:db8::/32"}
	}
	return network.Masked(), nil
}

func (k *Key) check() error {
	wrong := func(field, text string) error { return &SettingError{Field: field, Text: text} }
	switch {
	case len([]rune(k.Label)) > longestKeyName || strings.ContainsFunc(k.Label, func(r rune) bool { return r < ' ' }):
		return wrong("label", fmt.Sprintf("label must be at most %d characters on one line", longestKeyName))
	case len(k.Scopes) == 0:
		return wrong("scopes", "scopes must name at least one of otp, whmcs, read, admin")
	case slices.ContainsFunc(k.Scopes, func(s Scope) bool { return !slices.Contains(Scopes(), s) }):
		return wrong("scopes", "scopes must be of otp, whmcs, read, admin")
	case len(k.Networks) > mostNetworks:
		return wrong("networks", fmt.Sprintf("a key may have %d networks", mostNetworks))
	case !k.Expires.IsZero() && !k.Expires.After(k.Created):
		return wrong("expires", "expires must be in the future")
	}
	return nil
}

// Has says whether the key may be used for something. Who may do what an OTP needs may look at it too.
func (k *Key) Has(s Scope) bool {
	return slices.Contains(k.Scopes, s) || s == ScopeRead && slices.Contains(k.Scopes, ScopeOTP)
}

func (k *Key) allows(from netip.Addr) bool {
	return len(k.Networks) == 0 || slices.ContainsFunc(k.Networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

// is compares digests, so that neither time nor length tells anything of the key.
func (k *Key) is(d Digest) bool { return subtle.ConstantTimeCompare(k.Digest[:], d[:]) == 1 }
