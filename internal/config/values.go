package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"wabek/internal/keys"
)

// MinAPIKey is the least number of characters of WABEK_API_KEY.
const MinAPIKey = 16

// APIKey is the fixed key of the API's callers. It prints as [api key], whatever prints it.
type APIKey struct{ text string }

// UnmarshalText checks a key: MinAPIKey or more visible ASCII characters, since it travels in a header.
func (k *APIKey) UnmarshalText(text []byte) error {
	if len(text) < MinAPIKey {
		return fmt.Errorf("has %d characters, at least %d are needed; 'openssl rand -hex 24' makes one", len(text), MinAPIKey)
	}
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return errors.New("may hold visible ASCII characters only, no spaces; 'openssl rand -hex 24' makes one")
		}
	}
	k.text = string(text)
	return nil
}

// IsZero says that no key is set.
func (k APIKey) IsZero() bool { return k.text == "" }

// Reveal is the key itself, for the API's key set and the demo's curl line; never for a log.
func (k APIKey) Reveal() string { return k.text }

// String hides the key.
func (k APIKey) String() string { return "[api key]" }

// GoString hides the key.
func (k APIKey) GoString() string { return "[api key]" }

// LogValue hides the key.
func (k APIKey) LogValue() slog.Value { return slog.StringValue("[api key]") }

// MarshalText hides the key.
func (k APIKey) MarshalText() ([]byte, error) { return []byte("[api key]"), nil }

// Countries are two-letter codes of ISO 3166-1, parted by commas.
type Countries []string

// UnmarshalText reads codes, in upper or lower case.
func (c *Countries) UnmarshalText(text []byte) error {
	*c = nil
	for part := range strings.SplitSeq(string(text), ",") {
		code := strings.ToUpper(strings.TrimSpace(part))
		if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
			return fmt.Errorf("%s is not a two-letter code of a country; write it like TR,DE", shown(part))
		}
		*c = append(*c, code)
	}
	return nil
}

// Hosts are names of hosts, parted by commas.
type Hosts []string

// UnmarshalText reads names, in lower case.
func (h *Hosts) UnmarshalText(text []byte) error {
	*h = nil
	for part := range strings.SplitSeq(string(text), ",") {
		name := strings.ToLower(strings.TrimSpace(part))
		if name == "" || strings.ContainsAny(name, " :/@") {
			return fmt.Errorf("%s is not the name of a host; write it like hooks.example.com", shown(part))
		}
		*h = append(*h, name)
	}
	return nil
}

// Networks are ranges of addresses, parted by commas; a lone address is a range of one.
type Networks []netip.Prefix

// UnmarshalText reads ranges like 10.0.0.0/8 or 2001:db8::1.
func (n *Networks) UnmarshalText(text []byte) error {
	*n = nil
	for part := range strings.SplitSeq(string(text), ",") {
		part = strings.TrimSpace(part)
		network, err := netip.ParsePrefix(part)
		if addr, aerr := netip.ParseAddr(part); aerr == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		// Version 4 written within version 6, like ::ffff:192.0.2.7, is compared as version 4, so it is kept as that.
		if before := 96; network.Addr().Is4In6() && network.Bits() >= before {
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-before)
		}
		if err != nil {
			return fmt.Errorf("%s is not a range of addresses; write it like 10.0.0.0/8 or 192.0.2.7", shown(part))
		}
		*n = append(*n, network.Masked())
	}
	return nil
}

// NATSURL is one or more addresses of NATS servers, parted by commas. User, password and token in them
// are hidden from whatever prints it.
type NATSURL struct{ text string }

// UnmarshalText checks each address: scheme nats, tls, ws or wss (nats where there is none) and a host.
// The error never repeats the address, which may hold a password.
func (u *NATSURL) UnmarshalText(text []byte) error {
	var full []string
	for i, part := range strings.Split(string(text), ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		parsed, err := url.Parse(part)
		if err != nil || parsed.Hostname() == "" {
			return fmt.Errorf("address %d can't be read; write it like nats://user:password@host:4222, with special characters of a password as %%40 and the like", i+1)
		}
		switch parsed.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("address %d must begin with nats://, tls://, ws:// or wss://", i+1)
		}
		if p := parsed.Port(); p != "" && !isPort(p) {
			return fmt.Errorf("the port of address %d is not within 0 to 65535", i+1)
		}
		full = append(full, part)
	}
	u.text = strings.Join(full, ",")
	return nil
}

// IsZero says that no server is set.
func (u NATSURL) IsZero() bool { return u.text == "" }

// Reveal is the addresses with their credentials, as nats.Connect takes them; never for a log.
func (u NATSURL) Reveal() string { return u.text }

// String is the addresses where they hold no credentials. Else it is [nats servers]: a password with a comma
// in it would be taken for an address.
func (u NATSURL) String() string {
	if strings.Contains(u.text, "@") {
		return "[nats servers]"
	}
	return u.text
}

// GoString is String.
func (u NATSURL) GoString() string { return u.String() }

// LogValue is String.
func (u NATSURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText is String.
func (u NATSURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// PoolKeys is WABEK_POOL_KEYS, read. It prints as [seal keys].
type PoolKeys struct{ keys *keys.SealKeys }

// UnmarshalText reads pool:keyid:base64url[,…]. The error names the bad entry by its number.
func (p *PoolKeys) UnmarshalText(text []byte) error {
	parsed, err := keys.ParsePoolKeys(string(text))
	if err != nil {
		return err
	}
	p.keys = parsed
	return nil
}

// IsZero says that no keys are set.
func (p PoolKeys) IsZero() bool { return p.keys == nil }

// String hides the keys.
func (p PoolKeys) String() string { return "[seal keys]" }

// GoString hides the keys.
func (p PoolKeys) GoString() string { return "[seal keys]" }

// LogValue hides the keys.
func (p PoolKeys) LogValue() slog.Value { return slog.StringValue("[seal keys]") }

// MarshalText hides the keys.
func (p PoolKeys) MarshalText() ([]byte, error) { return []byte("[seal keys]"), nil }

// RootKey is the public key of WhatsApp's certificate authority. Zero: not set.
type RootKey [32]byte

// UnmarshalText reads 64 hex digits.
func (k *RootKey) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(k) {
		return fmt.Errorf("must be %d hex digits; whatsim -env FILE writes it", 2*len(k))
	}
	copy(k[:], raw)
	if k.IsZero() {
		return errors.New("is all zeros, which is no key; whatsim -env FILE writes it")
	}
	return nil
}

// IsZero says that no key is set.
func (k RootKey) IsZero() bool { return k == RootKey{} }

// checkAddr checks host:port as net.Listen takes it.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || !isPort(port) {
		return fmt.Errorf("%s is not host:port; write it like :8080 or 127.0.0.1:8080", shown(addr))
	}
	return nil
}

// checkEndpoint checks http://host:port, with nothing behind it.
func checkEndpoint(endpoint string) error {
	if !isOrigin(endpoint) {
		return errors.New("is not http://host:port; write it like http://127.0.0.1:8090")
	}
	return nil
}

// checkPublicURL checks scheme and host, with nothing behind them.
func checkPublicURL(address string) error {
	if address != "" && !isOrigin(address) {
		return errors.New("is not scheme and host alone; write it like https://otp.example.com")
	}
	return nil
}

func isOrigin(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" && (u.Port() == "" || isPort(u.Port()))
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// shown is a value for an error message. A long one is not repeated: it may be a secret in the wrong place.
func shown(value string) string {
	const longest = 24
	if len(value) > longest {
		return fmt.Sprintf("a value of %d characters", len(value))
	}
	return strconv.Quote(value)
}
