package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// wire is one keep-alive HTTP/1.1 connection that knows no more of HTTP than our servers say: a client's work must
// cost little, for it shares the machine with what is measured.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialWire(addr string, deadline time.Time) (*wire, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second) //nolint:noctx // bounded by itself, and loopback
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &wire{conn: conn, r: bufio.NewReaderSize(conn, 4096)}, nil
}

// roundTrip sends a whole request and reads the whole answer. The body is good until the next call.
func (w *wire) roundTrip(request []byte) (status int, body []byte, err error) {
	if _, err := w.conn.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("read status: %w", err)
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("no status in %q", line)
	}
	status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	length := -1
	for {
		line, err = w.r.ReadSlice('\n')
		if err != nil {
			return 0, nil, fmt.Errorf("read header: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, fmt.Errorf("read header: %w", err)
			}
		}
	}
	if length < 0 {
		return 0, nil, errors.New("an answer without Content-Length")
	}
	if body, err = w.r.Peek(length); err != nil {
		return 0, nil, fmt.Errorf("read body: %w", err)
	}
	_, err = w.r.Discard(length)
	return status, body, err
}

func (w *wire) close() { _ = w.conn.Close() }

// The texts of a request that change from one to the next: of a fixed length, so that they are written in place.
const (
	phonePlace = "905000000000"
	idPlace    = "00000000-0000-0000-0000-000000000000"
	codePlace  = "000000"

	pathIssue  = "/api/v1/otp"
	pathVerify = "/api/v1/otp-verify"
	issueBody  = `{"phone":"+` + phonePlace + `","purpose":"verification"}`
	verifyBody = `{"otp_id":"` + idPlace + `","otp":"` + codePlace + `"}`
)

// template is a request whose body has places to fill in; more are headers, each with its end of line.
func template(path, key, more, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, key, more, len(body), body)
}

// issueRequest asks for an OTP for number n, of those that begin with +905: a mobile number as far as lengths go.
type issueTemplate struct {
	text []byte
	at   []int // where the number goes
}

// newIssueTemplate makes one; with once its requests have idempotency keys too.
func newIssueTemplate(key string, once bool) issueTemplate {
	more := ""
	if once {
		more = "Idempotency-Key: " + phonePlace + "\r\n"
	}
	t := issueTemplate{text: template(pathIssue, key, more, issueBody)}
	for from := 0; ; {
		i := bytes.Index(t.text[from:], []byte(phonePlace))
		if i < 0 {
			return t
		}
		t.at = append(t.at, from+i)
		from += i + 1
	}
}

func (t issueTemplate) fill(n uint64) []byte {
	for _, at := range t.at {
		for i, rest := at+len(phonePlace)-1, n; i >= at+len("905"); i-- {
			t.text[i] = byte('0' + rest%10)
			rest /= 10
		}
	}
	return t.text
}

// codeSize is the length of an id and its code in a file of codes.
const codeSize = len(idPlace) + len(codePlace)

type verifyTemplate struct {
	text         []byte
	atID, atCode int
}

func newVerifyTemplate(key string) verifyTemplate {
	text := template(pathVerify, key, "", verifyBody)
	return verifyTemplate{text: text, atID: bytes.LastIndex(text, []byte(idPlace)), atCode: bytes.LastIndex(text, []byte(codePlace))}
}

func (t verifyTemplate) fill(code []byte) []byte {
	copy(t.text[t.atID:], code[:len(idPlace)])
	copy(t.text[t.atCode:], code[len(idPlace):])
	return t.text
}
