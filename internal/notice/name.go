package notice

import "strings"

// A text's file is called like its action, with an underscore before each capital: InvoicePaymentReminder is
// invoice_payment_reminder. One for a single type has that behind a dot: invoice_payment_reminder.first.
const (
	typeMark = "."
	nameRule = "an action of WHMCS in small letters, like invoice_created.txt for InvoiceCreated, and may have a type, like " +
		"invoice_payment_reminder.first.txt"
)

// isName says whether a text may be called so: no two actions share a name, and each name is one action's.
func isName(s string) bool {
	base, typ, typed := strings.Cut(s, typeMark)
	if typed && (typ == "" || typeOf(typ) != typ) {
		return false
	}
	for word := range strings.SplitSeq(base, "_") {
		if word == "" || word[0] < 'a' || word[0] > 'z' || typeOf(word) != word {
			return false
		}
	}
	return true
}

// nameOf is the name of an action's texts, and empty for what can't be an action.
func nameOf(action string) string {
	var b strings.Builder
	for i := range len(action) {
		switch c := action[i]; {
		case isUpper(c):
			if i > 0 {
				b.WriteByte('_')
			}
			b.WriteByte(c + ('a' - 'A'))
		case i > 0 && isLowerOrDigit(c):
			b.WriteByte(c)
		default:
			return ""
		}
	}
	return b.String()
}

// actionOf undoes nameOf.
func actionOf(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// typeOf is how the name of a text spells a type: small letters and digits. What else is in it doesn't count.
func typeOf(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}

func isUpper(c byte) bool        { return c >= 'A' && c <= 'Z' }
func isLowerOrDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
