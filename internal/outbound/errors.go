package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// The kinds of errors.
var (
	// ErrURL says that the URL can't be used: malformed, or of another scheme than http and https.
	ErrURL = errors.New("unusable URL")
	// ErrBlocked says that the target may not be spoken to: its address, its port, or plain http to it.
	ErrBlocked = errors.New("target not allowed")
	// ErrTimeout says that the host took too long, at whatever.
	ErrTimeout = errors.New("timed out")
	// ErrTooLarge says that the answer was larger than is read.
	ErrTooLarge = errors.New("answer too large")
	// ErrRefused says that there is no such host, it took no connection, showed no good certificate, or broke off.
	ErrRefused = errors.New("refused")
)

// Error is why a request has no answer. It holds nothing of the URL but host and port.
type Error struct {
	Kind   error  // ErrURL, ErrBlocked, ErrTimeout, ErrTooLarge or ErrRefused
	Host   string // with its port where the URL has one; "" where the URL can't be read
	Detail string // in our own words
	ctx    error  // the context's error, if it has ended
}

// Error says host, kind and detail.
func (e *Error) Error() string {
	text := e.Kind.Error()
	if e.Host != "" {
		text = e.Host + ": " + text
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap gives the kind, and the context's error where it has ended.
func (e *Error) Unwrap() []error {
	if e.ctx != nil {
		return []error{e.Kind, e.ctx}
	}
	return []error{e.Kind}
}

// blocked is why an address may not be connected to.
type blocked struct{ why string }

func (b *blocked) Error() string { return b.why }

// describe says what went wrong without quoting what a stranger sent: an answer may echo the request.
func describe(err error) string {
	var (
		b       *blocked
		dns     *net.DNSError
		errno   syscall.Errno
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &b):
		return b.why
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "the name can't be resolved"
	case errors.As(err, &unknown):
		return "the certificate's issuer isn't known"
	case errors.As(err, &name):
		return "the certificate is for another name"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "the certificate isn't valid"
	case errors.As(err, &record):
		return "the host doesn't speak TLS there"
	case errors.As(err, &op) && op.Op == "remote error": // a TLS alert, whose type isn't exported
		return op.Err.Error()
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the host broke off"
	default:
		return ""
	}
}
