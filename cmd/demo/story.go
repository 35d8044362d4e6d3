package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"wabek/internal/config"
	"wabek/internal/whatsapp"
	"wabek/internal/whatsim"
)

// scanner is the virtual phone that pairs: it scans each code it is shown.
type scanner struct {
	sim    *whatsim.Server
	logger *slog.Logger
	group  sync.WaitGroup
}

func (s *scanner) scan(ctx context.Context, code whatsapp.QRCode) {
	s.group.Go(func() {
		if _, err := s.sim.Pair(ctx, code.Text, ""); err != nil && ctx.Err() == nil {
			s.logger.Warn("virtual phone could not pair", "err", err)
		}
	})
}

func (s *scanner) wait() { s.group.Wait() }

// story is what demo -once plays.
type story struct {
	out   io.Writer
	api   string
	key   string
	sim   *whatsim.Server
	clock *clock
	cfg   config.API
}

// play goes through an OTP's whole life. Its error says which answer was wrong.
func (s *story) play(ctx context.Context) error {
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"A code arrives, is verified once, and is used then", s.usedOnce},
		{"Wrong codes lock an OTP", s.locked},
		{"An OTP expires", s.expired},
	} {
		fmt.Fprintf(s.out, "\n== %s\n", step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	fmt.Fprintln(s.out, "\nEvery answer was right.")
	return nil
}

func (s *story) usedOnce(ctx context.Context) error {
	id, code, err := s.send(ctx, "905551234567")
	if err != nil {
		return err
	}
	return errors.Join(
		s.verify(ctx, id, code, ""),
		s.verify(ctx, id, code, "OTP already used"),
	)
}

func (s *story) locked(ctx context.Context) error {
	id, code, err := s.send(ctx, "905551234568")
	if err != nil {
		return err
	}
	for range s.cfg.OTPMaxAttempts {
		if err := s.verify(ctx, id, otherThan(code), "Invalid OTP"); err != nil {
			return err
		}
	}
	return s.verify(ctx, id, code, "Too many attempts")
}

func (s *story) expired(ctx context.Context) error {
	id, code, err := s.send(ctx, "905551234569")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   (the clock is turned %v forward)\n", s.cfg.OTPExpiry())
	s.clock.turn(s.cfg.OTPExpiry())
	return s.verify(ctx, id, code, "OTP expired")
}

// send asks for an OTP and reads its code on the virtual phone.
func (s *story) send(ctx context.Context, digits string) (id, code string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	before := len(s.sim.Messages(digits))
	body, err := s.post(ctx, "/api/v1/otp", fmt.Sprintf(`{"phone":"+%s","purpose":"verification"}`, digits))
	if err != nil {
		return "", "", err
	}
	var answer struct {
		Success bool   `json:"success"`
		OTPID   string `json:"otpId"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || !answer.Success || answer.OTPID == "" {
		return "", "", fmt.Errorf("unexpected answer %s", body)
	}
	seen := 0
	message, err := s.sim.WaitMessage(ctx, digits, func(whatsim.Message) bool { seen++; return seen > before })
	if err != nil {
		return "", "", fmt.Errorf("no message on the phone: %w", err)
	}
	fmt.Fprintf(s.out, "   phone +%s shows:\n      %s\n", digits, strings.ReplaceAll(message.Text, "\n", "\n      "))
	code = regexp.MustCompile(`(?m)^[0-9]{6,10}$`).FindString(message.Text)
	if code == "" {
		return "", "", errors.New("the message holds no code")
	}
	return answer.OTPID, code, nil
}

// verify tries a code and wants this reason; an empty one wants it valid.
func (s *story) verify(ctx context.Context, id, code, reason string) error {
	got, err := s.post(ctx, "/api/v1/otp-verify", fmt.Sprintf(`{"otp_id":"%s","otp":"%s"}`, id, code))
	if err != nil {
		return err
	}
	var verdict struct {
		Valid  bool
		Reason string
	}
	if err := json.Unmarshal([]byte(got), &verdict); err != nil {
		return fmt.Errorf("answer %s: %w", got, err)
	}
	if verdict.Valid != (reason == "") || verdict.Reason != reason {
		return fmt.Errorf("answer %s, expected the reason %q", got, reason)
	}
	return nil
}

func (s *story) post(ctx context.Context, path, body string) (string, error) {
	fmt.Fprintf(s.out, "-> POST %s %s\n", path, body)
	status, answer, err := call(ctx, http.MethodPost, s.api+path, s.key, body)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(s.out, "<- %d %s\n", status, answer)
	if status != http.StatusOK {
		return "", fmt.Errorf("status %d, expected 200", status)
	}
	return answer, nil
}

func call(ctx context.Context, method, url, key, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("request: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, "", fmt.Errorf("read answer: %w", err)
	}
	return res.StatusCode, strings.TrimSpace(string(answer)), nil
}

// otherThan is a code of the same length that differs in its last digit.
func otherThan(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + string('0'+(last-'0'+1)%10)
}
