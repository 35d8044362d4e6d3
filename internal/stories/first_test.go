package stories_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStory_AnOTPArrivesAndIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	w := startAll(t)
	id := w.client.mustIssue(t, "905551000001")
	code := w.phones.receives(t, "905551000001").code()
	v, err := w.client.verify(id, code)
	require.NoError(t, err)
	require.Equal(t, verdict{Valid: true}, v)
	v, err = w.client.verify(id, code)
	require.NoError(t, err)
	require.Equal(t, verdict{Reason: reasonUsed}, v)
}
