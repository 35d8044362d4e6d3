package whatsim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// BenchmarkSend measures one session with the simulator in the same process: warm to one contact, and to a new
// contact each time.
func BenchmarkSend(b *testing.B) {
	for name, number := range map[string]func(int) string{
		"warm": func(int) string { return friend },
		"new":  func(i int) string { return fmt.Sprintf("9056%08d", i) },
	} {
		b.Run(name, func(b *testing.B) {
			s, c := ready(b)
			send := func(to string) {
				_, err := c.SendMessage(b.Context(), types.NewJID(to, types.DefaultUserServer), &waE2E.Message{Conversation: new("code 123456")})
				require.NoError(b, err)
			}
			send(friend)
			sent := 0
			for b.Loop() {
				send(number(sent))
				sent++
			}
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "sends/s")
			want := 1
			if name == "warm" {
				want += sent
			}
			require.Eventually(b, func() bool { return len(s.Messages(number(sent-1))) == want }, patience, time.Millisecond)
		})
	}
}
