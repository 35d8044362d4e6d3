package stories_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// errRefused says that nobody listens: the request was never made.
var errRefused = errors.New("connection refused")

// errCut says that the connection broke before an answer came: nobody knows what became of the request.
var errCut = errors.New("no answer")

// client makes each request on a connection of its own, so that none is lost on an old one of a killed process.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request makes a request. Its error is errRefused or errCut.
func request(method, url string, header http.Header, body any) (answer, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(data)) //nolint:noctx // the client has a timeout
	if err != nil {
		return answer{}, err
	}
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return answer{}, errRefused
	}
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errCut, err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errCut, err)
	}
	return a, nil
}

// apiClient is somebody who calls the API.
type apiClient struct{ url, key string }

func (c apiClient) post(path string, body any) (answer, error) {
	return request(http.MethodPost, c.url+path, http.Header{"X-Api-Key": {c.key}}, body)
}

// issue asks for an OTP.
func (c apiClient) issue(digits string) (answer, error) {
	return c.post("/api/v1/otp", map[string]string{"phone": "+" + digits, "purpose": "verification"})
}

// mustIssue asks for an OTP, gets it, and returns its id.
func (c apiClient) mustIssue(t *testing.T, digits string) string {
	t.Helper()
	a, err := c.issue(digits)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	return a.otpID()
}

// otpID is the id in an answer to an issue; "" where there is none.
func (a answer) otpID() string {
	var issued struct {
		OTPID string `json:"otpId"`
	}
	_ = json.Unmarshal(a.body, &issued) // then it is empty
	return issued.OTPID
}

// verdict is an answer to a try at an OTP.
type verdict struct {
	Valid  bool   `json:"valid"`
	Reason string `json:"reason"`
}

const reasonUsed = "OTP already used"

// verify tries a code. Its error is errRefused or errCut, also where the server couldn't say.
func (c apiClient) verify(id, code string) (verdict, error) {
	a, err := c.post("/api/v1/otp-verify", map[string]string{"otp_id": id, "otp": code})
	if err != nil {
		return verdict{}, err
	}
	var v verdict
	if a.status != http.StatusOK {
		return v, fmt.Errorf("%w: status %d: %s", errCut, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errCut, err)
	}
	return v, nil
}

// apiHealth is /readyz of an API.
type apiHealth struct {
	Ready    bool     `json:"ready"`
	Degraded []string `json:"degraded"`
	Sessions struct {
		Up    int `json:"up"`
		Total int `json:"total"`
	} `json:"sessions"`
	Relay struct {
		Pending     int `json:"pending"`
		Republished int `json:"republished"`
	} `json:"relay"`
	Notices struct {
		Waiting int `json:"waiting"`
		Pending int `json:"pending"`
	} `json:"notices"`
}

// health reads /readyz; false where nobody answers.
func (c apiClient) health() (h apiHealth, there bool) {
	return readyz[apiHealth](c.url)
}

// senderHealth is /readyz of a sender.
type senderHealth struct {
	Ready       bool     `json:"ready"`
	Degraded    []string `json:"degraded"`
	State       string   `json:"state"`
	Sent        int      `json:"sent"`
	Failed      int      `json:"failed"`
	Redelivered int      `json:"redelivered"`
	ClaimsLost  int      `json:"claims_lost"`
}

func readyz[T any](url string) (h T, there bool) {
	a, err := request(http.MethodGet, url+"/readyz", nil, nil)
	return h, err == nil && json.Unmarshal(a.body, &h) == nil
}

// phones is the simulator, seen by who owns its phones.
type phones struct{ url string }

// message is a message as a person sees it.
type message struct {
	ID     string `json:"id"`
	From   string `json:"from"`
	Text   string `json:"text"`
	Copies int    `json:"copies"`
}

// codePattern finds the code in a message.
var codePattern = regexp.MustCompile(`(?m)^[0-9]{6,10}$`)

func (m message) code() string { return codePattern.FindString(m.Text) }

// shows reads what a phone shows.
func (p phones) shows(digits string) ([]message, error) {
	a, err := request(http.MethodGet, p.url+"/phones/"+digits+"/messages", nil, nil)
	if err != nil {
		return nil, err
	}
	var all []message
	return all, json.Unmarshal(a.body, &all)
}

// receives waits for the one message of a phone.
func (p phones) receives(t *testing.T, digits string) message {
	t.Helper()
	var all []message
	eventually(t, func() bool {
		var err error
		all, err = p.shows(digits)
		return err == nil && len(all) > 0
	}, "nothing arrives on %s", digits)
	require.Len(t, all, 1)
	return all[0]
}

func (p phones) post(t *testing.T, path string, body any) {
	t.Helper()
	a, err := request(http.MethodPost, p.url+path, nil, body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.status, "%s %s", path, a.body)
}

// fault makes something go wrong, as docs/simulator.md says.
func (p phones) fault(t *testing.T, kind string, fields map[string]any) {
	t.Helper()
	body := map[string]any{"kind": kind}
	maps.Copy(body, fields)
	p.post(t, "/faults", body)
}

// pair scans a QR code.
func (p phones) pair(qr string) (answer, error) {
	return request(http.MethodPost, p.url+"/pair", nil, map[string]string{"qr": qr})
}

// session is a paired device, as WhatsApp's server sees it.
type session struct {
	Account      string `json:"account"`
	Device       int    `json:"device"`
	Connected    bool   `json:"connected"`
	Stanzas      int    `json:"stanzas"`
	FromReplaced int    `json:"from_replaced"`
}

func (p phones) sessions() ([]session, error) {
	a, err := request(http.MethodGet, p.url+"/sessions", nil, nil)
	if err != nil {
		return nil, err
	}
	var all []session
	return all, json.Unmarshal(a.body, &all)
}

// stanzas counts the messages that the server has taken from all devices.
func (p phones) stanzas() int {
	all, _ := p.sessions()
	n := 0
	for _, s := range all {
		n += s.Stanzas
	}
	return n
}
