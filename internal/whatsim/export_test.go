package whatsim

import (
	"context"
	"io"

	"go.mau.fi/whatsmeow/types"
)

// ReadFrames cuts the chunks, one websocket message each, into frames, until they end or are malformed.
func ReadFrames(chunks [][]byte) (frames [][]byte, err error) {
	r := frameReader{more: func(context.Context) ([]byte, error) {
		if len(chunks) == 0 {
			return nil, io.EOF
		}
		next := chunks[0]
		chunks = chunks[1:]
		return next, nil
	}}
	for {
		body, err := r.next(context.Background())
		if err != nil {
			return frames, err
		}
		frames = append(frames, body)
	}
}

// AppendFrame frames a body.
func AppendFrame(dst, body []byte) ([]byte, error) { return appendFrame(dst, body) }

// LID and DigitsOf are the two ways between a number and its LID.
func LID(digits string) types.JID                     { return lidOf(digits) }
func DigitsOf(jid types.JID) (digits string, ok bool) { return digitsOf(jid) }
