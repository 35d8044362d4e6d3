package text_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/text"
)

// What an OTP spends on its text.
func BenchmarkRender(b *testing.B) {
	texts, err := text.Load("")
	require.NoError(b, err)
	for name, r := range map[string]text.Request{
		"by country":      {App: "Acme", Purpose: "login", Region: "DE"},
		"by locale":       {App: "Acme", Purpose: "verification", Locale: "tr-TR", Region: "DE"},
		"Arabic, payment": {App: "Acme", Purpose: "payment", Region: "EG", Params: map[string]string{"amount": "250 EGP"}},
	} {
		b.Run(name, func(b *testing.B) {
			r.Code, r.Life = "048213", 10*time.Minute
			b.ReportAllocs()
			for b.Loop() {
				if _, err := texts.Render(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
