package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/otp"
)

// TestMain lets the test binary be the processes that a bench starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if _, ok := children()[os.Args[1]]; ok {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

func tiny(t *testing.T, name string, o options) (*lab, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return &lab{
		options: o, name: name, dir: t.TempDir(), report: newReport(name, true, &out), stderr: os.Stderr,
		plan: plan{
			pairs: func(int) int { return 1 }, phase: 50 * time.Millisecond, samples: 10, firstSend: 5, warmSend: 10, known: 5, budget: time.Minute,
			events: 600, fanoutBlocks: 1, fanoutSamples: 2, beat: time.Millisecond, overload: 12 * time.Second,
		},
	}, &out
}

func TestBenches_MeasureSomething(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		o     options
		cases []string
	}{
		{"issue", options{only: 4}, []string{"POST otp, 4 at once"}},
		{"issue", options{million: true, quick: true, only: 4, records: 1000}, []string{
			"open 1000 records", "POST otp with 1000 records, 256 at once", "store with 1000 records, 256",
		}},
		{"verify", options{only: 4}, []string{"POST otp-verify, 4 at once"}},
		{"send", options{}, []string{"sender, first contact", "sender, warm"}},
		{"e2e", options{}, []string{
			"POST to phone, first contact, p50", "POST to phone, first contact, p99", "POST to phone, warm, p50", "POST to phone, warm, p99",
		}},
		{"overload", options{}, []string{"accepted, POST to phone, p99", "refused, p99"}},
		{"fanout", options{only: 2}, []string{
			"webhook, worst tenth of 600, p99", "POST to phone beside notices, 2 sessions, p50", "POST to phone beside notices, 2 sessions, p99",
		}},
	} {
		t.Run(strings.Join(append([]string{tc.name}, tc.cases[0]), " "), func(t *testing.T) {
			t.Parallel()
			l, out := tiny(t, tc.name, tc.o)
			l.profile = filepath.Join(t.TempDir(), "cpu")
			require.NoError(t, benches()[tc.name](t.Context(), l))
			var cases []string
			for lines := json.NewDecoder(out); lines.More(); {
				var r result
				require.NoError(t, lines.Decode(&r))
				require.Positive(t, r.Ours)
				require.Positive(t, r.Ceiling)
				require.Equal(t, tc.name, r.Bench)
				cases = append(cases, r.Case)
			}
			require.Equal(t, tc.cases, cases)
		})
	}
}

// A code that isn't accepted must end the run: the figures would be those of refusals.
func TestVerifyLoad_FailsOnARefusedCode(t *testing.T) {
	t.Parallel()
	l, _ := tiny(t, "verify", options{})
	codes := filepath.Join(l.dir, "codes")
	seeds, err := openSeeder(t.Context(), filepath.Join(l.dir, "data"), time.Minute, 3)
	require.NoError(t, err)
	require.NoError(t, seeds.seed(t.Context(), 3, codes))
	require.NoError(t, seeds.close())
	ours, err := l.stand(t.Context(), "serve", "-data", filepath.Join(l.dir, "data"))
	require.NoError(t, err)
	defer func() { require.NoError(t, ours.end()) }()
	text, err := os.ReadFile(codes)
	require.NoError(t, err)
	require.Len(t, text, 3*codeSize)
	spec := phaseSpec{Addr: ours.addr, Key: benchKey, Conns: 1, For: time.Minute, Codes: codes, To: 3, Want: `{"valid":true}`}
	r, err := load(spec, text)
	require.NoError(t, err)
	require.EqualValues(t, 3, r.Requests)
	_, err = load(spec, text)
	require.ErrorContains(t, err, "OTP already used")
}

func TestSeeder_LeavesNothingToSend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seeds, err := openSeeder(t.Context(), dir, otp.MaxExpiry/2, 2000)
	require.NoError(t, err)
	require.NoError(t, seeds.seed(t.Context(), 2000, ""))
	require.Zero(t, seeds.store.Stats().Pending)
	require.NoError(t, seeds.close())
}

func TestRates_JudgesByMedianAndSpread(t *testing.T) {
	t.Parallel()
	pairs := func(ratios ...float64) (out []pair) {
		for _, r := range ratios {
			out = append(out, pair{ours: r * 100, ceiling: 100})
		}
		return out
	}
	for _, tc := range []struct {
		name    string
		goal    float64
		ratios  []float64
		ratio   float64
		spread  [2]float64
		verdict string
	}{
		{"the median decides", 0.5, []float64{0.1, 0.5, 0.9}, 0.5, [2]float64{0.1, 0.9}, verdictOK},
		{"a miss inside the spread isn't one", 0.5, []float64{0.4, 0.45, 0.6}, 0.45, [2]float64{0.4, 0.6}, verdictSpread},
		{"a miss outside is", 0.5, []float64{0.4, 0.41, 0.42}, 0.41, [2]float64{0.4, 0.42}, verdictMiss},
		{"of many pairs the extremes don't count", 0.5, []float64{0.4, 0.4, 0.4, 0.4, 0.9}, 0.4, [2]float64{0.4, 0.4}, verdictMiss},
		{"no goal, no verdict", 0, []float64{0.4}, 0.4, [2]float64{0.4, 0.4}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := rates("a case", tc.goal, pairs(tc.ratios...))
			require.InDelta(t, tc.ratio, r.Ratio, 1e-9)
			require.InDeltaSlice(t, tc.spread[:], r.Spread[:], 1e-9)
			require.Equal(t, tc.verdict, r.Verdict)
		})
	}
}

func TestAbove_JudgesTheDifference(t *testing.T) {
	t.Parallel()
	blocks := []pair{{5, 3}, {6, 2}, {7, 3}}
	require.Equal(t, verdictOK, above("a case", 4, pair{6, 2}, blocks).Verdict)
	require.Equal(t, verdictSpread, above("a case", 3, pair{6, 2}, blocks).Verdict)
	require.Equal(t, verdictMiss, above("a case", 1, pair{6, 2}, blocks).Verdict)
}

func TestTemplates_FillInPlace(t *testing.T) {
	t.Parallel()
	require.Contains(t, string(newIssueTemplate("k", false).fill(1234)), `{"phone":"+905000001234","purpose":"verification"}`)
	once := string(newIssueTemplate("k", true).fill(1234))
	require.Contains(t, once, "Idempotency-Key: 905000001234\r\n")
	require.Contains(t, once, `{"phone":"+905000001234","purpose":"verification"}`)
	id, code := "11111111-2222-7333-8444-555555555555", "012345"
	require.Contains(t, string(newVerifyTemplate("k").fill([]byte(id+code))), `{"otp_id":"`+id+`","otp":"`+code+`"}`)
}

func TestRun_SaysHowToCallIt(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"nothing"}, {"issue", "more"}, {"issue", "-unknown"}} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, nil, &stderr, &stderr))
		require.Contains(t, stderr.String(), "Usage:")
	}
}
