package notice_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/notice"
)

// What docs/notices.md shows is what happens.
func TestDocs_TheExamples(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../docs/notices.md")
	require.NoError(t, err)
	page := string(content)
	blocks := regexp.MustCompile("(?s)```text\n(.*?)\n```").FindAllStringSubmatch(page, -1)
	require.Len(t, blocks, 3)
	texts := overlay(t, map[string]string{"en/order_paid.txt": blocks[1][1]})
	require.Equal(t, blocks[0][1], render(t, texts, notice.Request{Action: "InvoiceCreated", Fields: full()}))
	require.Equal(t, blocks[2][1], render(t, texts, notice.Request{Action: "OrderPaid", Fields: notice.Fields{
		Company: "Acme Hosting", Product: "Cloud VPS 2", Link: "https://billing.acme.example/order/42",
	}}))

	_, err = notice.Overlay(dir(map[string]string{
		"en/order_paid.txt": "{{.Company}} {{.Stop}}\n{{.Amount}}", "tr/invoice_paid.txt": "{{.Company}}",
	}))
	require.Error(t, err)
	require.Len(t, fileErrors(err), 2)
	for _, e := range fileErrors(err) {
		require.Contains(t, page, "    "+strings.Replace(e.Error(), "dir/", "notices/", 1)+"\n")
	}
	for _, action := range texts.Actions() {
		require.Contains(t, page, "`"+action+"`")
	}
	for _, name := range names {
		base, typ, typed := strings.Cut(name, ".")
		require.Contains(t, page, "`"+base+"`")
		require.True(t, !typed || strings.Contains(page, "`"+name+"`") || strings.Contains(page, "`."+typ+"`"))
	}
	for tag := range languages {
		require.Contains(t, page, "`"+notice.StopWord(tag)+"`")
	}
}
