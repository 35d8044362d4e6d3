package text_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/text"
)

// What docs/texts.md shows is what happens.
func TestDocs_TheExamples(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/texts.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```text\n(.*?)\n```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 3)
	texts := overlay(t, map[string]string{"en/order.txt": blocks[0][1], "pl/default.txt": blocks[2][1]})
	require.Equal(t, blocks[1][1], render(t, texts, text.Request{App: "Acme", Purpose: "order", Params: map[string]string{"order": "A-17"}}))
	require.Equal(t, "Twój kod jednorazowy do Acme:\n\n048213\n\nKod jest ważny 10 minut. Prosimy nikomu go nie podawać.",
		render(t, texts, text.Request{App: "Acme", Purpose: "login", Region: "PL"}))

	_, err = text.Overlay(dir(map[string]string{
		"en/order.txt": "Dear customer,\nyour order\n{{.Param.order}}\n{{.Code}}", "tr/login.txt": "Merhaba\nKod: {{.Code}}",
	}), false)
	require.Error(t, err)
	for _, e := range fileErrors(err) {
		require.Contains(t, string(page), e.Error()[len("dir/"):]+"\n")
	}
	require.Len(t, fileErrors(err), 2)
}
