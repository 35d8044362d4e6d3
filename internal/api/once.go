package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"wabek/internal/apps"
	"wabek/internal/otp"
)

// onceKeys are the idempotency keys of the requests under way.
type onceKeys struct{ keys sync.Map }

// idempotency reads the header Idempotency-Key; nil where there is none. content is what makes the request that request:
// its fields, not its bytes, so that a client may write them anew. While one request with a key is under way another is
// refused; done must be called when it is answered.
func (s *Server) idempotency(c echo.Context, by apps.Caller, operation string, content any) (once *otp.Idempotency, done func(), err error) {
	done = func() {}
	sent, ok := c.Request().Header[headerOnce]
	if !ok {
		return nil, done, nil
	}
	if len(sent) != 1 || !usableOnceKey(sent[0]) {
		return nil, done, invalid(headerOnce, "The header Idempotency-Key must be 1 to 255 printable ASCII characters; a UUID is a good choice.")
	}
	text, err := json.Marshal(content)
	if err != nil {
		return nil, done, err
	}
	key := by.App.Name + "\x00" + operation + "\x00" + sent[0]
	if _, taken := s.once.keys.LoadOrStore(key, struct{}{}); taken {
		return nil, done, &problem{code: CodeKeyInFlight}
	}
	return &otp.Idempotency{Key: sent[0], Content: text}, func() { s.once.keys.Delete(key) }, nil
}

func usableOnceKey(key string) bool {
	const longest = 255
	for i := range len(key) {
		if key[i] < '!' || key[i] > '~' {
			return false
		}
	}
	return key != "" && len(key) <= longest
}

// answered answers as before where the error says that the request was answered before.
func (s *Server) answered(c echo.Context, err error) error {
	var replay *otp.Replay
	if !errors.As(err, &replay) {
		return err
	}
	c.Response().Header().Set("Idempotent-Replayed", "true")
	return s.write(c, http.StatusOK, replay.Answer)
}

// refuse refuses a request, unless it was answered before: that answer holds, whatever is refused now.
func (s *Server) refuse(c echo.Context, by apps.Caller, operation string, once *otp.Idempotency, refusal error) error {
	if err := s.o.OTPs.Answered(c.Request().Context(), by.App.Name, operation, once); err != nil {
		return s.answered(c, err)
	}
	return refusal
}
