package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// runEcho is the ceiling of HTTP: the same echo, without middlewares, with handlers that parse the same bodies and
// do nothing. It is written to be hard to beat: buffers are used again and no timeouts are set.
func runEcho(ctx context.Context, _ []string, in io.Reader, out io.Writer) error {
	e := echo.New()
	e.POST(pathIssue, parseOnly[struct {
		Phone   string `json:"phone"`
		Purpose string `json:"purpose"`
	}](`{"success":true,"otpId":"`+idPlace+"\"}\n"))
	e.POST(pathVerify, parseOnly[struct {
		ID   string `json:"otp_id"`
		Code string `json:"otp"`
	}]("{\"valid\":true}\n"))
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once, or not at all
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	err = answerCalls(ctx, in, out, map[string]handler{
		"ready": on(func(context.Context, nothing) (readyInfo, error) {
			return readyInfo{Addr: ln.Addr().String()}, nil
		}),
	})
	err = errors.Join(err, server.Close())
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// readyInfo says where a process can be reached.
type readyInfo struct {
	Addr string `json:"addr"`
}

func parseOnly[T any](response string) echo.HandlerFunc {
	buffers := sync.Pool{New: func() any { return new([4096]byte) }}
	return func(c echo.Context) error {
		buf := buffers.Get().(*[4096]byte) //nolint:forcetypeassert // its New makes nothing else
		defer buffers.Put(buf)
		n, err := io.ReadFull(c.Request().Body, buf[:])
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			return echo.ErrBadRequest
		}
		var q T
		if err := json.Unmarshal(buf[:n], &q); err != nil {
			return echo.ErrBadRequest
		}
		return c.JSONBlob(http.StatusOK, []byte(response))
	}
}
