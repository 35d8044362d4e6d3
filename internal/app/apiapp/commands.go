package apiapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"

	"wabek/internal/api"
	"wabek/internal/apps"
	"wabek/internal/otp"
)

const commandsUsage = `  api sign-in                               a link into the console, for one browser within 15 minutes
  api app list
  api app show NAME
  api app create NAME [SETTING=VALUE…]
  api app set NAME SETTING=VALUE…           an empty value takes a setting back
  api app delete NAME
  api app test-number NAME PHONE [CODE]     a fixed code, and nothing is sent; without CODE an ordinary number again
  api app unlock NAME PHONE                 after too many wrong codes in a row
  api key create [-app NAME] [-label TEXT] [-scopes otp,whmcs,read,admin] [-networks CIDR,…] [-days N]
  api key list [-app NAME]
  api key revoke ID
  api callback show NAME                    where callbacks go, and their secret
  api callback rotate NAME                  another secret; the old one signs too for a day
  api callback dead NAME                    callbacks that were given up
  api callback replay NAME [ID]             post them again
  api callback discard NAME [ID]            forget them
  api whmcs show NAME                       how the app's WHMCS is asked for what hooks don't say
  api whmcs set NAME URL IDENTIFIER         reads the secret, and on a second line an access key, from standard input
  api whmcs drop NAME
  api opt-out NAME PHONE                    no more notices to a phone, as if it had written STOP
  api opt-in NAME PHONE                     notices again
`

// errCall says that a command line can't be understood.
var errCall = errors.New("can't be understood; api -h shows how")

// administer runs a command of `api app` or `api key`.
func administer(ctx context.Context, o Options, args []string, stdout io.Writer) (err error) {
	run, err := parseCommand(args)
	if err != nil {
		return err
	}
	c, err := openAdmin(ctx, o)
	if err != nil {
		return err
	}
	if c.stdin = o.Stdin; c.stdin == nil {
		c.stdin = os.Stdin
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return run(ctx, c, stdout)
}

// command is a call of the admin API, and what is printed of its answer.
type command func(ctx context.Context, c *adminClient, out io.Writer) error

func parseCommand(args []string) (command, error) {
	if len(args) == 1 && args[0] == "sign-in" {
		return signIn, nil
	}
	if len(args) < 2 {
		return nil, fmt.Errorf("%q %w", strings.Join(args, " "), errCall)
	}
	what, rest := args[0]+" "+args[1], args[2:]
	switch {
	case what == "app list" && len(rest) == 0:
		return listApps, nil
	case what == "app show" && len(rest) == 1:
		return showApp(http.MethodGet, appPath(rest[0]), nil), nil
	case what == "app create" && len(rest) >= 1:
		own, err := changed(map[string]json.RawMessage{}, rest[1:])
		if err != nil {
			return nil, err
		}
		own["name"], _ = json.Marshal(rest[0]) // a string can always be written
		return showApp(http.MethodPost, appsPath, own), nil
	case what == "app set" && len(rest) >= 2:
		if _, err := changed(map[string]json.RawMessage{}, rest[1:]); err != nil {
			return nil, err
		}
		return setApp(rest[0], rest[1:]), nil
	case what == "app delete" && len(rest) == 1:
		return done(http.MethodDelete, appPath(rest[0]), nil, "deleted, with its keys"), nil
	case what == "app test-number" && (len(rest) == 2 || len(rest) == 3):
		body := map[string]string{"phone": rest[1]}
		if len(rest) == 3 {
			body["code"] = rest[2]
		}
		return done(http.MethodPost, appPath(rest[0])+"/test-numbers", body, "set"), nil
	case what == "app unlock" && len(rest) == 2:
		return done(http.MethodPost, appPath(rest[0])+"/unlock", map[string]string{"phone": rest[1]}, "unlocked"), nil
	case what == "callback show" && len(rest) == 1:
		return showApp(http.MethodGet, appPath(rest[0])+"/callback", nil), nil
	case what == "callback rotate" && len(rest) == 1:
		return showApp(http.MethodPost, appPath(rest[0])+"/callback/rotate", nil), nil
	case what == "callback dead" && len(rest) == 1:
		return listLetters(rest[0]), nil
	case (what == "callback replay" || what == "callback discard") && (len(rest) == 1 || len(rest) == 2 && rest[1] != ""):
		return countLetters(appPath(rest[0])+"/callback/dead/"+args[1], append(rest, "")[1]), nil
	case what == "whmcs show" && len(rest) == 1:
		return showApp(http.MethodGet, appPath(rest[0])+"/whmcs", nil), nil
	case what == "whmcs set" && len(rest) == 3:
		return setWHMCS(rest[0], rest[1], rest[2]), nil
	case what == "whmcs drop" && len(rest) == 1:
		return done(http.MethodDelete, appPath(rest[0])+"/whmcs", nil, "forgotten"), nil
	case (args[0] == "opt-out" || args[0] == "opt-in") && len(args) == 3:
		return done(http.MethodPost, appPath(args[1])+"/opt-outs", map[string]any{"phone": args[2], "out": args[0] == "opt-out"}, "noted"), nil
	case what == "key create":
		return parseCreateKey(rest)
	case what == "key list":
		return parseListKeys(rest)
	case what == "key revoke" && len(rest) == 1:
		return done(http.MethodDelete, keysPath+"/"+url.PathEscape(rest[0]), nil, "revoked"), nil
	}
	return nil, fmt.Errorf("%q %w", strings.Join(args, " "), errCall)
}

const (
	appsPath = "/api/v1/admin/apps"
	keysPath = "/api/v1/admin/keys"
)

func appPath(name string) string { return appsPath + "/" + url.PathEscape(name) }

// changed applies SETTING=VALUE to settings as JSON has them.
func changed(own map[string]json.RawMessage, changes []string) (map[string]json.RawMessage, error) {
	kinds := settingKinds()
	for _, change := range changes {
		name, text, ok := strings.Cut(change, "=")
		kind, known := kinds[name]
		switch {
		case !ok:
			return nil, fmt.Errorf("%q isn't SETTING=VALUE", change)
		case !known:
			return nil, fmt.Errorf("there is no setting %q; api app show default lists them", name)
		case text == "":
			delete(own, name)
			continue
		}
		var value any = text
		var err error
		switch kind { //nolint:exhaustive // settings have no others
		case reflect.Int:
			value, err = strconv.Atoi(text)
		case reflect.Float64:
			value, err = strconv.ParseFloat(text, 64)
		case reflect.Bool:
			value, err = strconv.ParseBool(text)
		case reflect.Slice:
			value = strings.Split(text, ",")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a %s", name, text, kind)
		}
		if own[name], err = json.Marshal(value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return own, nil
}

// settingKinds are the settings that a command may change.
func settingKinds() map[string]reflect.Kind {
	kinds := map[string]reflect.Kind{}
	for field := range reflect.TypeFor[apps.Settings]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if kind := field.Type.Elem().Kind(); kind != reflect.Map {
			kinds[name] = kind
		}
	}
	return kinds
}

func listApps(ctx context.Context, c *adminClient, out io.Writer) error {
	var answer struct{ Apps []api.AppView }
	if err := c.call(ctx, http.MethodGet, appsPath, nil, &answer); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTITLE\tPOOL\tCODE\tEXPIRY\tCALLBACK")
	for _, a := range answer.Apps {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d digits\t%d s\t%s\n", a.Name, a.InForce.Title, a.InForce.Pool, a.InForce.Length, a.InForce.ExpirySeconds, a.InForce.CallbackURL)
	}
	return w.Flush()
}

func showApp(method, path string, body any) command {
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		var answer json.RawMessage
		if err := c.call(ctx, method, path, body, &answer); err != nil {
			return err
		}
		return printJSON(out, answer)
	}
}

// setApp changes some settings and leaves the others.
func setApp(name string, changes []string) command {
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		var answer struct{ Settings map[string]json.RawMessage }
		if err := c.call(ctx, http.MethodGet, appPath(name), nil, &answer); err != nil {
			return err
		}
		if answer.Settings == nil {
			answer.Settings = map[string]json.RawMessage{}
		}
		own, err := changed(answer.Settings, changes)
		if err != nil {
			return err
		}
		return showApp(http.MethodPut, appPath(name), own)(ctx, c, out)
	}
}

func done(method, path string, body any, what string) command {
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		if err := c.call(ctx, method, path, body, new(json.RawMessage)); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, what)
		return err
	}
}

func signIn(ctx context.Context, c *adminClient, out io.Writer) error {
	var answer struct{ URL string }
	if err := c.call(ctx, http.MethodPost, "/api/v1/admin/sign-in", nil, &answer); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, answer.URL)
	return err
}

// setWHMCS takes the secrets from standard input: a command line is seen by everybody on the machine.
func setWHMCS(app, address, identifier string) command {
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		text, err := io.ReadAll(io.LimitReader(c.stdin, 4096))
		if err != nil {
			return fmt.Errorf("read the secret: %w", err)
		}
		secret, accessKey, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		body := map[string]string{"url": address, "identifier": identifier, "secret": strings.TrimSpace(secret), "accessKey": strings.TrimSpace(accessKey)}
		return showApp(http.MethodPut, appPath(app)+"/whmcs", body)(ctx, c, out)
	}
}

func listLetters(app string) command {
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tREASON\tTRIES\tLAST\tFIRST\tGIVEN UP")
		for after := uint64(0); ; {
			var answer struct{ Letters []api.LetterView }
			if err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/callback/dead?after=%d", appPath(app), after), nil, &answer); err != nil {
				return err
			}
			if len(answer.Letters) == 0 {
				return w.Flush()
			}
			for _, l := range answer.Letters {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", l.ID, l.Reason, l.Tries, l.Last, l.First, l.At)
				after = l.Place
			}
		}
	}
}

func countLetters(path, id string) command {
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		var answer struct{ Count int }
		if err := c.call(ctx, http.MethodPost, path, map[string]string{"id": id}, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, answer.Count)
		return err
	}
}

func newFlags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

func parseCreateKey(args []string) (command, error) {
	f := newFlags("key create")
	app, label := f.String("app", otp.DefaultApp, ""), f.String("label", "", "")
	scopes, networks, days := f.String("scopes", string(apps.ScopeOTP), ""), f.String("networks", "", ""), f.Int("days", 0, "")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		return nil, fmt.Errorf("key create %w", errCall)
	}
	body := map[string]any{"app": *app, "label": *label, "scopes": strings.Split(*scopes, ","), "expiresInDays": *days}
	if *networks != "" {
		body["networks"] = strings.Split(*networks, ",")
	}
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		var k api.KeyView
		if err := c.call(ctx, http.MethodPost, keysPath, body, &k); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%s\n\nThis is the key, shown this once; its id is %s. Send it in the header X-API-Key.\n", k.Key, k.ID)
		return err
	}, nil
}

func parseListKeys(args []string) (command, error) {
	f := newFlags("key list")
	app := f.String("app", "", "")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		return nil, fmt.Errorf("key list %w", errCall)
	}
	return func(ctx context.Context, c *adminClient, out io.Writer) error {
		var answer struct{ Keys []api.KeyView }
		if err := c.call(ctx, http.MethodGet, keysPath+"?app="+url.QueryEscape(*app), nil, &answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tAPP\tLABEL\tSCOPES\tNETWORKS\tCREATED\tEXPIRES\tLAST USED")
		for _, k := range answer.Keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.App, k.Label, joined(k.Scopes), joined(k.Networks), k.Created, k.Expires, k.LastUsed)
		}
		return w.Flush()
	}, nil
}

func joined[T any](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ",")
}

func printJSON(out io.Writer, text json.RawMessage) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	_, err := fmt.Fprintln(out, strings.TrimSpace(pretty.String()))
	return err
}

// call calls the admin API. A problem that it answers is the error.
func (c *adminClient) call(ctx context.Context, method, path string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("write request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.door.URL+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	req.Header.Set("X-Api-Key", c.door.key)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the API: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var problem struct{ Title, Detail, Field string }
		if json.Unmarshal(answer, &problem) != nil || problem.Detail == "" {
			return fmt.Errorf("the API answers with status %d", resp.StatusCode)
		}
		return errors.New(problem.Detail)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
