package whatsim

import (
	"context"
	"errors"
)

const (
	// connHeaderLen is the length of what a client sends once, before its first frame: 'W', 'A', version, dictionary.
	connHeaderLen = 4
	frameLenSize  = 3
	maxFrame      = 1<<24 - 1
	// readLimit is the largest websocket message taken. The first prekey upload (812 keys) alone is past the
	// library's default of 32 KiB.
	readLimit = maxFrame + frameLenSize + connHeaderLen
)

var (
	errBadHeader  = errors.New("the connection does not start with the WhatsApp header")
	errFrameSize  = errors.New("frame too large")
	errTextFrame  = errors.New("text message on a binary stream")
	errShortFrame = errors.New("empty frame")
)

// frameReader cuts a stream of websocket messages into WhatsApp frames: a 3-byte big-endian length and a body.
// Frames may arrive glued together or split at any byte.
type frameReader struct {
	// more gives the next websocket message.
	more   func(ctx context.Context) ([]byte, error)
	buf    []byte
	header []byte
}

// next returns the body of the next frame. It is valid for good: the buffer is never written over.
func (r *frameReader) next(ctx context.Context) ([]byte, error) {
	for {
		if body, ok, err := r.cut(); ok || err != nil {
			return body, err
		}
		data, err := r.more(ctx)
		if err != nil {
			return nil, err
		}
		if len(r.buf) == 0 {
			r.buf = data
		} else {
			r.buf = append(r.buf, data...)
		}
	}
}

func (r *frameReader) cut() (body []byte, ok bool, err error) {
	if r.header == nil {
		if len(r.buf) < connHeaderLen {
			return nil, false, nil
		}
		r.header, r.buf = r.buf[:connHeaderLen:connHeaderLen], r.buf[connHeaderLen:]
		if r.header[0] != 'W' || r.header[1] != 'A' {
			return nil, false, errBadHeader
		}
	}
	if len(r.buf) < frameLenSize {
		return nil, false, nil
	}
	end := frameLenSize + (int(r.buf[0])<<16 | int(r.buf[1])<<8 | int(r.buf[2]))
	if len(r.buf) < end {
		return nil, false, nil
	}
	body, r.buf = r.buf[frameLenSize:end:end], r.buf[end:]
	return body, true, nil
}

// appendFrame adds one frame to dst. Several frames may share a websocket message, but one frame must never be
// spread over two: WhatsApp clients put such a frame together wrongly.
func appendFrame(dst, body []byte) ([]byte, error) {
	n := len(body)
	if n > maxFrame {
		return dst, errFrameSize
	}
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n)) //nolint:gosec // n has 24 bits, checked above
	return append(dst, body...), nil
}
