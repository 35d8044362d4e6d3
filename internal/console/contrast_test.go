package console_test

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Colours that lie on one another keep the contrast of WCAG 2.2 level AA: 4.5 for text (1.4.3), 3 for the borders of fields
// and the dots of the timeline (1.4.11).
func TestColours_KeepTheirContrast(t *testing.T) {
	t.Parallel()
	css, err := os.ReadFile("assets/console.css")
	require.NoError(t, err)
	light, dark, found := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	require.True(t, found)
	dark, _, found = strings.Cut(dark, "/* Ground */")
	require.True(t, found)
	for name, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range []struct {
			least  float64
			on     string
			drawn  string
			reason string
		}{
			{4.5, "back surface sunken", "text quiet accent", "text"},
			{4.5, "accent accent-strong", "on-accent", "buttons"},
			{4.5, "accent-soft", "accent text", "pills and good news"},
			{4.5, "bad-soft surface", "bad", "errors"},
			{4.5, "warn-soft", "warn", "warnings"},
			{4.5, "sunken", "code-name code-value code-number", "code"},
			{3, "surface back", "field-line focus accent bad", "borders, focus, dots"},
		} {
			for on := range strings.FieldsSeq(pair.on) {
				for drawn := range strings.FieldsSeq(pair.drawn) {
					require.Contains(t, colours, on)
					require.Contains(t, colours, drawn)
					got := contrast(t, colours[on], colours[drawn])
					require.GreaterOrEqual(t, got, pair.least, "%s: %s on %s, %s", name, drawn, on, pair.reason)
				}
			}
		}
	}
}

// contrast is the ratio of WCAG 2.2 between two colours written #rrggbb.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	la, lb := luminance(t, a), luminance(t, b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		require.NoError(t, err)
		c := float64(v) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
