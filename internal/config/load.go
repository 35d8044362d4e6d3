package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"wabek/internal/job"
	"wabek/internal/keys"
)

// VariableError is one setting that can't be used.
type VariableError struct {
	Variable string
	Text     string // what is wrong with it and how to mend it, without the value where that is secret
}

// Error is the variable and what is wrong with it.
func (p *VariableError) Error() string { return p.Variable + " " + p.Text }

// LoadAPI reads the settings of cmd/api from an environment as os.Environ gives it. The error joins a
// *VariableError for each setting that can't be used.
func LoadAPI(environ []string) (API, []Warning, error) {
	var a API
	l := load(environ, &a)
	_, a.DataDirSet = l.given["WABEK_DATA_DIR"]
	a.Given = make(map[string]bool, len(l.given))
	for name := range l.given {
		a.Given[name] = true
	}
	if _, set := l.given["WABEK_ADDR"]; !set && a.Port != "" {
		a.Addr = ":" + a.Port
		if !isPort(a.Port) {
			l.problem("PORT", "%s is not a port; write a number of 0 to 65535, or set WABEK_ADDR", shown(a.Port))
		}
	} else {
		l.check("WABEK_ADDR", checkAddr(a.Addr))
	}
	l.check("WABEK_POOL", checkPool(a.Pool))
	l.check("WABEK_PUBLIC_URL", checkPublicURL(a.PublicURL))
	l.checkWhatsApp(a.WhatsApp)
	if _, set := l.given["WABEK_SECRET"]; !set && !a.NATSURL.IsZero() {
		l.problem("WABEK_SECRET", "is missing: with WABEK_NATS_URL every program needs the same secret of %d or more characters; 'openssl rand -base64 48' makes one", keys.MinSecret)
	}
	if a.OTPExpiryMinutes > 10 {
		l.warn("OTP_EXPIRY_MINUTES", "is above the 10 minutes that NIST SP 800-63B allows for a code sent to a phone; a shorter life is safer")
	}
	return a, l.warnings, l.err()
}

// LoadSender reads the settings of cmd/sender. The error is as that of LoadAPI.
func LoadSender(environ []string) (Sender, []Warning, error) {
	var s Sender
	l := load(environ, &s)
	l.checkSender(s)
	if _, set := l.given["WABEK_NATS_URL"]; !set {
		l.problem("WABEK_NATS_URL", "is missing: a sender takes its jobs from a NATS server; set it like nats://host:4222")
	}
	_, keysGiven := l.given["WABEK_POOL_KEYS"]
	_, secretGiven := l.given["WABEK_SECRET"]
	switch {
	case keysGiven && secretGiven:
		l.warn("WABEK_SECRET", "isn't needed beside WABEK_POOL_KEYS, and opens far more than a sender should: unset it here")
		s.SealKeys = s.PoolKeys.keys
	case keysGiven:
		s.SealKeys = s.PoolKeys.keys
	case s.Secret.IsZero() && !secretGiven:
		l.problem("WABEK_POOL_KEYS", "is missing: a sender needs the keys of its pool; 'api pool-keys POOL' prints them. Or set WABEK_SECRET, the same as the API's")
	case !s.Secret.IsZero():
		l.warn("WABEK_SECRET", "opens far more than a sender should: set WABEK_POOL_KEYS instead; 'api pool-keys POOL' prints it")
		s.SealKeys = keys.DeriveSealKeysFor(s.Secret, s.SecretPrevious, s.Pool)
	}
	if s.SealKeys != nil && !slices.Contains(s.SealKeys.Pools(), s.Pool) {
		l.problem("WABEK_POOL_KEYS", "holds no key of the pool that WABEK_POOL names; 'api pool-keys POOL' prints it")
	}
	s.Secret, s.SecretPrevious = keys.Secret{}, keys.Secret{}
	return s, l.warnings, l.err()
}

// LoadPair reads the settings of 'sender pair', which needs neither NATS nor a key. The error is as that
// of LoadAPI.
func LoadPair(environ []string) (Sender, []Warning, error) {
	var s Sender
	l := load(environ, &s)
	l.checkSender(s)
	s.Secret, s.SecretPrevious = keys.Secret{}, keys.Secret{}
	return s, l.warnings, l.err()
}

// LoadSim reads the settings of cmd/whatsim. The error is as that of LoadAPI.
func LoadSim(environ []string) (Sim, []Warning, error) {
	var s Sim
	l := load(environ, &s)
	l.check("WABEK_SIM_ADDR", checkAddr(s.SimAddr))
	return s, l.warnings, l.err()
}

// loader collects what is found wrong.
type loader struct {
	given    map[string]string // what is set and not empty, trimmed
	problems []error
	broken   map[string]bool // variables that have a problem already
	warnings []Warning
}

// load fills target, a pointer to a program's struct, and checks all that its tags say.
func load(environ []string, target any) *loader {
	l := &loader{given: map[string]string{}, broken: map[string]bool{}}
	for name, value := range env.ToMap(environ) {
		if value = strings.TrimSpace(value); value != "" {
			l.given[name] = value
		}
	}
	vars := table("", reflect.TypeOf(target).Elem())
	values := map[string]string{}
	for _, v := range vars {
		value, set := l.given[v.Name]
		if v.values != "" && set {
			value = strings.ToLower(value)
			if !slices.Contains(strings.Split(v.values, "|"), value) {
				l.problem(v.Name, "%s is not one of %s", shown(value), v.Unit)
				continue
			}
		}
		if set {
			values[v.Name] = value
		}
	}
	l.parse(target, vars, values)
	for _, v := range vars {
		if v.min != "" && !l.broken[v.Name] {
			l.checkRange(v, reflect.ValueOf(target).Elem().FieldByIndex(v.index).Interface())
		}
	}
	l.checkNames(environ)
	return l
}

func (l *loader) parse(target any, vars []Variable, values map[string]string) {
	err := env.ParseWithOptions(target, env.Options{Environment: values, FuncMap: map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[keys.Secret](): parseSecret,
	}})
	var all env.AggregateError
	if err != nil && !errors.As(err, &all) {
		l.problems = append(l.problems, fmt.Errorf("read settings: %w", err))
		return
	}
	for _, one := range all.Errors {
		var parse env.ParseError
		i := -1
		if errors.As(one, &parse) {
			i = slices.IndexFunc(vars, func(v Variable) bool { return v.field == parse.Name })
		}
		if i < 0 { // a mistake in the tags, which the tests would have seen
			l.problems = append(l.problems, fmt.Errorf("read settings: %w", one))
			continue
		}
		switch parse.Type {
		case reflect.TypeFor[int]():
			l.problem(vars[i].Name, "%s is not a whole number of %s", shown(values[vars[i].Name]), vars[i].Unit)
		case reflect.TypeFor[float64]():
			l.problem(vars[i].Name, "%s is not a number of %s", shown(values[vars[i].Name]), vars[i].Unit)
		case reflect.TypeFor[bool]():
			l.problem(vars[i].Name, "%s is neither true nor false", shown(values[vars[i].Name]))
		case reflect.TypeFor[time.Duration]():
			l.problem(vars[i].Name, "%s is not a duration; write it like 30s or 2m", shown(values[vars[i].Name]))
		default:
			l.check(vars[i].Name, parse.Err) // of a parser of this package, none of which repeats a secret
		}
	}
}

func parseSecret(text string) (any, error) {
	secret, err := keys.NewSecret(text)
	if err != nil {
		return nil, err
	}
	return secret, nil
}

func (l *loader) checkRange(v Variable, value any) {
	outside := false
	switch n := value.(type) {
	case int:
		low, _ := strconv.Atoi(v.min)
		high, _ := strconv.Atoi(v.max)
		outside = n < low || n > high
	case float64:
		low, _ := strconv.ParseFloat(v.min, 64)
		high, _ := strconv.ParseFloat(v.max, 64)
		outside = !(n >= low && n <= high) // what is no number is in no range
	case time.Duration:
		low, _ := time.ParseDuration(v.min)
		high, _ := time.ParseDuration(v.max)
		outside = n < low || n > high
	}
	if outside {
		l.problem(v.Name, "is %v; it must be within %s to %s", value, v.min, v.max)
	}
}

func (l *loader) checkSender(s Sender) {
	l.check("WABEK_POOL", checkPool(s.Pool))
	if s.SenderAddr != "" {
		l.check("WABEK_SENDER_ADDR", checkAddr(s.SenderAddr))
	}
	l.checkWhatsApp(s.WhatsApp)
}

func (l *loader) checkWhatsApp(w WhatsApp) {
	_, endpoint := l.given["WABEK_WHATSAPP_ENDPOINT"]
	_, root := l.given["WABEK_WHATSAPP_ROOT_KEY"]
	switch {
	case endpoint && !root:
		l.problem("WABEK_WHATSAPP_ROOT_KEY", "is missing: it goes with WABEK_WHATSAPP_ENDPOINT; set both, or neither for the real WhatsApp")
	case root && !endpoint:
		l.problem("WABEK_WHATSAPP_ENDPOINT", "is missing: it goes with WABEK_WHATSAPP_ROOT_KEY; set both, or neither for the real WhatsApp")
	}
	if endpoint {
		l.check("WABEK_WHATSAPP_ENDPOINT", checkEndpoint(w.Endpoint))
	}
}

func checkPool(pool string) error {
	if job.CheckPool(pool) != nil {
		return fmt.Errorf("%s is no name of a pool; it has 1 to 32 of a-z, 0-9 and dash", shown(pool))
	}
	return nil
}

func (l *loader) check(variable string, err error) {
	if err != nil {
		l.problem(variable, "%s", err.Error())
	}
}

// problem notes the first thing wrong with a variable; a second would only follow from it.
func (l *loader) problem(variable, format string, args ...any) {
	if l.broken[variable] {
		return
	}
	l.broken[variable] = true
	l.problems = append(l.problems, &VariableError{Variable: variable, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) warn(variable, text string) {
	l.warnings = append(l.warnings, Warning{Variable: variable, Text: text})
}

func (l *loader) err() error { return errors.Join(l.problems...) }
