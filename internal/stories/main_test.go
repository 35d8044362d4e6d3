package stories_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// long makes the stories as long as docs/architecture.md tells them; without it they are short enough for CI.
var long = flag.Bool("long", false, "play the stories in full length: 2,000 OTPs, ten kills each")

// bin is where the programs are.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wabek-stories-")
	if err == nil {
		bin = dir
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stories:", errors.Join(err, os.RemoveAll(dir)))
		return 1
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "stories:", err)
		return 1
	}
	return code
}

// build makes the programs as make image does: without cgo, and without the race detector.
func build(dir string) error {
	for _, args := range [][]string{
		{"./cmd/api", "./cmd/sender", "./cmd/whatsim"},
		{"github.com/nats-io/nats-server/v2"},
	} {
		out := dir + string(filepath.Separator)
		if len(args) == 1 {
			out += "nats-server"
		}
		cmd := exec.CommandContext(context.Background(), "go", append([]string{"build", "-o", out}, args...)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %v: %w\n%s", args, err, text)
		}
	}
	return nil
}

// root is the module, seen from here.
const root = "../.."

// inLongForm gives the one length or the other.
func inLongForm(full, short int) int {
	if *long {
		return full
	}
	return short
}
