package senderapp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/queue"
)

func TestMates_OneOfSeveralIsKept(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_790_000_000, 0)
	sessions := []string{"aaaaaaaa", "bbbbbbbb", "cccccccc"}
	all := map[string]*mates{}
	for _, s := range sessions {
		all[s] = newMates("default", s, func() time.Time { return now })
	}
	say := func(session, pool string, up bool) {
		for _, m := range all {
			m.beat(queue.Heartbeat{Pool: pool, Session: session, Up: up})
		}
	}
	kept := func() (who []string) {
		for _, s := range sessions {
			if all[s].kept() {
				who = append(who, s)
			}
		}
		return who
	}
	require.Empty(t, kept(), "nobody has heard of another")
	require.True(t, all["bbbbbbbb"].alone())
	for _, s := range sessions {
		say(s, "default", true)
	}
	require.Equal(t, []string{"aaaaaaaa"}, kept())
	say("aaaaaaaa", "default", false)
	require.Contains(t, kept(), "bbbbbbbb")
	say("00000000", "other", true)
	require.Contains(t, kept(), "bbbbbbbb", "another pool's is none of ours")
	now = now.Add(mateFresh)
	require.Empty(t, kept(), "silence is as good as a word")
	require.True(t, all["cccccccc"].alone())
}
