package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun_WritesSettingsAndStops(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sim.env")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"-env", file, "-dir", t.TempDir(), "-advertise", "http://whatsim:8090"},
			[]string{"WABEK_SIM_ADDR=127.0.0.1:0"}, in, io.Discard)
	}()
	settings := make([]byte, 4096)
	n, err := out.Read(settings)
	require.NoError(t, err)
	found := regexp.MustCompile(`^WABEK_WHATSAPP_ENDPOINT=http://whatsim:8090\nWABEK_WHATSAPP_ROOT_KEY=[0-9a-f]{64}\nWABEK_SIM_ADDR=(\S+)\n$`).
		FindSubmatch(settings[:n])
	require.NotNil(t, found, string(settings[:n]))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(found[1])+"/healthz", http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	cancel()
	require.Equal(t, 0, <-done)
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(settings[:n]), string(written))
}

func TestRun_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	require.Equal(t, 2, run(t.Context(), []string{"-nonsense"}, nil, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "nonsense")
	stderr.Reset()
	require.Equal(t, 2, run(t.Context(), nil, []string{"WABEK_SIM_ADDR=nowhere:x"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "WABEK_SIM_ADDR")
	stderr.Reset()
	require.Equal(t, 2, run(t.Context(), nil, []string{"WABEK_SIM_ADR=127.0.0.1:0"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "WABEK_SIM_ADR")
	stderr.Reset()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	require.Equal(t, 1, run(t.Context(), nil, []string{"WABEK_SIM_ADDR=" + taken.Addr().String()}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "start simulator")
	stderr.Reset()
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, 1, run(stopped, []string{"-env", filepath.Join(t.TempDir(), "no", "sim.env")},
		[]string{"WABEK_SIM_ADDR=127.0.0.1:0"}, io.Discard, &stderr))
	require.Contains(t, stderr.String(), "write settings")
}
