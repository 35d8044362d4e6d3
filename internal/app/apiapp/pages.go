package apiapp

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wabek/docs/snippets"
	"wabek/internal/apps"
	"wabek/internal/console"
	"wabek/internal/otp"
)

// openConsole makes the pages and mounts them.
func (a *App) openConsole(locales []string) error {
	pages, err := console.New(console.Options{
		API: a.server.As(otp.DefaultApp), App: otp.DefaultApp, Settings: a.settings, Snippets: consoleSnippets,
		Locales: locales, Links: []console.Link{{Title: "API reference", URL: "/docs"}, {Title: "Errors", URL: "/docs/errors"}},
		URL: a.URL(), PublicURL: a.o.Config.PublicURL, SignIn: "api sign-in", NewKey: "api key create", Remote: a.server.Remote,
		Now: a.o.Now, Logger: a.o.Logger,
	})
	if err != nil {
		return err
	}
	a.server.Mount(pages.Handler(), pages.NewSignIn)
	a.signIn = pages.NewSignIn
	if a.o.Terminal {
		if _, err := fmt.Fprintf(a.o.Stdout, "\nConsole, for one browser within 15 minutes:\n\n  %s\n\n", a.signIn()); err != nil {
			return fmt.Errorf("show sign-in link: %w", err)
		}
	}
	return nil
}

// SignInLink is a link that lets one browser into the console, once, within 15 minutes.
func (a *App) SignInLink() string { return a.signIn() }

func consoleSnippets(url string) (all []console.Snippet) {
	for _, s := range snippets.All(url) {
		all = append(all, console.Snippet{Title: s.Language, Run: s.Run, Needs: s.Needs, Text: s.Text})
	}
	return all
}

// settings are those in force for the default app, and where each is from.
func (a *App) settings() []console.Group {
	app, err := a.apps.App(otp.DefaultApp)
	if err != nil { // it is always there
		return nil
	}
	own := app.Own
	one := func(name, value, unit, variable string, set bool, doc string) console.Setting {
		s := console.Setting{Name: name, Value: value, Unit: unit, Source: console.FromDefault, From: variable, Doc: doc}
		switch {
		case variable == "":
			s.Source = console.Fixed
		case set:
			s.Source, s.From = console.FromApp, "api app set default"
		case a.o.Config.Given[variable]:
			s.Source = console.FromEnvironment
		}
		return s
	}
	bound := func(n int) string { return cmp.Or(nonzero(n), "no bound") }
	rate, burst := "no bound", "no bound"
	if app.Rate > 0 {
		rate, burst = strconv.FormatFloat(app.Rate, 'f', -1, 64), strconv.Itoa(app.Burst)
	}
	countries, countriesFrom := "all", "WABEK_ALLOW_COUNTRIES"
	if a.o.Config.Given["WABEK_DENY_COUNTRIES"] && !a.o.Config.Given[countriesFrom] {
		countriesFrom = "WABEK_DENY_COUNTRIES"
	}
	if len(app.Allow) > 0 {
		countries = strings.Join(app.Allow, ", ")
	}
	if len(app.Deny) > 0 {
		countries += ", not " + strings.Join(app.Deny, ", ")
	}
	reissue := map[apps.Reissue]string{apps.Supersede: "a new code takes its place", apps.Same: "the same code is sent again"}[app.Reissue]
	return []console.Group{
		{Title: "Codes", Settings: []console.Setting{
			one("Length", strconv.Itoa(app.Policy.Length), "digits", "OTP_LENGTH", own.Length != nil, "Each digit is equally likely; zeros at the beginning count."),
			one("Expiry", duration(app.Policy.Expiry), "", "OTP_EXPIRY_MINUTES", own.ExpirySeconds != nil, "NIST SP 800-63B allows ten minutes at most."),
			one("Use", "once", "", "", false, "A right code is accepted once, however many tries race and whatever crashes."),
			one("Wrong codes", strconv.Itoa(app.Policy.MaxAttempts), "tries", "OTP_MAX_ATTEMPTS", own.Attempts != nil, "After so many the OTP is locked."),
			one("Asked again while one is open", reissue, "", "OTP_REISSUE", own.Reissue != nil, "For the same phone and purpose."),
			one("Storage", "keyed SHA-256", "", "", false, "Neither a code nor a whole number is stored or logged in the clear."),
		}},
		{Title: "Delivery", Settings: []console.Setting{
			one("Name in messages", app.Title, "", "WABEK_APP_TITLE", own.Title != nil, "Who the code is for."),
			one("Language", app.Locale, "", "WABEK_LOCALE", own.Locale != nil, "Where neither the request nor the phone's country says another."),
			one("Pool of sessions", app.Pool, "", "WABEK_POOL", own.Pool != nil, "Whose WhatsApp sessions deliver."),
			one("Longest wait", duration(a.o.Config.MaxWait), "", "WABEK_MAX_WAIT", false, "While more wait than the sessions get through in this time, the API answers 503."),
			one("Queue away", duration(a.o.Config.QueueGrace), "", "WABEK_QUEUE_GRACE", false, "How long OTPs are still taken while the queue or every session is away."),
		}},
		{Title: "Limits", Settings: []console.Setting{
			one("Pause between two messages to a phone", duration(app.Limits.Cooldown), "", "OTP_COOLDOWN_SECONDS", own.CooldownSeconds != nil, ""),
			one("Messages to a phone an hour", bound(app.Limits.PerHour), "", "OTP_MAX_PER_HOUR", own.PerHour != nil, ""),
			one("Messages to a phone a day", bound(app.Limits.PerDay), "", "OTP_MAX_PER_DAY", own.PerDay != nil, ""),
			one("Wrong codes in a row for a phone", bound(app.Limits.MaxGuesses), "", "OTP_MAX_WRONG_TRIES", own.WrongTries != nil, "Over all its OTPs; from the tenth on each is followed by a pause."),
			one("OTPs a second", rate, "", "WABEK_RATE_PER_SECOND", own.RatePerSecond != nil, "On average, of this app."),
			one("OTPs at once", burst, "", "WABEK_RATE_BURST", own.Burst != nil, "Of this app, where OTPs a second have a bound; a second's worth if nothing is set."),
			one("OTPs for an address an hour", bound(app.PerAddress), "", "WABEK_PER_ADDRESS_HOUR", own.PerAddressHour != nil, "The end user's, which requests give as ip."),
			one("Countries", countries, "", countriesFrom, own.AllowCountries != nil || own.DenyCountries != nil, "Where OTPs are sent to."),
		}},
	}
}

// duration writes a time as people do.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return "none"
	case d%time.Minute == 0 && d > time.Minute:
		return strconv.Itoa(int(d.Minutes())) + " minutes"
	case d%time.Second == 0:
		return strconv.Itoa(int(d.Seconds())) + " seconds"
	}
	return d.String()
}

// nonzero writes a count; nothing for 0.
func nonzero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
