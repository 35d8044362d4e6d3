package optout_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"wabek/internal/notice"
	"wabek/internal/optout"
)

func TestRead_TheWholeMessageIsTheWord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]optout.Wish{
		"STOP": optout.Stop, "stop": optout.Stop, " Stop.\n": optout.Stop, "»STOP!«": optout.Stop, "*STOP*": optout.Stop, "Stop 🙏🏽": optout.Stop,
		"Opt-out": optout.Stop, "STOP  ALL": optout.Stop, "\u200eSTOP\u200f": optout.Stop, "STOP️": optout.Stop,
		"START": optout.Start, "Start!": optout.Start, "unstop": optout.Start,
		"DUR": optout.Stop, "dur.": optout.Stop, "BAŞLA": optout.Start, "basla": optout.Start, "Bas\u0327la": optout.Start,
		"ABONELİKTEN ÇIK": optout.Stop, "abonelıkten cik": optout.Stop, "ABONELIKTEN CIK": optout.Stop,
		"إيقاف": optout.Stop, "ايقاف": optout.Stop, "إِيقَاف": optout.Stop, "إيقـــاف": optout.Stop, "إيقاف،": optout.Stop, "ایقاف": optout.Stop,
		"ابدأ": optout.Start, "إلغاء الإشتراك": optout.Stop,
		"Stopp": optout.Stop, "abmelden": optout.Stop, "Starten": optout.Start,
		"BAJA": optout.Stop, "Alta": optout.Start, "¡Alto!": optout.Stop,
		"ARRÊT": optout.Stop, "arret": optout.Stop, "ARRE\u0302T": optout.Stop, "Démarrer": optout.Start,
		"Basta": optout.Stop, "inizia": optout.Start, "Afmelden": optout.Stop, "hervatten": optout.Start,
		"SAIR": optout.Stop, "Começar": optout.Start, "comecar": optout.Start,
		"СТОП": optout.Stop, "стоп!!!": optout.Stop, "Старт": optout.Start,
		"لغو": optout.Stop, "توقف": optout.Stop, "شروع": optout.Start,
		"Berhenti": optout.Stop, "MULAI": optout.Start,
	} {
		wish, found := optout.Read(text)
		require.True(t, found, "%q", text)
		require.Equal(t, want, wish, "%q", text)
	}
}

func TestRead_NothingElseIsAWish(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "!", "👍", "Please stop the server", "stop it", "Don't stop", "non-stop", "STOP START", "stops", "nonstop", "start now",
		"When does it start?", "Kapıda dur", "durum", "Das Stoppschild", "لا توقف", "не стоп", "yes", "no", "cancel", "İptal", "STOP1", "1",
		"S T O P", strings.Repeat(" ", 1000) + "STOP", "\xffSTOP\xff1",
	} {
		_, found := optout.Read(text)
		require.False(t, found, "%q", text)
	}
}

// What a notice tells its reader to answer is understood, whatever language it is in.
func TestRead_KnowsWhatNoticesAskFor(t *testing.T) {
	t.Parallel()
	texts, err := notice.Load("")
	require.NoError(t, err)
	require.Contains(t, texts.Locales(), "ar")
	for _, locale := range texts.Locales() {
		for _, action := range texts.Actions() {
			text, err := texts.Render(notice.Request{Action: action, Locale: locale, Fields: notice.Fields{Company: "Yılmaz"}})
			require.NoError(t, err)
			named := 0
			for _, word := range strings.FieldsFunc(lastLine(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
				if wish, found := optout.Read(word); found {
					require.Equal(t, optout.Stop, wish, "%s of %s", word, locale)
					named++
				}
			}
			require.Equal(t, 1, named, "%s of %s names no word that is understood: %s", action, locale, text)
		}
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// A text is read in one way alone: neither case nor what stands around it changes the wish, and none comes of a longer one.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"STOP", "Başlat", "إيقاف", "i̇ptal", "стоп", "don't stop", "\xff", "𝐒𝐓𝐎𝐏"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		wish, found := optout.Read(text)
		if !utf8.ValidString(text) || len(text) > 100 {
			return
		}
		again, foundAgain := optout.Read(" «" + text + "»! ")
		require.Equal(t, found, foundAgain)
		require.Equal(t, wish, again)
		if found {
			upper, foundUpper := optout.Read(strings.ToUpper(text))
			require.True(t, foundUpper)
			require.Equal(t, wish, upper)
			_, sentence := optout.Read("please " + text)
			require.False(t, sentence)
		}
	})
}
