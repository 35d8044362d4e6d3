package whatsim_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wabek/internal/whatsim"
)

func TestStory_PairSendDeliveredRead(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := paired(t, s, "905550000001")
	c.mustSay(t, "905551112233", "code 123456", "A1")
	m := arrives(t, s, "905551112233", "A1")
	require.Equal(t, whatsim.Message{ID: "A1", From: "905550000001", Text: "code 123456", At: m.At, Copies: 1}, m)
	await(t, c, receipt("A1", types.ReceiptTypeDelivered))
	await(t, c, receipt("A1", types.ReceiptTypeRead))
	require.Equal(t, []whatsim.Session{{Account: "905550000001", Device: 1, Connected: true, Stanzas: 1}}, s.Sessions())
	_ = events.Connected{}
}
