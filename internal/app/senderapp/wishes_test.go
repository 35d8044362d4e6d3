package senderapp

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/optout"
	"wabek/internal/phone"
	"wabek/internal/queue"
	"wabek/internal/queue/embed"
	"wabek/internal/whatsapp"
)

// A wish that comes before the queue is there is stored once it is, under an id that a subject can hold; what is left when
// the drain is over is given up, and its number isn't logged.
func TestHearWishes_UntilStoredOrWorkEnds(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	quiet := slog.New(slog.DiscardHandler)
	server, err := embed.Start(embed.Options{Dir: t.TempDir(), Logger: quiet})
	require.NoError(t, err)
	defer server.Shutdown()
	nc, err := server.Connect(queue.ConnOptions(queue.DialOptions{Name: "test", Logger: quiet})...)
	require.NoError(t, err)
	defer nc.Close()
	broker, err := queue.New(nc, queue.Options{Logger: quiet})
	require.NoError(t, err)
	secret, err := keys.NewSecret(strings.Repeat("s", 32))
	require.NoError(t, err)
	seal := keys.DeriveSealKeys(secret, keys.Secret{})
	from, err := phone.Restore("+905551234567")
	require.NoError(t, err)
	a := New(Options{Pool: "default", Broker: broker, Opener: seal, Sealer: seal})
	stop := whatsapp.Wish{From: from, Want: optout.Stop, ID: "3EB0*.> A", At: time.Unix(1_700_000_000, 0)}

	over, end := context.WithCancel(t.Context())
	end()
	a.hearWishes(over, log)(stop)
	require.Contains(t, logged.String(), "a wish is lost")
	require.NotContains(t, logged.String(), "905551234567")

	stored := make(chan struct{})
	go func() { // there is no stream yet
		defer close(stored)
		hear := a.hearWishes(t.Context(), quiet)
		hear(stop)
		hear(stop)
	}()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan error, 2)
	go func() { ended <- broker.Run(ctx) }()
	<-stored
	var got []job.Wish
	go func() {
		ended <- broker.Wishes(ctx, "test", func(_ context.Context, pool, id string, sealed []byte) error {
			wish, err := job.OpenWish(seal, pool, id, sealed)
			got = append(got, wish)
			done()
			return err
		})
	}()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	require.Equal(t, []job.Wish{{From: from, Stop: true, At: time.Unix(1_700_000_000, 0)}}, got)

	require.Nil(t, New(Options{}).hearWishes(t.Context(), log), "who can't seal doesn't listen")
}
