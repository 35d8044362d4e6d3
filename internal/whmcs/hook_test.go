package whmcs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/job"
	"wabek/internal/whmcs"
)

var known = []string{"InvoiceCreated", "OrderPaid", "UserLogin"}

// What PHP sends for a number, a missing one and a wrong one.
func TestParseHook_TakesWhatPHPWrites(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_790_000_000, 0)
	for body, want := range map[string]whmcs.Hook{
		`{"action":"InvoiceCreated","invoiceid":1,"userid":2}`:                      {Action: "InvoiceCreated", Invoice: 1, User: 2},
		`{"action":"InvoiceCreated","invoiceid":"1","userid":""}`:                   {Action: "InvoiceCreated", Invoice: 1},
		`{"action":"InvoiceCreated","invoiceid":1,"userid":null,"status":"Unpaid"}`: {Action: "InvoiceCreated", Invoice: 1},
		`{"action":"InvoiceCreated","invoiceid":1,"userid":false,"type":7}`:         {Action: "InvoiceCreated", Invoice: 1, Type: "7"},
		`{"action":"OrderPaid"}`: {Action: "OrderPaid"},
		`{"action":"UserLogin","userid":2,"client":{"phonenumber":"+90.5551234567"},"data":{"ip":"::1"}}`: {Action: "UserLogin", User: 2},
	} {
		got, err := whmcs.ParseHook([]byte(body), "", [32]byte{}, known, now)
		require.NoError(t, err, body)
		require.Equal(t, want, got, "unsigned, so without client and data")
	}
	body := `{"action":"UserLogin","userid":2,"client":{"phonenumber":5551234567,"phonecc":90},"data":{"days":7}}`
	got, err := whmcs.ParseHook([]byte(body), sign(body, now), [32]byte{1}, known, now)
	require.NoError(t, err)
	require.Equal(t, &whmcs.Client{Phone: "5551234567", PhoneCode: "90"}, got.Client)
	require.EqualValues(t, "7", got.Data.Days)
}

func sign(body string, at time.Time) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(whmcs.Sign([]byte(body), stamp, [32]byte{1}))
}

func TestJobIDs(t *testing.T) {
	t.Parallel()
	id, err := whmcs.NewID()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), id.Time(), time.Minute)
	for n := 1; n <= whmcs.MostSends; n++ {
		j := whmcs.JobID(id, n)
		_, err := job.ParseID(string(j))
		require.NoError(t, err)
		got, gotN, ok := whmcs.ParseJobID(j)
		require.True(t, ok)
		require.Equal(t, id, got)
		require.Equal(t, n, gotN)
	}
	for _, other := range []string{"", id.String(), "n-", "n-" + id.String() + "-", "n-" + id.String() + "-1", "n-" + id.String() + "-02", "n-" + strings.ToUpper(id.String()) + "x"} {
		_, _, ok := whmcs.ParseJobID(job.ID(other))
		require.False(t, ok, other)
	}
}

func FuzzParseHook(f *testing.F) {
	now := time.Unix(1_790_000_000, 0)
	for _, body := range []string{
		`{"action":"InvoiceCreated","invoiceid":1,"userid":2}`, `{"action":"UserLogin","userid":"2","client":{"phonenumber":"+90.5551234567"},"data":{}}`,
		`{"action":"OrderPaid","time":1e99}`, "{}", "null", `{"client":null,"data":[]}`, "\xff",
	} {
		f.Add(body, "")
		f.Add(body, sign(body, now))
	}
	f.Fuzz(func(t *testing.T, body, signature string) {
		h, err := whmcs.ParseHook([]byte(body), signature, [sha256.Size]byte{1}, known, now)
		if err != nil {
			if field, ok := errors.AsType[*whmcs.FieldError](err); ok {
				require.NotEmpty(t, field.Field)
			}
			return
		}
		require.Contains(t, known, h.Action)
		if signature == "" {
			require.Nil(t, h.Client)
			require.Nil(t, h.Data)
		}
		text, err := json.Marshal(h) // it is kept so
		require.NoError(t, err)
		var again whmcs.Hook
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, h, again)
	})
}
