package sender

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func never() bool { return false }

func TestNoticePace(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_790_000_000, 0)
	t.Run("one that is kept for OTPs says so", func(t *testing.T) {
		t.Parallel()
		kept := true
		p := NewNoticePace(0, func() bool { return kept }, never)
		require.True(t, p.Kept(now))
		require.False(t, p.Yields(now))
		kept = false
		require.False(t, p.Kept(now))
		require.Zero(t, p.Wait(now))
	})
	t.Run("without a bound there is no pause", func(t *testing.T) {
		t.Parallel()
		p := NewNoticePace(0, never, never)
		p.Took(now)
		require.Zero(t, p.Wait(now))
	})
	t.Run("one that sends notices leaves OTPs to others, if there are any", func(t *testing.T) {
		t.Parallel()
		alone := false
		p := NewNoticePace(30, never, func() bool { return alone })
		require.False(t, p.Yields(now))
		p.Took(now)
		require.True(t, p.Yields(now))
		require.False(t, p.Yields(now.Add(yieldFor)))
		alone = true
		require.False(t, p.Yields(now))
	})
}

// Whoever takes a notice whenever it may takes as many as were asked for, and never two within less than two thirds of the pause.
func TestNoticePace_IsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		perMinute := rapid.IntRange(1, 600).Draw(r, "a minute")
		p := NewNoticePace(perMinute, never, never)
		now, taken := time.Unix(1_790_000_000, 0), 0
		for end := now.Add(time.Hour); now.Before(end); {
			wait := p.Wait(now)
			if wait == 0 {
				p.Took(now)
				taken++
				require.GreaterOrEqual(r, p.Wait(now), time.Minute/time.Duration(perMinute)*2/3-1)
				continue
			}
			now = now.Add(wait)
		}
		require.InEpsilon(r, 60*perMinute, taken, 0.25)
	})
}
