package app_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
)

// docs/failures.md speaks of every reason, class and state that there is.
func TestFailures_AreAllInTheDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/failures.md")
	require.NoError(t, err)
	for typ, file := range map[string]string{"Reason": "../job/status.go", "Code": "../whatsapp/state.go"} {
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		words := regexp.MustCompile(`(?m)^\t\w+ +`+typ+` += "([^"]+)"`).FindAllSubmatch(code, -1)
		require.NotEmpty(t, words, file)
		for _, w := range words {
			require.Contains(t, string(page), "`"+string(w[1])+"`")
		}
	}
	for c := job.NotSent; c.String() != job.FailureClass(0).String(); c++ {
		require.Contains(t, string(page), "`"+c.String()+"`")
	}
}
