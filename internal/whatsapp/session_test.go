package whatsapp_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/whatsapp"
)

func TestSession_PairSendReceiptsRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, job.CheckSession(w.stored.ID))
	require.Equal(t, w.account, w.stored.Number)
	to := newNumber(t)

	n := w.up(t)
	require.Equal(t, w.stored.ID, n.ID())
	require.Equal(t, uint64(7), n.Fence())
	env, body := w.message(t, to, "Your code is 123456")
	require.NoError(t, n.Send(within(t), env, body))
	require.Equal(t, 1, w.shows(t, to, body.Text).Copies)
	got := n.awaitReceipt(t, env.ID, job.Delivered)
	require.Equal(t, job.DefaultPool, got.Pool)
	require.NotZero(t, got.At)
	n.awaitReceipt(t, env.ID, job.Read)
	n.close()
	require.Equal(t, whatsapp.Stopped, n.State().Code)
	require.Equal(t, []whatsapp.Code{whatsapp.Connecting, whatsapp.Connected, whatsapp.Stopped}, n.states.codes())

	again := w.up(t)
	env2, body2 := w.message(t, to, "Your code is 654321")
	require.NoError(t, again.Send(within(t), env2, body2))
	require.Equal(t, 1, w.shows(t, to, body2.Text).Copies)
	again.awaitReceipt(t, env2.ID, job.Delivered)

	require.NoError(t, again.Send(within(t), env, body), "known as sent by the ledger on disk")
	require.Equal(t, 1, w.shows(t, to, body.Text).Copies, "so it isn't sent again")
	again.close()

	require.NotContains(t, w.logs.String(), to.Digits())
	require.NotContains(t, w.logs.String(), w.account.Digits())
	require.NotContains(t, w.logs.String(), "123456")
	for _, file := range []string{
		filepath.Join(paired.dir, "devices.db"), filepath.Join(paired.dir, "devices.db.lock"), filepath.Join(w.dir, "sent.db"),
	} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), file)
	}
}
