package bolt_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
)

// victim is the argument by which this test binary, run as a process of its own, writes a file until it is killed.
const victim = "be-the-victim"

// runAsVictim issues OTPs without end and prints the id of each once Issue has answered.
func runAsVictim() bool {
	if len(os.Args) != 3 || os.Args[1] != victim {
		return false
	}
	s, err := bolt.Open(calm(os.Args[2], time.Now))
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		return true
	}
	var out sync.Mutex
	var wait sync.WaitGroup
	for w := range byte(32) {
		wait.Go(func() {
			for i := range byte(255) {
				id, err := otp.NewID(time.Now(), zeroSeed{w, i})
				if err != nil {
					return
				}
				d := otp.Draft{
					Record: otp.Record{ID: id, Phone: phone.Hash{w, i}, Expires: time.Now().Add(time.Minute), Sealed: make([]byte, 300)},
					Job:    job.Envelope{ID: job.ID(id.String()), Lane: job.LaneOTP, Pool: job.DefaultPool, Target: job.AnySession},
				}
				if s.Issue(context.Background(), d, admit(d)) == nil {
					out.Lock()
					_, _ = fmt.Fprintln(os.Stdout, id)
					out.Unlock()
				}
			}
		})
	}
	wait.Wait()
	select {} // what is left to do is being killed
}

// zeroSeed makes ids that differ by worker and turn.
type zeroSeed [2]byte

func (z zeroSeed) Read(p []byte) (int, error) {
	clear(p)
	copy(p[len(p)-2:], z[:])
	return len(p), nil
}

func TestStore_KilledKeepsWhatItAnswered(t *testing.T) {
	t.Parallel()
	for kill := range 5 {
		t.Run(fmt.Sprintf("kill %d", kill), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "records.db")
			process := exec.CommandContext(t.Context(), os.Args[0], victim, path)
			out, err := process.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, process.Start())
			var answered []job.ID
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				answered = append(answered, job.ID(lines.Text()))
				if len(answered) == 200+500*kill {
					require.NoError(t, process.Process.Kill())
				}
			}
			require.Error(t, process.Wait())
			require.GreaterOrEqual(t, len(answered), 200+500*kill)

			s := open(t, calm(path, time.Now))
			for _, id := range answered {
				e, ok, err := s.Load(context.Background(), id)
				require.NoError(t, err)
				require.True(t, ok, "no outbox row of an OTP that was answered")
				require.Len(t, e.Sealed, 300, "no record of an OTP that was answered")
			}
		})
	}
}
