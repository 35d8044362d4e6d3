package senderapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// health serves a sender's own /healthz and /readyz.
type health struct {
	server *http.Server
	done   chan struct{}
}

// readiness is the answer of a sender's /readyz.
type readiness struct {
	Ready    bool     `json:"ready"`
	Degraded []string `json:"degraded"`
	Sessions struct {
		Up    int `json:"up"`
		Total int `json:"total"`
	} `json:"sessions"`
	State       string `json:"state"` // of the session, a stable code
	Sent        uint64 `json:"sent"`
	Notices     uint64 `json:"notices"` // of those sent
	Failed      uint64 `json:"failed"`
	Redelivered uint64 `json:"redelivered"`
	ClaimsLost  uint64 `json:"claims_lost"`
}

// listenHealth starts to serve on addr; an empty one serves nothing.
func listenHealth(addr string, app *App, connected func() bool) (*health, error) {
	if addr == "" {
		return &health{}, nil
	}
	listener, err := net.Listen("tcp", addr) //nolint:noctx // at once, or not at all
	if err != nil {
		return nil, fmt.Errorf("WABEK_SENDER_ADDR: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		is := readinessOf(app.Report(), connected())
		code := http.StatusOK
		if !is.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, is)
	})
	h := &health{server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		_ = h.server.Serve(listener) // ends by stop; a listener that breaks shows as no answer
	}()
	return h, nil
}

func readinessOf(r Report, connected bool) readiness {
	is := readiness{
		Degraded: []string{}, State: string(r.State.Code), Sent: r.Stats.Sent, Notices: r.Stats.Notices, Failed: r.Stats.Failed,
		Redelivered: r.Stats.Redelivered, ClaimsLost: r.Stats.ClaimsLost,
	}
	is.Sessions.Up, is.Sessions.Total = r.SessionsUp, r.SessionsTotal
	if !connected {
		is.Degraded = append(is.Degraded, "nats")
	}
	if r.SessionsUp == 0 {
		is.Degraded = append(is.Degraded, "sessions")
	}
	is.Ready = len(is.Degraded) == 0
	return is
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

func (h *health) stop() error {
	if h.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := h.server.Shutdown(ctx)
	<-h.done
	if errors.Is(err, context.DeadlineExceeded) {
		return h.server.Close()
	}
	return err
}
