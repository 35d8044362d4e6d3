package text

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrCode is returned for a code that isn't 1 to MaxCode digits.
var ErrCode = fmt.Errorf("the code isn't 1 to %d digits", MaxCode)

// errWritten says what can't happen, and not why: the cause might repeat values.
var errWritten = errors.New("the text couldn't be written")

// UnknownTemplateError is returned for a request that names a template that isn't there.
type UnknownTemplateError struct {
	Template string
	Known    []string // sorted
}

// Error names those that are there.
func (e *UnknownTemplateError) Error() string {
	return fmt.Sprintf("template %.64q is unknown; there are %s", e.Template, strings.Join(e.Known, ", "))
}

// MissingParamError is returned for a request without a param that its text needs.
type MissingParamError struct {
	Param    string
	Template string // the name of the text
}

// Error names the param and the text.
func (e *MissingParamError) Error() string {
	return fmt.Sprintf("param %q is missing: the text %q needs it", e.Param, e.Template)
}

// Request is what is known of a message.
type Request struct {
	App      string // the app's name as people know it; empty leaves it out
	Purpose  string
	Template string // names a text, whatever the purpose; empty goes by the purpose
	// Locale is the language the caller wants, a BCP 47 tag like tr or tr-TR. One that isn't there is as none.
	Locale        string
	Region        string // of the phone: ISO 3166-1 alpha-2, or empty
	DefaultLocale string // the app's
	Code          string // 1 to MaxCode digits
	Life          time.Duration
	Params        map[string]string
}

// Render writes a message: the code alone on its line, whatever else is in the request. Its life is told in whole
// minutes, rounded down so as not to promise too much, and at least one. Errors: those of Check, and ErrCode.
func (t *Texts) Render(r Request) (string, error) {
	if !isCodeText(r.Code) {
		return "", ErrCode
	}
	w, err := t.choose(&r)
	if err != nil {
		return "", err
	}
	d := data{
		App: w.lang.Fit(r.App, MaxApp), Purpose: w.lang.Fit(r.Purpose, MaxPurpose), Code: r.Code,
		Minutes: max(1, int(r.Life/time.Minute)), Params: w.fill(r.Params),
	}
	return w.Write(&d)
}

// Check says whether Render would write a request that has a code: a *ParamError, *UnknownTemplateError or
// *MissingParamError where it wouldn't. Code and Life don't matter.
func (t *Texts) Check(r Request) error {
	_, err := t.choose(&r)
	return err
}

// choose finds the text of a request: of the first locale that has one for the purpose, or a default one, in the order of
// what the caller wants, what is spoken in the phone's country, the app's default and English. A template by name is found
// the same way, and in whatever locale it is if in none of these.
func (t *Texts) choose(r *Request) (*Template, error) {
	if err := CheckParams(r.Params); err != nil {
		return nil, err
	}
	w := t.lookup(r)
	if w == nil {
		return nil, &UnknownTemplateError{Template: r.Template, Known: t.Templates()}
	}
	for _, p := range w.required {
		if _, ok := r.Params[p]; !ok {
			return nil, &MissingParamError{Param: p, Template: w.name}
		}
	}
	return w, nil
}

func (t *Texts) lookup(r *Request) *Template {
	name := r.Template
	if name == "" {
		name = nameOf(r.Purpose)
	}
	for step := range 4 {
		var tag string
		switch step {
		case 0:
			tag = t.locales.Find(r.Locale)
		case 1:
			tag = t.locales.Spoken(r.Region)
		case 2:
			tag = t.locales.Find(r.DefaultLocale)
		case 3:
			tag = lastLocale
		}
		if w := t.texts[tag][name]; w != nil {
			return w
		}
		if w := t.texts[tag][Default]; w != nil && r.Template == "" {
			return w
		}
	}
	for _, tag := range t.locales.tags {
		if w := t.texts[tag][name]; w != nil {
			return w
		}
	}
	return nil
}

// nameOf is the name of the text for a purpose: in lower case, with an underscore for all but letters and digits.
func nameOf(purpose string) string {
	if isName(purpose) {
		return purpose
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, purpose)
}

// fill makes the params that a text uses fit for it.
func (w *Template) fill(params map[string]string) map[string]string {
	if len(w.params) == 0 {
		return nil
	}
	out := make(map[string]string, len(w.params))
	for _, p := range w.params {
		if v := w.lang.Fit(params[p], MaxParam); v != "" {
			out[p] = v
		}
	}
	return out
}

func isCodeText(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= MaxCode
}
