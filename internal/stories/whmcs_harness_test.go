package stories_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	standin = root + "/internal/whmcs/standin"
	modules = root + "/deploy/whmcs"
)

// phpHere finds PHP with what WHMCS has anyway; without it the test is passed over.
func phpHere(t *testing.T) string {
	t.Helper()
	php, err := exec.LookPath("php")
	if err != nil {
		t.Skip("NOT RUN: there is no php here, so what goes into a WHMCS wasn't tried")
	}
	have, err := exec.CommandContext(t.Context(), php, "-m").Output()
	require.NoError(t, err)
	for _, extension := range []string{"curl", "pdo_sqlite", "sodium"} {
		if !regexp.MustCompile(`(?m)^` + extension + `$`).Match(have) {
			t.Skipf("NOT RUN: php is here without its %s extension, so what goes into a WHMCS wasn't tried", extension)
		}
	}
	return php
}

// row is a row of a table, or a hook's variables.
type row = map[string]any

// whmcs is a WHMCS: the stand-in, with or without what is pasted into one.
type whmcs struct {
	t        *testing.T
	php, dir string
	env      []string
	url      string
	server   *program
}

// newWHMCS lays out a WHMCS whose system address is that of its server, and starts it.
func newWHMCS(t *testing.T, name string, w *world) *whmcs {
	t.Helper()
	h := &whmcs{t: t, php: phpHere(t), dir: filepath.Join(w.mkdir(name), "root"), env: []string{}}
	require.NoError(t, os.CopyFS(h.dir, os.DirFS(standin)))
	for _, dir := range []string{"sessions", "includes/hooks"} {
		require.NoError(t, os.MkdirAll(filepath.Join(h.dir, dir), 0o700))
	}
	addr := freeAddr(t)
	h.url = "http://" + addr
	h.server = w.program("php-"+name, "", h.env)
	h.server.args = []string{h.php, "-S", addr, "-t", h.dir}
	h.seed(map[string][]row{
		"tblconfiguration": {{"setting": "SystemURL", "value": h.url + "/"}},
		"tbladmins":        {{"id": 1, "email": "admin@example.com", "password": "right"}},
	})
	h.server.start()
	eventually(t, func() bool {
		a, err := request(http.MethodGet, h.url+"/index.php", nil, nil)
		return err == nil && a.status == 200
	}, "WHMCS doesn't answer")
	return h
}

// paste does what docs/whmcs.md says: it copies the folder into WHMCS.
func (h *whmcs) paste() {
	h.t.Helper()
	require.NoError(h.t, os.CopyFS(h.dir, os.DirFS(modules)))
}

// configure writes wabek_config.php, as an operator does who doesn't use the addon.
func (h *whmcs) configure(wabek, key string, lines ...string) {
	h.t.Helper()
	sample := read(h.t, filepath.Join(h.dir, "includes/hooks/wabek_config.php.sample"))
	sample = strings.Replace(sample, "'https://otp.example.com'", "'"+wabek+"'", 1)
	sample = strings.Replace(sample, "'key' => ''", "'key' => '"+key+"'", 1)
	for _, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		at := regexp.MustCompile(`(?m)^    ` + name + `.*$`)
		if name == "'events'" {
			at = regexp.MustCompile(`(?m)^\];$`)
			line += "\n];"
		}
		require.Regexp(h.t, at, sample)
		sample = at.ReplaceAllLiteralString(sample, "    "+line)
	}
	h.write("includes/hooks/wabek_config.php", sample)
}

func (h *whmcs) write(path, text string) {
	h.t.Helper()
	require.NoError(h.t, os.WriteFile(filepath.Join(h.dir, path), []byte(text), 0o600))
}

// cli runs the stand-in's commands in a process of their own, as the cron is one.
func (h *whmcs) cli(stdin string, args ...string) string {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), h.php, append([]string{filepath.Join(h.dir, "cli.php")}, args...)...)
	cmd.Env, cmd.Dir, cmd.Stdin = h.env, h.dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(h.t, cmd.Run(), "%v: %s%s", args, &out, &errs)
	require.Empty(h.t, errs.String())
	return out.String()
}

func (h *whmcs) seed(tables map[string][]row) {
	h.t.Helper()
	text, err := json.Marshal(inOrder(tables))
	require.NoError(h.t, err)
	h.cli(string(text), "seed")
}

// inOrder puts the column that names a row first, as the stand-in wants it.
func inOrder(tables map[string][]row) map[string][]json.RawMessage {
	out := map[string][]json.RawMessage{}
	for table, rows := range tables {
		for _, r := range rows {
			key := "id"
			for _, k := range []string{"setting", "identifier", "name"} {
				if _, ok := r[k]; ok {
					if _, has := r["id"]; !has {
						key = k
					}
				}
			}
			var b strings.Builder
			first, _ := json.Marshal(r[key])
			fmt.Fprintf(&b, "{%q:%s", key, first)
			for name, value := range r {
				if name != key {
					v, _ := json.Marshal(value)
					fmt.Fprintf(&b, ",%q:%s", name, v)
				}
			}
			out[table] = append(out[table], json.RawMessage(b.String()+"}"))
		}
	}
	return out
}

// set changes a setting of WHMCS or of the stand-in.
func (h *whmcs) set(name, value string) {
	h.t.Helper()
	h.seed(map[string][]row{"tblconfiguration": {{"setting": name, "value": value}}})
}

// client makes a client in Turkey and the user that owns it, both of the same id.
func (h *whmcs) client(id int, phone string) {
	h.t.Helper()
	h.seed(map[string][]row{
		"tblclients":       {{"id": id, "firstname": "Ayşe", "lastname": "Yılmaz & Co", "country": "TR", "phonenumber": phone, "currency": "TRY", "language": "english"}},
		"tblusers":         {{"id": id, "email": fmt.Sprintf("user%d@example.com", id), "password": "right", "first_name": "Ayşe"}},
		"tblusers_clients": {{"id": id, "auth_user_id": id, "client_id": id, "owner": 1}},
	})
}

// hooks runs hooks, all of them in one process.
func (h *whmcs) hooks(events ...event) {
	h.t.Helper()
	var lines strings.Builder
	for _, e := range events {
		line, err := json.Marshal(e)
		require.NoError(h.t, err)
		lines.Write(append(line, '\n'))
	}
	h.cli(lines.String(), "hooks")
}

// event is a hook that runs.
type event struct {
	Hook string `json:"hook"`
	Vars row    `json:"vars,omitempty"`
}

// afterCron is what each run of the cron ends with.
func afterCron() event { return event{Hook: "AfterCronJob"} }

func (h *whmcs) dump(table string) (rows []row) {
	h.t.Helper()
	require.NoError(h.t, json.Unmarshal([]byte(h.cli("", "dump", table)), &rows))
	return rows
}

// activity is what the activity log says.
func (h *whmcs) activity() []string {
	h.t.Helper()
	var lines []string
	for _, r := range h.dump("tblactivitylog") {
		lines = append(lines, r["description"].(string))
	}
	return lines
}

// tellsNothing holds that nothing secret stands in a log, a session or a table of WHMCS's but where it belongs: a phone
// number in the clients and a key in its file.
func (h *whmcs) tellsNothing(secret ...string) {
	h.t.Helper()
	look := map[string]string{"activity log": strings.Join(h.activity(), "\n"), "log of the server": read(h.t, h.server.log)}
	for _, table := range []string{"tblmodulelog", "mod_wabek_settings", "mod_wabek_outbox", "mod_wabek_twofactor", "tblusers", "tbladmins"} {
		look[table] = h.cli("", "dump", table)
	}
	sessions, err := filepath.Glob(filepath.Join(h.dir, "sessions", "sess_*"))
	require.NoError(h.t, err)
	for _, s := range sessions {
		look["session "+filepath.Base(s)] = read(h.t, s)
	}
	for where, text := range look {
		for _, s := range secret {
			require.NotContains(h.t, text, s, where)
		}
	}
	require.NotContains(h.t, look["activity log"], "Exception", "no error was swallowed")
	require.NotContains(h.t, look["activity log"], "Error at", "no error was swallowed")
}

// browser is somebody at a page of WHMCS.
type browser struct {
	t    *testing.T
	c    *http.Client
	url  string
	last string // the address that the latest page was at
}

// visit opens a browser at an area of WHMCS: "" for clients, "/admin" for admins.
func (h *whmcs) visit(area string) *browser {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(h.t, err)
	return &browser{t: h.t, c: &http.Client{Jar: jar, Timeout: patient}, url: h.url + area + "/"}
}

func (b *browser) get(path string) string {
	b.t.Helper()
	res, err := b.c.Get(b.url + path) //nolint:noctx // the client has a timeout
	require.NoError(b.t, err)
	return b.page(res)
}

func (b *browser) post(path string, pairs ...string) string {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	res, err := b.c.PostForm(b.url+path, form) //nolint:noctx // the client has a timeout
	require.NoError(b.t, err)
	return b.page(res)
}

func (b *browser) page(res *http.Response) string {
	b.t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, res.StatusCode, "%s", body)
	require.NotContains(b.t, string(body), "Fatal error")
	b.last = res.Request.URL.RawQuery
	return string(body)
}

// login gives e-mail and the right password, and returns the page behind it.
func (b *browser) login(email string) string {
	b.t.Helper()
	return b.post("index.php?do=login", "email", email, "password", "right")
}

// in is the id of who is logged in; session is what the session has.
func (b *browser) in() (id int, session map[string]any) {
	b.t.Helper()
	var home struct {
		In      int            `json:"in"`
		Session map[string]any `json:"session"`
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.get("index.php")), &home))
	return home.In, home.Session
}

// admin calls wabek's administration.
func (w *world) admin(method, path string, body any) answer {
	w.t.Helper()
	a, err := request(method, w.client.url+"/api/v1/admin/"+path, http.Header{"X-Api-Key": {w.secrets.apiKey}}, body)
	require.NoError(w.t, err)
	require.Contains(w.t, []int{200, 201}, a.status, "%s", a.body)
	return a
}

// newApp makes an app for a WHMCS, and its key.
func (w *world) newApp(name string, settings row) string {
	w.t.Helper()
	body := row{"name": name, "title": "Acme"}
	maps.Copy(body, settings)
	w.admin(http.MethodPost, "apps", body)
	var made struct {
		Secret string `json:"secret"`
		Key    any    `json:"key"`
	}
	a := w.admin(http.MethodPost, "keys", row{"app": name, "scopes": []string{"otp", "whmcs"}})
	require.NoError(w.t, json.Unmarshal(a.body, &made))
	if key, ok := made.Key.(string); ok {
		return key
	}
	require.NotEmpty(w.t, made.Secret, "%s", a.body)
	return made.Secret
}

// receivesMore waits until a phone shows n messages, and returns the last.
func (p phones) receivesMore(t *testing.T, digits string, n int) message {
	t.Helper()
	var all []message
	eventually(t, func() bool {
		var err error
		all, err = p.shows(digits)
		return err == nil && len(all) >= n
	}, "message %d doesn't arrive on %s", n, digits)
	require.Len(t, all, n)
	return all[n-1]
}

// otherCode is a wrong code.
func otherCode(code string) string {
	if code[0] == '0' {
		return "1" + code[1:]
	}
	return "0" + code[1:]
}

// recorder stands before wabek and notes what is said.
type recorder struct {
	url string
	mu  sync.Mutex
	all []exchange
}

// exchange is a request and its answer.
type exchange struct {
	path, signature string
	request         map[string]any
	status          int
	answer          map[string]any
}

func (w *world) record() *recorder {
	w.t.Helper()
	to, err := url.Parse(w.client.url)
	require.NoError(w.t, err)
	r := &recorder{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body) // what couldn't be read wabek refuses
		in.Body = io.NopCloser(bytes.NewReader(body))
		answered := httptest.NewRecorder()
		proxy.ServeHTTP(answered, in)
		x := exchange{path: in.URL.Path, signature: in.Header.Get("X-Wabek-Signature"), status: answered.Code}
		_ = json.Unmarshal(body, &x.request)
		_ = json.Unmarshal(answered.Body.Bytes(), &x.answer)
		r.mu.Lock()
		r.all = append(r.all, x)
		r.mu.Unlock()
		maps.Copy(out.Header(), answered.Header())
		out.WriteHeader(answered.Code)
		_, _ = out.Write(answered.Body.Bytes())
	}))
	w.t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// took returns what was said since the last call.
func (r *recorder) took() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}
