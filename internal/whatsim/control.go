package whatsim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	maxBody     = 1 << 20
	pairTimeout = 60 * time.Second
	timeFormat  = "2006-01-02T15:04:05.000Z"
)

// endpoints are the HTTP calls, for the answer to a call there is not.
func endpoints() []string {
	return []string{
		"GET /phones/{digits}/messages", "POST /phones/{digits}", "POST /phones/{digits}/send", "POST /pair",
		"GET /sessions", "POST /faults", "DELETE /faults", "POST /reset", "GET /healthz",
	}
}

// handler serves the WhatsApp endpoint and the control calls.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws/chat", s.serveWhatsApp)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /phones/{digits}/messages": s.getMessages,
		"POST /phones/{digits}":         s.postPhone,
		"POST /phones/{digits}/send":    s.postSend,
		"POST /pair":                    s.postPair,
		"GET /sessions":                 s.getSessions,
		"POST /faults":                  s.postFault,
		"DELETE /faults":                s.deleteFaults,
		"POST /reset":                   s.postReset,
		"GET /healthz":                  s.getHealth,
		"/":                             s.notFound,
	} {
		mux.HandleFunc(pattern, s.waited(h))
	}
	return mux
}

// waited makes Close wait for a call that is under way.
func (s *Server) waited(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			s.fail(w, http.StatusServiceUnavailable, ErrClosed)
			return
		}
		s.wg.Add(1)
		s.mu.Unlock()
		defer s.wg.Done()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h(w, r)
	}
}

func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("answer not written", "err", err)
	}
}

func (s *Server) fail(w http.ResponseWriter, status int, err error) {
	s.reply(w, status, map[string]string{"error": err.Error()})
}

// failWith answers an error of the Go API with the status it means.
func (s *Server) failWith(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrBadNumber), errors.Is(err, ErrBadQR), errors.Is(err, ErrBadFault), errors.Is(err, ErrWhichAccount):
		status = http.StatusBadRequest
	case errors.Is(err, ErrNoDevice):
		status = http.StatusNotFound
	case errors.Is(err, ErrPairRefused), errors.Is(err, ErrNoDeviceNumber), errors.Is(err, errNoPreKeys):
		status = http.StatusConflict
	case errors.Is(err, ErrClosed):
		status = http.StatusServiceUnavailable
	}
	s.fail(w, status, err)
}

// decode reads a JSON body into v; fields names those allowed. It has answered when it returns false.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, v any, fields string) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more than one JSON value")
		}
	}
	if err != nil {
		s.fail(w, http.StatusBadRequest, errors.New("the body must be one JSON object with the fields "+fields+": "+strings.TrimPrefix(err.Error(), "json: ")))
		return false
	}
	return true
}

// wireMessage is Message with its time always written with milliseconds.
type wireMessage struct {
	ID     string `json:"id"`
	From   string `json:"from"`
	Text   string `json:"text"`
	At     string `json:"at"`
	Copies int    `json:"copies"`
}

func (s *Server) getMessages(w http.ResponseWriter, r *http.Request) {
	digits := r.PathValue("digits")
	if err := checkDigits(digits); err != nil {
		s.failWith(w, err)
		return
	}
	out := []wireMessage{}
	for _, m := range s.Messages(digits) {
		out = append(out, wireMessage{ID: m.ID, From: m.From, Text: m.Text, At: m.At.UTC().Format(timeFormat), Copies: m.Copies})
	}
	s.reply(w, http.StatusOK, out)
}

func (s *Server) postPhone(w http.ResponseWriter, r *http.Request) {
	var change PhoneSettings
	if !s.decode(w, r, &change, "exists, read, online, reinstall (all true or false, all optional)") {
		return
	}
	state, err := s.setPhone(r.Context(), r.PathValue("digits"), change)
	if err != nil {
		s.failWith(w, err)
		return
	}
	s.reply(w, http.StatusOK, state)
}

func (s *Server) postSend(w http.ResponseWriter, r *http.Request) {
	var in struct {
		To   string `json:"to"`
		Text string `json:"text"`
	}
	if !s.decode(w, r, &in, "to (the account's digits; optional where one account is paired), text") {
		return
	}
	id, err := s.Write(r.Context(), r.PathValue("digits"), in.To, in.Text)
	if err != nil {
		s.failWith(w, err)
		return
	}
	s.reply(w, http.StatusOK, map[string]string{"id": id})
}

func (s *Server) postPair(w http.ResponseWriter, r *http.Request) {
	var in struct {
		QR      string `json:"qr"`
		Account string `json:"account"`
	}
	if !s.decode(w, r, &in, "qr (the text of the QR code), account (digits, optional)") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pairTimeout)
	defer cancel()
	paired, err := s.Pair(ctx, in.QR, in.Account)
	if err != nil {
		if ctx.Err() != nil {
			s.fail(w, http.StatusGatewayTimeout, err)
			return
		}
		s.failWith(w, err)
		return
	}
	s.reply(w, http.StatusOK, paired)
}

func (s *Server) getSessions(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.Sessions())
}

func (s *Server) postFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if !s.decode(w, r, &f, "account, phone, kind, code, ms, count") {
		return
	}
	id, err := s.AddFault(f)
	if err != nil {
		s.failWith(w, err)
		return
	}
	s.reply(w, http.StatusOK, map[string]string{"id": id})
}

func (s *Server) deleteFaults(w http.ResponseWriter, _ *http.Request) {
	s.ClearFaults()
	s.reply(w, http.StatusOK, map[string]string{})
}

func (s *Server) postReset(w http.ResponseWriter, _ *http.Request) {
	s.Reset()
	s.reply(w, http.StatusOK, map[string]string{})
}

func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, http.StatusNotFound, errors.New("there is no "+r.Method+" "+r.URL.Path+"; there is "+strings.Join(endpoints(), ", ")))
}
