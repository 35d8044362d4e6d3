package optout

import "testing"

// A word that meant both would mean whichever came last.
func TestWords_MeanOneThing(t *testing.T) {
	t.Parallel()
	for _, word := range words(starts) {
		for _, stop := range words(stops) {
			if normal(word) == normal(stop) {
				t.Errorf("%s means both", word)
			}
		}
	}
	for _, word := range append(words(stops), words(starts)...) {
		if _, found := Read(word); !found || normal(word) == "" {
			t.Errorf("%s isn't read", word)
		}
	}
}
