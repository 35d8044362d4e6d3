package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// Event is a state of an OTP.
type Event struct {
	ID  string // what to follow on from
	OTP OTP
}

const (
	// quiet is how long a stream may say nothing before it is taken for lost. The server says every 15 s that it is there.
	quiet       = 50 * time.Second
	longestLine = 64 << 10 // bytes
)

var (
	errEnded    = errors.New("wabek: the server has ended the stream of events")
	errQuiet    = errors.New("wabek: the stream of events has fallen silent")
	errTooLong  = errors.New("wabek: a line of the stream of events is too long")
	errNoStream = errors.New("wabek: the answer is no stream of events")
)

// Events follows an OTP: first how it is, then each change as it happens, until a minute after its expiry. after is empty,
// or the ID of an event from which to follow on. A lost connection is made again, and what has happened meanwhile is told;
// nothing is told twice. States only move forward; one that was passed quickly may be passed over. The second value is an
// error, and then the last; the context's where that ended.
//
//	for event, err := range c.Events(ctx, id, "") {
//		if err != nil {
//			return err
//		}
//		if event.OTP.Status.Arrived() {
//			break
//		}
//	}
func (c *Client) Events(ctx context.Context, id, after string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := follower{c: c, last: Event{ID: after}, yield: yield}
		f.run(ctx, &call{method: http.MethodGet, path: path(id, "/events")})
	}
}

// follower tells of one OTP over one connection after another.
type follower struct {
	c     *Client
	last  Event
	yield func(Event, error) bool
	told  bool // something, over the connection at hand
	left  bool // the caller wants no more
}

func (f *follower) run(ctx context.Context, k *call) {
	// A server ends a stream when the OTP is over, and also when it goes away itself. It is over when the stream that
	// follows has nothing to tell and ends as well.
	for failures, ends := 0, 0; ; {
		f.told = false
		err := f.connection(ctx, k)
		if f.left {
			return
		}
		if f.told {
			failures, ends = 0, 0
		}
		if err == nil {
			ends++
			err = errEnded
		}
		if ends > 1 {
			return
		}
		failures++
		pause, again := f.c.policy.again(err, failures)
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case again:
			err = f.c.policy.wait(ctx, pause, err)
		}
		if err != nil {
			f.yield(Event{}, err)
			return
		}
	}
}

// connection tells of what one stream says. It returns nil where the server has ended it.
func (f *follower) connection(ctx context.Context, k *call) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), errQuiet) {
			err = errQuiet // not that a context has ended, which would be the caller's
		}
	}()
	silence := time.AfterFunc(quiet, func() { cancel(errQuiet) })
	defer silence.Stop()
	var headers []string
	if f.last.ID != "" {
		headers = []string{"Last-Event-ID", f.last.ID}
	}
	resp, err := f.c.send(ctx, f.c.stream, k, append(headers, "Accept", "text/event-stream")...)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, longestBody)) // what is there of it
		return newError(resp, body)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return &malformedError{cause: errNoStream}
	}
	stream := newEventStream(resp.Body, func() { silence.Reset(quiet) })
	for {
		m, err := stream.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTooLong):
			return &malformedError{cause: err}
		case err != nil:
			return fmt.Errorf("wabek: read events: %w", err)
		}
		if err := f.tell(m); err != nil || f.left {
			return err
		}
	}
}

// tell tells of an event, unless it was told of over the connection before.
func (f *follower) tell(m message) error {
	if m.name != "status" {
		return nil // of a newer server
	}
	next := Event{ID: m.id}
	if err := json.Unmarshal([]byte(m.data), &next.OTP); err != nil {
		return &malformedError{cause: err}
	}
	if !f.told && reflect.DeepEqual(next, f.last) {
		return nil
	}
	f.last, f.told = next, true
	f.left = !f.yield(next, nil)
	return nil
}

// message is one of a stream of server-sent events (HTML Living Standard, section 9.2).
type message struct{ name, id, data string }

// eventStream reads them.
type eventStream struct {
	lines *bufio.Scanner
	id    string
}

// newEventStream reads r. alive is called for each line.
func newEventStream(r io.Reader, alive func()) *eventStream {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), longestLine)
	first := true
	lines.Split(func(data []byte, end bool) (int, []byte, error) {
		n, line := splitLine(data, end)
		if line != nil {
			alive()
			if first {
				line = []byte(strings.TrimPrefix(string(line), "\ufeff"))
				first = false
			}
		}
		return n, line, nil
	})
	return &eventStream{lines: lines}
}

// splitLine cuts at \n, \r\n or \r. What isn't ended by one is no line.
func splitLine(data []byte, end bool) (length int, line []byte) {
	for i, c := range data {
		switch {
		case c == '\n':
			return i + 1, data[:i:i]
		case c != '\r':
		case i+1 < len(data) && data[i+1] == '\n':
			return i + 2, data[:i:i]
		case i+1 < len(data) || end:
			return i + 1, data[:i:i]
		}
	}
	return 0, nil
}

// next is the next message. Errors: io.EOF at the end of the stream, errTooLong, and those of the connection.
func (s *eventStream) next() (message, error) {
	m := message{id: s.id}
	var data []string
	for s.lines.Scan() {
		line := s.lines.Text()
		if line == "" {
			s.id = m.id
			if data == nil {
				m.name = ""
				continue
			}
			m.data = strings.Join(data, "\n")
			return m, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			m.name = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.ContainsRune(value, 0) {
				m.id = value
			}
		}
	}
	switch err := s.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return message{}, errTooLong
	case err != nil:
		return message{}, err
	}
	return message{}, io.EOF
}
