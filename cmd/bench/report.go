package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// pair is a phase of ours and one of the ceiling, one right after the other.
type pair struct{ ours, ceiling float64 }

// result is a case: what was measured, and what for.
type result struct {
	Bench   string      `json:"bench"`
	Case    string      `json:"case"`
	Ours    float64     `json:"ours"`    // median
	Ceiling float64     `json:"ceiling"` // median
	Ratio   float64     `json:"ratio"`   // median of the pairs' ratios
	Spread  [2]float64  `json:"spread"`  // of what Goal is about: the quartiles of five and more pairs, else the extremes
	Unit    string      `json:"unit"`
	Above   *float64    `json:"above,omitempty"` // ours - ceiling, where the goal is about that
	Goal    float64     `json:"goal,omitempty"`
	Most    bool        `json:"most,omitempty"`    // the goal is the most that Ratio may be
	Verdict string      `json:"verdict,omitempty"` // ok, MISS, or within spread
	Ran     *[2]running `json:"ran,omitempty"`     // ours and the ceiling
}

// running is how requests ran: medians over the phases.
type running struct {
	P50 float64 `json:"p50,omitempty"` // ms
	P99 float64 `json:"p99,omitempty"` // ms
	CPU float64 `json:"cpu"`           // of the server, µs a request
}

// The verdicts.
const (
	verdictOK     = "ok"
	verdictMiss   = "MISS"
	verdictSpread = "within spread"
)

// rates makes a case of pairs of rates. A goal of zero is none.
func rates(name string, goal float64, pairs []pair) result {
	var ours, ceiling, ratios []float64
	for _, p := range pairs {
		ours, ceiling, ratios = append(ours, p.ours), append(ceiling, p.ceiling), append(ratios, p.ours/p.ceiling)
	}
	r := result{Case: name, Unit: "/s", Ours: median(ours), Ceiling: median(ceiling), Ratio: median(ratios), Spread: spread(ratios), Goal: goal}
	switch {
	case goal == 0:
	case r.Ratio >= goal:
		r.Verdict = verdictOK
	case r.Spread[1] >= goal:
		r.Verdict = verdictSpread
	default:
		r.Verdict = verdictMiss
	}
	return r
}

// above makes a case of times in ms of which ours may lie above the ceiling by goal. Its spread is that of the
// difference over the blocks.
func above(name string, goal float64, whole pair, blocks []pair) result {
	differences := []float64{whole.ours - whole.ceiling}
	if len(blocks) > 0 {
		differences = nil
	}
	for _, b := range blocks {
		differences = append(differences, b.ours-b.ceiling)
	}
	diff := whole.ours - whole.ceiling
	r := result{
		Case: name, Unit: "ms", Ours: whole.ours, Ceiling: whole.ceiling, Ratio: whole.ours / whole.ceiling,
		Spread: spread(differences), Above: &diff, Goal: goal, Verdict: verdictMiss,
	}
	switch {
	case diff <= goal:
		r.Verdict = verdictOK
	case r.Spread[0] <= goal:
		r.Verdict = verdictSpread
	}
	return r
}

// times makes a case of times in ms of which ours may be at most goal times the ceiling. Its spread is that of the ratio
// over the blocks.
func times(name string, goal float64, whole pair, blocks []pair) result {
	var ratios []float64
	for _, b := range blocks {
		ratios = append(ratios, b.ours/b.ceiling)
	}
	r := result{
		Case: name, Unit: "ms", Ours: whole.ours, Ceiling: whole.ceiling, Ratio: whole.ours / whole.ceiling, Spread: spread(ratios), Most: true,
		Goal: goal, Verdict: verdictMiss,
	}
	switch {
	case r.Ratio <= goal:
		r.Verdict = verdictOK
	case r.Spread[0] <= goal:
		r.Verdict = verdictSpread
	}
	return r
}

// limit makes a case of times in seconds that must stay below a goal.
func limit(name string, goal float64, took []float64) result {
	r := result{
		Case: name, Unit: "s", Ours: median(took), Ceiling: goal, Ratio: median(took) / goal, Spread: spread(took),
		Goal: goal, Verdict: verdictMiss,
	}
	switch {
	case r.Ours <= goal:
		r.Verdict = verdictOK
	case r.Spread[0] <= goal:
		r.Verdict = verdictSpread
	}
	return r
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// spread is the quartiles, or of fewer than five values the extremes.
func spread(values []float64) [2]float64 {
	if len(values) < 5 {
		return [2]float64{slices.Min(values), slices.Max(values)}
	}
	return [2]float64{quantile(values, 0.25), quantile(values, 0.75)}
}

// quantile interpolates between the two nearest values.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// report prints cases as they come.
type report struct {
	bench  string
	json   bool
	out    io.Writer
	titled bool
}

func newReport(bench string, asJSON bool, out io.Writer) *report {
	return &report{bench: bench, json: asJSON, out: out}
}

func (r *report) add(c result) error {
	c.Bench = r.bench
	if r.json {
		return json.NewEncoder(r.out).Encode(c)
	}
	if !r.titled {
		r.titled = true
		fmt.Fprintf(r.out, "%-34s %12s %12s %7s %17s  %-22s %s\n", "case", "ours", "ceiling", "ratio", "spread", "goal", "p50/p99 ms, CPU µs a request: ours | ceiling")
	}
	goal := ""
	switch {
	case c.Goal == 0:
	case c.Above != nil:
		goal = fmt.Sprintf("%+.2f <= +%g: %s", *c.Above, c.Goal, c.Verdict)
	case c.Most:
		goal = fmt.Sprintf("<= %g: %s", c.Goal, c.Verdict)
	case c.Unit == "s":
		goal = fmt.Sprintf("<= %g s: %s", c.Goal, c.Verdict)
	default:
		goal = fmt.Sprintf(">= %g: %s", c.Goal, c.Verdict)
	}
	times := ""
	switch r := c.Ran; {
	case r == nil:
	case r[0].P50 == 0:
		times = fmt.Sprintf("%.0f | %.0f", r[0].CPU, r[1].CPU)
	default:
		times = fmt.Sprintf("%.2f/%.2f %.0f | %.2f/%.2f %.0f", r[0].P50, r[0].P99, r[0].CPU, r[1].P50, r[1].P99, r[1].CPU)
	}
	_, err := fmt.Fprintf(r.out, "%-34s %12s %12s %7.2f %17s  %-22s %s\n", c.Case, figure(c.Ours, c.Unit), figure(c.Ceiling, c.Unit), c.Ratio,
		fmt.Sprintf("%.2f to %.2f", c.Spread[0], c.Spread[1]), goal, times)
	return err
}

func figure(v float64, unit string) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}
