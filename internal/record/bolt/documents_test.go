package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	c, path := newClock(), filepath.Join(t.TempDir(), "records.db")
	s := open(t, calm(path, c.now))
	for name, text := range map[string]string{"app/a": "1", "app/b": "", "apps/c": "3", "key/a": "4"} {
		require.NoError(t, s.SetDocument(t.Context(), name, []byte(text)))
	}
	require.NoError(t, s.SetDocument(t.Context(), "app/a", []byte("2")))
	require.NoError(t, s.SetDocument(t.Context(), "key/a", nil))
	require.NoError(t, s.SetDocument(t.Context(), "key/a", nil), "twice is once")
	require.NoError(t, s.Close())
	s = open(t, calm(path, c.now))
	docs, err := s.Documents(t.Context(), "app/")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a": []byte("2"), "b": {}}, docs)
	docs, err = s.Documents(t.Context(), "key/")
	require.NoError(t, err)
	require.Empty(t, docs)
	require.Error(t, s.SetDocument(t.Context(), "", []byte("x")))
}
