package text

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what goes into a text, in characters (Unicode code points).
const (
	MaxApp     = 64  // of an app's name; what is longer is cut
	MaxPurpose = 64  // of a purpose; what is longer is cut
	MaxParams  = 20  // how many params a request may have
	MaxParam   = 256 // of a param's value
	MaxCode    = 32  // of a code
)

// ParamError says which param of a request is wrong.
type ParamError struct {
	Param   string // empty where it is the number of params
	Problem string // like: is longer than 256 characters; it never repeats the value
}

// Error names the param and says what is wrong.
func (e *ParamError) Error() string {
	if e.Param == "" {
		return "params: " + e.Problem
	}
	return fmt.Sprintf("param %.40q %s", e.Param, e.Problem)
}

// CheckParams says what is wrong with the params of a request, as a *ParamError: at most MaxParams of them, each called
// [a-z][a-z0-9_]{0,31}, each value at most MaxParam characters of UTF-8 without control characters, line breaks and
// characters that change the direction of what stands around them (UAX #9's embeddings, overrides and isolates).
func CheckParams(params map[string]string) error {
	if len(params) > MaxParams {
		return &ParamError{Problem: fmt.Sprintf("there are more than %d", MaxParams)}
	}
	if len(params) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		problem := ""
		switch value := params[name]; {
		case !isParamName(name):
			problem = "must be called by a letter of a-z, then up to 31 of a-z, 0-9 and underscore"
		case !utf8.ValidString(value):
			problem = "is not UTF-8"
		case utf8.RuneCountInString(value) > MaxParam:
			problem = fmt.Sprintf("is longer than %d characters", MaxParam)
		case strings.ContainsFunc(value, breaks):
			problem = "has a control character or a line break in it"
		case strings.ContainsFunc(value, redirects):
			problem = "has a character in it that changes the direction of writing"
		}
		if problem != "" {
			return &ParamError{Param: name, Problem: problem}
		}
	}
	return nil
}

func isParamName(s string) bool {
	const longest = 32
	return s != "" && len(s) <= longest && s[0] >= 'a' && s[0] <= 'z' && isName(s)
}

// isName says that there are only a-z, 0-9 and underscore.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// breaks says whether a character ends a line, or isn't one to be seen at all.
func breaks(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// redirects says whether a character is an embedding, override or isolate of UAX #9.
func redirects(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }

// The isolate that takes its direction from what is in it, and its end (UAX #9 section 2.4).
const (
	isolate    = "\u2068"
	endIsolate = "\u2069"
)

// Fit makes a value safe to stand in a line of a text: it stays in that line, WhatsApp reads no formatting into it, and
// the words around it keep their order. What has to go for that looks the same afterwards, or nearly so. What is longer
// than so many characters is cut.
func (l Language) Fit(s string, longest int) string {
	if s == "" {
		return ""
	}
	s = inLine(s, longest)
	if s != "" && (l.rightToLeft || strings.ContainsFunc(s, writtenFromRight)) {
		return isolate + s + endIsolate
	}
	return s
}

// inLine is Fit without the isolate.
func inLine(s string, longest int) string {
	if harmless(s, longest) {
		return s
	}
	line := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case redirects(r):
			continue
		case breaks(r):
			r = ' '
		}
		line = append(line, r)
	}
	line = []rune(strings.TrimSpace(string(line)))
	if len(line) > longest {
		line = line[:longest]
	}
	for i, r := range line {
		switch {
		case r == '*':
			line[i] = '\u2217' // asterisk operator
		case r == '~':
			line[i] = '\u223c' // tilde operator
		case r == '`':
			line[i] = '\u2018' // left single quotation mark
		case r == '_' && (!inWord(line, i-1) || !inWord(line, i+1)):
			line[i] = '\uff3f' // fullwidth low line
		// At the beginning of a line these make a list and a quotation.
		case i == 0 && r == '-' && len(line) > 1 && line[1] == ' ':
			line[i] = '\u2010' // hyphen
		case i == 0 && r == '>':
			line[i] = '\u203a' // single angle quotation mark
		}
	}
	return string(line)
}

// harmless says that inLine has nothing to do, for the values that most are.
func harmless(s string, longest int) bool {
	if len(s) > longest || s[0] == '-' || s[0] == '>' || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '}' || c == '*' || c == '_' || c == '`' {
			return false
		}
	}
	return true
}

// inWord says whether there is a letter or digit. WhatsApp reads nothing into an underscore between two, as in john_doe.
func inWord(line []rune, i int) bool {
	return i >= 0 && i < len(line) && (unicode.IsLetter(line[i]) || unicode.IsDigit(line[i]))
}

// writtenFromRight says whether a character is of a script that is written from right to left, by the blocks whose
// characters are so by default (Unicode's DerivedBidiClass).
func writtenFromRight(r rune) bool {
	return r >= 0x0590 && r <= 0x08ff || r == 0x200f || r >= 0xfb1d && r <= 0xfdff || r >= 0xfe70 && r <= 0xfefe ||
		r >= 0x10800 && r <= 0x10fff || r >= 0x1e800 && r <= 0x1efff
}
