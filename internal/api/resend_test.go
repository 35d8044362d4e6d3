package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/api"
	"wabek/internal/apps"
)

// upPools are the pools that have a session.
type upPools map[string]bool

func (up upPools) Admit(pool string) error {
	if up[pool] {
		return nil
	}
	return &api.Refusal{Code: api.CodeNoSession}
}

// An OTP is sent again in the pool that it was issued for, wherever its app sends by now.
func TestResend_AsksForThePoolOfTheOTP(t *testing.T) {
	t.Parallel()
	up := upPools{"old": true}
	b := setup(t, func(o *api.Options) { o.Admission = up })
	key := b.app("shop", apps.Settings{Pool: new("old")})
	id := b.newID(goodIssue, "X-API-Key", key)
	_, err := b.apps.SaveApp(t.Context(), "shop", apps.Settings{Pool: new("new")}, false)
	require.NoError(t, err)
	again := func() int {
		status, _ := b.call(postOTP+"/"+id+"/resend", "", "X-API-Key", key)
		return status
	}
	require.Equal(t, http.StatusOK, again())
	up["old"], up["new"] = false, true
	require.Equal(t, http.StatusServiceUnavailable, again())
	require.Len(t, b.messages, 2)
}

// Nothing is sent to a test number, so nothing has to be there that could.
func TestResend_OfATestNumberNeedsNoSession(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *api.Options) { o.Admission = upPools{} })
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/api/v1/admin/apps/default/test-numbers", `{"phone":"`+number+`","code":"424242"}`).status)
	id := b.newID(goodIssue)
	status, doc := b.call(postOTP+"/"+id+"/resend", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, true, doc["test"])
}
