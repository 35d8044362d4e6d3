package notice

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"wabek/internal/text"
)

// Bounds of values in characters. What is longer is cut, but for a link, a domain and an address, which are left out: a
// part of one is another.
const (
	maxCompany = 64
	maxName    = 40
	maxNumber  = 40
	maxSubject = 120
	maxProduct = 80
	maxDomain  = 100
	maxLink    = 400
	maxTime    = 40
	maxIP      = 45
	maxStop    = 16
	maxDays    = 5 // digits
)

// fill makes values fit for a text of a locale.
func fill(f *Fields, tag string, lang text.Language) *fields {
	line := func(s string, longest int) string { return lang.Fit(cut(noLinks(oneLine(s)), longest), longest) }
	return &fields{
		Company: lang.Fit(cut(oneLine(f.Company), maxCompany), maxCompany), Name: line(firstName(f.Name), maxName), Invoice: line(f.Invoice, maxNumber),
		Total: line(f.Total, maxNumber), Due: lang.Fit(f.Due.in(tag), maxTime), Link: link(f.Link), Subject: line(f.Subject, maxSubject),
		Ticket: line(f.Ticket, maxNumber), Product: line(f.Product, maxProduct), Domain: lang.Fit(domain(f.Domain), maxDomain),
		Days: days(f.Days), Time: lang.Fit(moment(f.Time, tag), maxTime), IP: lang.Fit(address(f.IP), maxIP), Stop: lang.Fit(stopWord(tag), maxStop),
	}
}

// oneLine makes a value one line of what is to be seen.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(visible, strings.Join(strings.FieldsFunc(s, parts), " ")))
}

func parts(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// noLinks takes from a line what a phone might show as a link: WhatsApp makes one of whatever looks like an address, and a
// client could have chosen a "name" that sends others there. The characters that have to go for that are replaced by some
// that look alike.
func noLinks(s string) string {
	line, out := []rune(s), []rune(s)
	for i, r := range line {
		switch {
		case strings.ContainsRune(dots, r) && i+1 < len(line) && line[i+1] != ' ' && !inNumber(line, i):
			out[i] = '\u2024' // one dot leader
		case r == '/' && i > 0 && line[i-1] == '/':
			out[i] = '\u2215' // division slash
		case r == ':' && i+1 < len(line) && line[i+1] != ' ' && !isDigit(line[i+1]): // 14:30 stays
			out[i] = '\u2236' // ratio
		case r == '@':
			out[i] = '\uff20' // fullwidth commercial at
		}
	}
	return string(out)
}

// dots are the characters that part the labels of a domain (UTS #46).
const dots = ".\u3002\uff0e\uff61"

// visible drops characters that aren't to be seen, among them those that change the direction of writing. Those that join
// letters or not are part of how Persian is written and emoji are made.
func visible(r rune) rune {
	if unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' || r == '\u034f' || r == '\u3164' || r == '\uffa0' {
		return -1
	}
	return r
}

// cut shortens what is too long, and shows that.
func cut(s string, longest int) string {
	if utf8.RuneCountInString(s) <= longest {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:longest-1])) + "…"
}

// inNumber says whether a dot belongs to a number, which may have a few of them; what has three may be an IP address.
func inNumber(line []rune, i int) bool {
	digit := func(i int) bool { return i >= 0 && i < len(line) && line[i] >= '0' && line[i] <= '9' }
	if !digit(i-1) || !digit(i+1) {
		return false
	}
	from, to, count := i, i, 0
	for from > 0 && (digit(from-1) || line[from-1] == '.') {
		from--
	}
	for to+1 < len(line) && (digit(to+1) || line[to+1] == '.') {
		to++
	}
	for _, r := range line[from : to+1] {
		if r == '.' {
			count++
		}
	}
	return line[i] == '.' && count < 3
}

// firstName leaves out a first name that is none: nobody is called by a number or an address.
func firstName(s string) string {
	const tooMany = 5
	digits := 0
	for _, r := range s {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	if digits >= tooMany || strings.ContainsAny(s, "@/:\\") {
		return ""
	}
	for word := range strings.FieldsSeq(oneLine(s)) {
		word = strings.Map(func(r rune) rune {
			if strings.ContainsRune(dots, r) {
				return '.'
			}
			return r
		}, word)
		if domain(strings.TrimFunc(word, unicode.IsPunct)) != "" {
			return ""
		}
	}
	return s
}

// domain is a domain's name as it is, or empty where it isn't one. Those of other scripts are.
func domain(s string) string {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	if utf8.RuneCountInString(s) > maxDomain || !strings.Contains(s, ".") {
		return ""
	}
	label := ""
	for label = range strings.SplitSeq(s, ".") {
		strange := strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
		})
		if strange || label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return ""
		}
	}
	if last := []rune(label); len(last) < 2 || !unicode.IsLetter(last[0]) {
		return ""
	}
	return s
}

// address is an IP address as it is usually written, or empty where it isn't one.
func address(s string) string {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil || a.Zone() != "" {
		return ""
	}
	return a.Unmap().String()
}

// link is a URL that can stand in a text for itself, or empty where it can't be trusted to be one. What WhatsApp would read
// as formatting, or not as a part of it, is percent-encoded, which means the same.
func link(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || len(s) > 2*maxLink || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || !isHost(u.Hostname()) {
		return ""
	}
	u.Host = strings.ToLower(u.Host)
	origin := u.Scheme + "://" + u.Host
	whole := u.String()
	rest, ok := strings.CutPrefix(whole, origin)
	if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' && rest[0] != '#' {
		return ""
	}
	if s = origin + encode(rest); len(s) > maxLink {
		return ""
	}
	return s
}

// isHost says whether there is only what a host's name has in ASCII, or an IP address.
func isHost(s string) bool {
	if address(s) != "" {
		return true
	}
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return s != "" && s[0] != '.' && s[0] != '-'
}

// encode percent-encodes what isn't to be in a text as it is. What is encoded already stays so.
func encode(s string) string {
	const kept, hex = "-.:/?#@!$&+,;=", "0123456789ABCDEF"
	word := func(i int) bool { return i >= 0 && i < len(s) && (isUpper(s[i]) || isLowerOrDigit(s[i])) }
	var b strings.Builder
	for i := range len(s) {
		c, last := s[i], i == len(s)-1
		switch {
		case word(i), c == '_' && word(i-1) && word(i+1), c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]),
			strings.IndexByte(kept, c) >= 0 && (!last || c == '/' || c == '='): // phones leave out what can end a sentence
			b.WriteByte(c)
		default:
			b.WriteString("%" + hex[c>>4:c>>4+1] + hex[c&15:c&15+1])
		}
	}
	return b.String()
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// days is a number of days to come, or 0.
func days(n int) int {
	const most = 99_999
	if n < 0 || n > most {
		return 0
	}
	return n
}

// stopWord is what a client answers to get no more notices, in the language of a locale; STOP is understood in each.
func stopWord(tag string) string {
	switch base(tag) {
	case "ar":
		return "إيقاف"
	case "de":
		return "STOPP"
	case "tr":
		return "DUR"
	}
	return "STOP"
}

func base(tag string) string {
	b, _, _ := strings.Cut(tag, "-")
	return b
}
