// Package apps knows who may ask wabek for something: apps, their API keys, and what each app may do.
//
// In: the settings of the default app, stored apps and keys, the key of a request. Out: the app and its settings in
// force, or a refusal. On failure: a typed error that says what was wrong; a key's secret is in none.
package apps

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// Errors of this package.
var (
	ErrNoApp     = errors.New("no such app")
	ErrNoKey     = errors.New("no such API key")
	ErrExists    = errors.New("there is one of that name already")
	ErrMalformed = errors.New("malformed")
	ErrDefault   = errors.New("the default app can't be deleted")
)

// Why a request's key doesn't let it in.
var (
	ErrWrongKey     = errors.New("the API key is wrong or was revoked")
	ErrKeyExpired   = errors.New("the API key has expired")
	ErrWrongNetwork = errors.New("the API key may not be used from this address")
)

// Reissue says what a request does while an OTP of the same app, phone and purpose is open.
type Reissue string

// The ways of reissuing.
const (
	Supersede Reissue = "supersede" // a new code takes the place of the open one
	Same      Reissue = "same"      // the open code is sent again, so that a stranger can't kill the code in a victim's hand
)

// Settings are what an app can have of its own. What is unset is the default app's, whose own come from the
// configuration. Times are whole seconds.
type Settings struct {
	Title           *string            `json:"title,omitempty"`           // the name that messages give, at most 40 characters
	Pool            *string            `json:"pool,omitempty"`            // whose sessions deliver
	Length          *int               `json:"length,omitempty"`          // digits of a code
	ExpirySeconds   *int               `json:"expirySeconds,omitempty"`   // life of an OTP
	Attempts        *int               `json:"attempts,omitempty"`        // wrong codes after which an OTP is locked
	Reissue         *Reissue           `json:"reissue,omitempty"`         // supersede or same
	CooldownSeconds *int               `json:"cooldownSeconds,omitempty"` // between two messages to a phone; 0 for none
	PerHour         *int               `json:"perHour,omitempty"`         // messages to a phone within an hour; 0 for no bound
	PerDay          *int               `json:"perDay,omitempty"`          // messages to a phone within 24 hours; 0 for no bound
	WrongTries      *int               `json:"wrongTries,omitempty"`      // wrong codes in a row for a phone, over all OTPs; 0 for no bound
	RatePerSecond   *float64           `json:"ratePerSecond,omitempty"`   // OTPs of the app a second, on average; 0 for no bound
	Burst           *int               `json:"burst,omitempty"`           // OTPs of the app at once
	PerAddressHour  *int               `json:"perAddressHour,omitempty"`  // OTPs for one address of an end user within an hour; 0 for no bound
	AllowCountries  *[]string          `json:"allowCountries,omitempty"`  // ISO 3166-1 alpha-2; empty for all
	DenyCountries   *[]string          `json:"denyCountries,omitempty"`   // goes before those allowed
	Country         *string            `json:"country,omitempty"`         // whose numbers may come without a country code; empty for none
	Locale          *string            `json:"locale,omitempty"`          // of messages where nothing else says it, BCP 47
	CustomCodes     *bool              `json:"customCodes,omitempty"`     // the app may bring codes of its own
	TestNumbers     *map[string]string `json:"testNumbers,omitempty"`     // keyed hash of a number, in hex, to its fixed code; see Registry.SetTestNumber
	NoticesPaused   *bool              `json:"noticesPaused,omitempty"`   // events of its WHMCS wait
	CallbackURL     *string            `json:"callbackUrl,omitempty"`     // where state changes are posted; empty for nowhere
}

// App is an app with its settings in force.
type App struct {
	Name        string // 1 to 32 of a-z, 0-9 and dash
	Title       string
	Pool        string
	Policy      otp.Policy
	Reissue     Reissue
	Limits      otp.Limits
	Rate        float64 // a second; 0 for no bound
	Burst       int
	PerAddress  int // within an hour
	Allow, Deny []string
	Country     string
	Locale      string
	CustomCodes bool
	// NoticesPaused says that the events of the app's WHMCS wait. What was released before goes out.
	NoticesPaused bool
	TestNumbers   map[string]string
	CallbackURL   string
	Callback      CallbackKeys
	Own           Settings // what of it is set for the app itself
}

// CallbackKeys say which secrets an app's callbacks are signed with: they are derived from these salts, which aren't
// secret themselves.
type CallbackKeys struct {
	Salt     string    `json:"salt,omitempty"`     // of the current one
	Previous string    `json:"previous,omitempty"` // of the one before, which signs too
	Until    time.Time `json:"until,omitzero"`     // until then
}

// CallbackOverlap is how long the secret before signs beside a new one.
const CallbackOverlap = 24 * time.Hour

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	localePattern = regexp.MustCompile(`^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$`)
	codePattern   = regexp.MustCompile(`^[0-9]{6,10}$`)
)

// Bounds of settings.
const (
	longestTitle   = 40
	fastestRate    = 100_000
	mostTest       = 100
	mostPerAddress = 100_000
)

// MergedWith is the settings with those of over in the place of its own, where over has any.
func (s Settings) MergedWith(over Settings) Settings {
	pick(&s.Title, over.Title)
	pick(&s.Pool, over.Pool)
	pick(&s.Length, over.Length)
	pick(&s.ExpirySeconds, over.ExpirySeconds)
	pick(&s.Attempts, over.Attempts)
	pick(&s.Reissue, over.Reissue)
	pick(&s.CooldownSeconds, over.CooldownSeconds)
	pick(&s.PerHour, over.PerHour)
	pick(&s.PerDay, over.PerDay)
	pick(&s.WrongTries, over.WrongTries)
	pick(&s.RatePerSecond, over.RatePerSecond)
	pick(&s.Burst, over.Burst)
	pick(&s.PerAddressHour, over.PerAddressHour)
	pick(&s.AllowCountries, over.AllowCountries)
	pick(&s.DenyCountries, over.DenyCountries)
	pick(&s.Country, over.Country)
	pick(&s.Locale, over.Locale)
	pick(&s.CustomCodes, over.CustomCodes)
	pick(&s.TestNumbers, over.TestNumbers)
	pick(&s.NoticesPaused, over.NoticesPaused)
	pick(&s.CallbackURL, over.CallbackURL)
	return s
}

func pick[T any](to **T, over *T) {
	if over != nil {
		*to = over
	}
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// newApp puts settings in force. own are those that the app has itself; base are the default app's, where it isn't that.
// A callback belongs to one app, as test numbers do: they aren't inherited.
func newApp(name string, base, own Settings) (*App, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	base.CallbackURL, base.TestNumbers = nil, nil
	s := base.MergedWith(own)
	a := &App{
		Name: name, Title: value(s.Title), Pool: value(s.Pool), Reissue: value(s.Reissue),
		Policy: otp.Policy{Length: value(s.Length), Expiry: seconds(s.ExpirySeconds), MaxAttempts: value(s.Attempts)},
		Limits: otp.Limits{Cooldown: seconds(s.CooldownSeconds), PerHour: value(s.PerHour), PerDay: value(s.PerDay), MaxGuesses: value(s.WrongTries)},
		Rate:   value(s.RatePerSecond), Burst: value(s.Burst), PerAddress: value(s.PerAddressHour),
		Allow: slices.Clone(value(s.AllowCountries)), Deny: slices.Clone(value(s.DenyCountries)), Country: value(s.Country), Locale: value(s.Locale),
		CustomCodes: value(s.CustomCodes), NoticesPaused: value(s.NoticesPaused), TestNumbers: maps.Clone(value(s.TestNumbers)), CallbackURL: value(s.CallbackURL),
		Own: own,
	}
	if a.Rate > 0 && a.Burst == 0 {
		a.Burst = max(1, int(a.Rate))
	}
	return a, a.check()
}

// CheckName checks the name of an app: 1 to 32 of a-z, 0-9 and dash. The error wraps ErrMalformed.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%w: an app is named with 1 to 32 of a-z, 0-9 and dash", ErrMalformed)
	}
	return nil
}

func seconds(n *int) time.Duration { return time.Duration(value(n)) * time.Second }

// check names the first setting that is wrong.
func (a *App) check() error {
	wrong := func(field, format string, args ...any) error {
		return &SettingError{Field: field, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case a.Title == "" || len([]rune(a.Title)) > longestTitle || strings.ContainsFunc(a.Title, func(r rune) bool { return r < ' ' }):
		return wrong("title", "title must be 1 to %d characters on one line", longestTitle)
	case job.CheckPool(a.Pool) != nil:
		return wrong("pool", "pool must be 1 to 32 of a-z, 0-9 and dash")
	case a.Reissue != Supersede && a.Reissue != Same:
		return wrong("reissue", "reissue must be supersede or same")
	case a.Policy.Length < otp.MinLength || a.Policy.Length > otp.MaxLength:
		return wrong("length", "length must be %d to %d digits", otp.MinLength, otp.MaxLength)
	case a.Policy.Expiry < otp.MinExpiry || a.Policy.Expiry > otp.MaxExpiry:
		return wrong("expirySeconds", "expirySeconds must be %d to %d", int(otp.MinExpiry.Seconds()), int(otp.MaxExpiry.Seconds()))
	case a.Policy.Validate() != nil:
		return wrong("attempts", "attempts must be %d to %d", otp.MinAttempts, otp.MaxAttempts)
	case a.Limits.Cooldown < 0 || a.Limits.Cooldown > otp.MaxCooldown:
		return wrong("cooldownSeconds", "cooldownSeconds must be 0 to %d", int(otp.MaxCooldown.Seconds()))
	case a.Limits.PerHour < 0 || a.Limits.PerHour > otp.MaxPerDay:
		return wrong("perHour", "perHour must be 0 to %d", otp.MaxPerDay)
	case a.Limits.PerDay < 0 || a.Limits.PerDay > otp.MaxPerDay:
		return wrong("perDay", "perDay must be 0 to %d", otp.MaxPerDay)
	case a.Limits.Validate() != nil:
		return wrong("wrongTries", "wrongTries must be 0 to %d", otp.MostGuesses)
	case a.Rate < 0 || a.Rate > fastestRate:
		return wrong("ratePerSecond", "ratePerSecond must be 0 to %d", fastestRate)
	case a.Burst < 0 || a.Burst > fastestRate:
		return wrong("burst", "burst must be 0 to %d", fastestRate)
	case a.PerAddress < 0 || a.PerAddress > mostPerAddress:
		return wrong("perAddressHour", "perAddressHour must be 0 to %d", mostPerAddress)
	case !all(a.Allow, phone.IsRegion):
		return wrong("allowCountries", "allowCountries must be two-letter codes of ISO 3166-1 that have telephone numbers, like TR or GB")
	case !all(a.Deny, phone.IsRegion):
		return wrong("denyCountries", "denyCountries must be two-letter codes of ISO 3166-1 that have telephone numbers, like TR or GB")
	case a.Country != "" && !phone.IsRegion(a.Country):
		return wrong("country", "country must be a two-letter code of ISO 3166-1 that has telephone numbers, like TR or GB")
	case a.Locale != "" && !localePattern.MatchString(a.Locale):
		return wrong("locale", "locale must be a language tag, like tr or pt-BR")
	case len(a.TestNumbers) > mostTest:
		return wrong("testNumbers", "testNumbers: an app may have %d", mostTest)
	case !all(slices.Collect(maps.Values(a.TestNumbers)), codePattern.MatchString):
		return wrong("testNumbers", "testNumbers: a code must be 6 to 10 digits")
	}
	return nil
}

func all(texts []string, good func(string) bool) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return !good(s) })
}

// SettingError says which setting is wrong, and what it must look like.
type SettingError struct {
	Field string // as in the JSON of Settings
	Text  string
}

// Error is the text.
func (e *SettingError) Error() string { return e.Text }

// Unwrap is ErrMalformed.
func (e *SettingError) Unwrap() error { return ErrMalformed }
