package notice

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Day is a day of the calendar, wherever one is. The zero Day is none.
type Day struct {
	Year  int
	Month time.Month
	Day   int
}

// IsZero says that it is none.
func (d Day) IsZero() bool { return d == Day{} }

// String is the day by ISO 8601: 2026-12-01.
func (d Day) String() string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)
}

// Date reads a date of WHMCS, "2026-12-01", behind which there may be a time. "0000-00-00", which stands for none there, and
// what isn't a date are none.
func Date(s string) (Day, bool) {
	s, _, _ = strings.Cut(strings.TrimSpace(s), " ")
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return Day{}, false
	}
	return dayOf(t), true
}

func dayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Day{y, m, d}
}

// in writes a day as the readers of a locale do, with the month in letters where they are known, so that nobody takes it for
// the day.
func (d Day) in(tag string) string {
	if d.IsZero() || d.Month < time.January || d.Month > time.December {
		return ""
	}
	names, form := months(base(tag))
	if names == "" {
		return d.String()
	}
	return fmt.Sprintf(form, d.Day, strings.Fields(names)[d.Month-1], d.Year)
}

// months is the names of the months in a language (Unicode CLDR), and how a date is made of day, month and year.
func months(base string) (names, form string) {
	const plain = "%d %s %d"
	switch base {
	case "ar":
		return "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر", plain
	case "de":
		return "Januar Februar März April Mai Juni Juli August September Oktober November Dezember", "%d. %s %d"
	case "en":
		return "January February March April May June July August September October November December", plain
	case "tr":
		return "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık", plain
	}
	return "", ""
}

// moment writes a time with its offset from UTC, as who reads it may be elsewhere.
func moment(t time.Time, tag string) string {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	comma := ", "
	if base(tag) == "ar" {
		comma = "، "
	}
	zone := "UTC"
	if _, offset := t.Zone(); offset != 0 {
		sign, minutes := "+", offset/60
		if minutes < 0 {
			sign, minutes = "-", -minutes
		}
		zone += sign + strconv.Itoa(minutes/60)
		if minutes %= 60; minutes != 0 {
			zone += fmt.Sprintf(":%02d", minutes)
		}
	}
	return dayOf(t).in(tag) + comma + t.Format("15:04") + " " + zone
}

// Money writes an amount as WHMCS gives it with the code of its currency: "120.00" and "USD" are "120.00 USD". The digits and
// what parts them stay as they are. An amount may bring its currency itself, as "$120.00 USD" does. Empty for what isn't an
// amount, or one of no currency.
func Money(amount, currency string) string {
	const longest, affix = 24, 6
	amount = strings.TrimSpace(amount)
	from, to := strings.IndexFunc(amount, isDigit), strings.LastIndexFunc(amount, isDigit)
	if from < 0 || !utf8.ValidString(amount) {
		return ""
	}
	before, number, after := amount[:from], amount[from:to+1], strings.TrimSpace(amount[to+1:])
	minus := strings.HasPrefix(before, "-") || strings.HasSuffix(before, "-")
	before = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(before, "-"), "-"))
	if !isNumber(number) || len(number) > longest || !isCurrency(before, affix) || !isCurrency(after, affix) {
		return ""
	}
	if minus {
		number = "-" + number
	}
	code := strings.ToUpper(strings.TrimSpace(currency))
	switch {
	case isCode(after):
		return number + " " + after
	case isCode(code):
		return number + " " + code
	case after != "":
		return number + " " + after
	case before != "":
		return before + " " + number
	}
	return ""
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

// isNumber says whether what begins and ends with a digit has nothing else but single signs that part its digits.
func isNumber(s string) bool {
	parted := false
	for _, r := range s {
		sign := strings.ContainsRune(".,' \u00a0\u202f", r)
		if !sign && !isDigit(r) || sign && parted {
			return false
		}
		parted = sign
	}
	return true
}

// isCode says whether a currency may be called so in WHMCS: three letters, or a few more or less.
func isCode(s string) bool {
	const shortest, longest = 2, 5
	return len(s) >= shortest && len(s) <= longest && !strings.ContainsFunc(s, func(r rune) bool { return r < 'A' || r > 'Z' })
}

// isCurrency says whether something may stand beside an amount: a currency's sign or abbreviation, or nothing.
func isCurrency(s string, longest int) bool {
	return utf8.RuneCountInString(s) <= longest && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.Is(unicode.Sc, r) && r != '.'
	})
}

// Language is the BCP 47 tag of a language as WHMCS calls it, "turkish", by the files of its folder lang and some that are
// widely added to it. Empty for one that isn't known.
func Language(whmcs string) string {
	name := strings.ToLower(strings.TrimSpace(whmcs))
	for row := range strings.FieldsSeq(languages) {
		if l, tag, _ := strings.Cut(row, "="); l == name {
			return tag
		}
	}
	return ""
}

// languages are those of WHMCS (its Chinese is that of Taiwan), and below those that others add.
//
//nolint:misspell // WHMCS calls Ukrainian so
const languages = `
	arabic=ar azerbaijani=az catalan=ca chinese=zh-TW croatian=hr czech=cs danish=da dutch=nl english=en estonian=et farsi=fa
	french=fr german=de hebrew=he hungarian=hu italian=it macedonian=mk norwegian=nb portuguese-br=pt-BR portuguese-pt=pt-PT
	romanian=ro russian=ru spanish=es swedish=sv turkish=tr ukranian=uk

	albanian=sq bengali=bn bosnian=bs bulgarian=bg chinese-cn=zh-CN chinese-tw=zh-TW finnish=fi georgian=ka greek=el hindi=hi
	indonesian=id indonesia=id japanese=ja korean=ko kurdish=ku latvian=lv lithuanian=lt malay=ms persian=fa polish=pl
	portuguese=pt serbian=sr slovak=sk slovenian=sl thai=th ukrainian=uk urdu=ur vietnamese=vi
`
