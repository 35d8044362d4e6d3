// Package optout reads from what somebody writes whether they want no more notices, or want them again.
//
// In: the text of one message. Out: a wish, where the whole message is a word for it. On failure: there is none; every
// other text is no wish, also one that has such a word in a sentence.
package optout

import (
	"strings"
	"unicode"
)

// Wish is what somebody wants.
type Wish bool

// The wishes.
const (
	Stop  Wish = true  // no more notices
	Start Wish = false // notices again
)

// maxText bounds what Read looks at, in bytes: the longest word with marks on each letter fits, a letter to us doesn't.
const maxText = 256

// Read reads a message. False: it is no wish. Upper and lower case, accents, vowel marks and punctuation don't count, nor
// how many spaces there are; everything else does.
//
// Words that also mean something else to a customer of a hosting company, like "cancel", are none: whoever writes them to
// end a service mustn't lose the notices that say how that goes.
func Read(text string) (Wish, bool) {
	if len(text) > maxText {
		return Start, false
	}
	w, found := wishes[normal(text)]
	return w, found
}

// stops and starts are the words, as they are written. STOP and START are understood in every language.
const (
	stops = `
en: stop, stop all, stopall, unsubscribe, opt out, optout
tr: dur, durdur, durdurun, ret, abonelikten çık
ar: إيقاف, أوقف, توقف, قف, إلغاء الاشتراك
de: stopp, abmelden, abbestellen
es: parar, pare, alto, basta, baja, darse de baja
fr: arrêt, arrêter, arrêtez, désabonner, me désabonner, désinscription
it: ferma, fermare, basta, disiscrivi, disiscrivimi
nl: stoppen, afmelden, uitschrijven
pt: parar, pare, sair, descadastrar, cancelar inscrição
ru: стоп, остановить, отписаться, отписка, отпишите
fa: توقف, ایست, لغو, لغو اشتراک
id: berhenti, setop, stop langganan
`
	starts = `
en: start, unstop, subscribe, opt in, optin
tr: başla, başlat, devam et
ar: ابدأ, بدء, استئناف, اشتراك
de: starten, starte, fortsetzen
es: empezar, iniciar, comenzar, reanudar, alta
fr: démarrer, démarrez, commencer, reprendre, réabonner
it: inizia, iniziare, avvia, riprendi
nl: starten, hervatten
pt: iniciar, começar, retomar
ru: старт, начать, возобновить, подписаться
fa: شروع, آغاز
id: mulai, mulai lagi
`
)

// wishes holds each word as normal writes it.
//
//nolint:gochecknoglobals // made once of the two tables and never changed
var wishes = func() map[string]Wish {
	out := map[string]Wish{}
	for list, wish := range map[string]Wish{stops: Stop, starts: Start} {
		for _, word := range words(list) {
			out[normal(word)] = wish
		}
	}
	return out
}()

// words takes a table apart.
func words(list string) []string {
	var out []string
	for line := range strings.Lines(list) {
		if _, of, found := strings.Cut(line, ":"); found {
			for word := range strings.SplitSeq(of, ",") {
				out = append(out, strings.TrimSpace(word))
			}
		}
	}
	return out
}

// normal is what two ways to write the same have in common: small letters without marks, one space between words.
func normal(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == tatweel, unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
			return -1 // accents and vowels that stand apart, and what nobody sees
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			return ' '
		}
		r = unicode.ToLower(r)
		if plain, found := plainLetters[r]; found {
			return plain
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// tatweel only makes an Arabic word longer.
const tatweel = 'ـ'

// plainLetters has the letters of the tables whose marks people leave out, or which a keyboard of another language writes
// with another sign.
//
//nolint:gochecknoglobals // a table
var plainLetters = func() map[rune]rune {
	out := map[rune]rune{}
	for plain, marked := range map[rune]string{
		'a': "àáâãä", 'c': "ç", 'e': "èéêë", 'i': "ìíîïı", 'o': "òóôõö", 's': "ş", 'u': "ùúûü", 'g': "ğ", 'n': "ñ",
		'е': "ё", 'и': "й",
		'ا': "أإآٱ", 'ي': "یىئ", 'ك': "ک", 'و': "ؤ", 'ه': "ة",
	} {
		for _, r := range marked {
			out[r] = plain
		}
	}
	return out
}()
