package snippets_test

import (
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"wabek/docs/snippets"
	"wabek/internal/api/apitest"
)

var update = flag.Bool("update", false, "rewrite generated files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	number  = "+905551234567"
	patient = 2 * time.Minute
)

// command is a snippet's command; the test is skipped where what it needs isn't there.
func command(ctx context.Context, t *testing.T, s snippets.Snippet) *exec.Cmd {
	t.Helper()
	args := strings.Fields(s.Run)
	program, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("NOT RUN: there is no %s here, so the %s snippet wasn't tried", args[0], s.Language)
	}
	if s.Language == "curl" {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("NOT RUN: there is no curl here, so its snippet wasn't tried")
		}
	}
	if s.Language == "PHP" {
		if modules, err := exec.CommandContext(ctx, program, "-m").Output(); err != nil || !regexp.MustCompile(`(?m)^curl$`).Match(modules) {
			t.Skip("NOT RUN: php is here without its curl extension, so its snippet wasn't tried")
		}
	}
	return exec.CommandContext(ctx, program, args[1:]...)
}

// session is a snippet that runs and has asked for the code.
type session struct {
	out  strings.Builder
	in   io.WriteCloser
	wait func() error
}

// start runs a snippet against a server.
func start(t *testing.T, s snippets.Snippet, url, key, phone string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	cmd := command(ctx, t, s)
	for i, arg := range cmd.Args {
		cmd.Args[i] = strings.ReplaceAll(arg, number, phone)
	}
	cmd.Dir = filepath.Dir(s.File)
	cmd.Env = append(os.Environ(), "WABEK_URL="+url, "WABEK_API_KEY="+key)
	run := &session{}
	cmd.Stdout, cmd.Stderr = &run.out, &run.out
	var err error
	run.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	run.wait = sync.OnceValue(cmd.Wait)
	t.Cleanup(func() { cancel(); _ = run.wait() })
	return run
}

// answers gives the snippet a code and waits for its end.
func (s *session) answers(t *testing.T, code string) error {
	t.Helper()
	_, err := io.WriteString(s.in, code+"\n")
	require.NoError(t, err)
	return s.wait()
}

func TestSnippets_Work(t *testing.T) {
	t.Parallel()
	for _, s := range snippets.All(snippets.DefaultURL) {
		t.Run(s.Language+" verifies a right code, though the first answers are lost", func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			seen := map[string]bool{}
			server := apitest.New(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					before := seen[r.URL.Path]
					seen[r.URL.Path] = true
					mu.Unlock()
					if !before {
						h.ServeHTTP(httptest.NewRecorder(), r)
						panic(http.ErrAbortHandler)
					}
					h.ServeHTTP(w, r)
				})
			})
			run := start(t, s, server.URL, apitest.Key, number)
			message, err := server.Wait(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, number, message.To)
			require.NoError(t, run.answers(t, message.Code()), run.out.String())
			require.Contains(t, run.out.String(), "Sent to +90•••••4567")
			require.Contains(t, run.out.String(), "It is right.")
			require.Len(t, server.Messages(), 1, "the second try sent nothing")
		})
		t.Run(s.Language+" says that a wrong code is wrong", func(t *testing.T) {
			t.Parallel()
			server := apitest.New(t, nil)
			run := start(t, s, server.URL, apitest.Key, number)
			_, err := server.Wait(t.Context(), 1)
			require.NoError(t, err)
			require.Error(t, run.answers(t, "0"))
			require.Contains(t, run.out.String(), ": Invalid OTP")
		})
		t.Run(s.Language+" says what the server refuses", func(t *testing.T) {
			t.Parallel()
			server := apitest.New(t, nil)
			for _, c := range []struct{ key, phone, want string }{{apitest.Key, "+90", "invalid_field"}, {"wrong", number, "unauthorized"}} {
				run := start(t, s, server.URL, c.key, c.phone)
				require.Error(t, run.wait())
				require.Contains(t, run.out.String(), c.want)
				require.Empty(t, server.Messages())
			}
		})
	}
}

func TestAll_AreForTheAddress(t *testing.T) {
	t.Parallel()
	for _, s := range snippets.All("https://otp.example.org/") {
		require.Contains(t, s.Text, `https://otp.example.org`)
		require.NotContains(t, s.Text, snippets.DefaultURL)
		require.NotContains(t, s.Text, "example.org/'")
	}
	for _, bad := range []string{"", "otp.example.org", "https://a'b", `https://a"b`, "https://a/$(x)", "https://a b", "https://a\nb", "javascript:x"} {
		for _, s := range snippets.All(bad) {
			require.Contains(t, s.Text, snippets.DefaultURL, bad)
		}
	}
}

// TestThePageShowsTheFiles compares docs/integration.md with the files that the tests run.
func TestThePageShowsTheFiles(t *testing.T) {
	t.Parallel()
	const file = "../integration.md"
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	want := string(page)
	for _, s := range snippets.All(snippets.DefaultURL) {
		block := regexp.MustCompile("(?s)<!-- snippets/" + regexp.QuoteMeta(s.File) + " -->\n\n```.*?\n```\n")
		require.Len(t, block.FindAllString(want, -1), 1, s.File)
		want = block.ReplaceAllLiteralString(want, "<!-- snippets/"+s.File+" -->\n\n```"+s.Fence+"\n"+s.Text+"```\n")
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		page = []byte(want)
	}
	require.Equal(t, want, string(page), "run go test ./docs/snippets -update")
}
