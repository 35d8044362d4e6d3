package apiapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"wabek/internal/apps"
	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/record/bolt"
)

// The door for commands: while an API runs, the file admin in its data directory says where it is. The key for its
// admin API is derived from the secret, by the API and by the command alike; it is in no file.

// doorFile is its name, in the data directory.
const doorFile = "admin"

// door is what the file says, and the key.
type door struct {
	URL string `json:"url"`
	key string
}

// localKey lets commands in.
func localKey(secret keys.Secret) apps.FixedKey {
	return apps.FixedKey{ID: "local", Digest: apps.DigestOf(secret.AdminKey()), Scopes: []apps.Scope{apps.ScopeAdmin}}
}

// dropOldDoor takes away what a crash has left behind: commands that find the data directory taken would bring their key to
// whoever listens there by now.
func (a *App) dropOldDoor() error {
	if err := os.Remove(filepath.Join(a.o.Config.DataDir, doorFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take away an old %s: %w", doorFile, err)
	}
	return nil
}

// openDoor writes the file. It is taken away when the App closes.
func (a *App) openDoor() error {
	text, err := json.Marshal(door{URL: a.URL()})
	if err != nil {
		return fmt.Errorf("write %s: %w", doorFile, err)
	}
	path := filepath.Join(a.o.Config.DataDir, doorFile)
	if err := writePrivate(path, string(text)+"\n"); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	a.onClose("door for commands", func() error { return os.Remove(path) })
	return nil
}

// adminClient speaks to the admin API: that of a running server, or of the data directory where none runs.
type adminClient struct {
	door  door
	http  *http.Client
	stdin io.Reader // for what no command line may hold
	close func() error
}

// openAdmin finds out which. Errors say what to do.
func openAdmin(ctx context.Context, o Options) (*adminClient, error) {
	app, err := newOffline(ctx, o)
	if err == nil {
		return app, nil
	}
	if !errors.Is(err, bolt.ErrLocked) {
		return nil, err
	}
	path := filepath.Join(o.Config.DataDir, doorFile)
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: an API has this data directory, and isn't ready yet or is stopping; try again", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	client := newAdminHTTP()
	c := &adminClient{http: client, close: func() error { client.CloseIdleConnections(); return nil }}
	if err := json.Unmarshal(text, &c.door); err != nil {
		return nil, fmt.Errorf("read %s: malformed", path)
	}
	secret, err := (&App{o: o}).secret()
	if err != nil {
		return nil, err
	}
	c.door.key = secret.AdminKey()
	return c, nil
}

// newAdminHTTP makes a client that gives what it is asked to send, a key among it, to nobody but whom it is asked to send
// it to: no proxy of the environment, no address that an answer redirects to.
func newAdminHTTP() *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newOffline opens the records, and an API over them that nobody but this process can reach.
func newOffline(ctx context.Context, o Options) (_ *adminClient, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := newApp(o)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if _, err := os.Stat(o.Config.DataDir); err != nil {
		return nil, fmt.Errorf("WABEK_DATA_DIR: %w; start the API once, it makes it", err)
	}
	secret, err := a.secret()
	if err != nil {
		return nil, err
	}
	ring, err := a.openRecords(ctx, secret)
	if err != nil {
		return nil, err
	}
	service, _, err := a.openService(secret, ring)
	if err != nil {
		return nil, err
	}
	a.presence = newPresence(0, false, o.Now, func() bool { return false }, nil)
	if _, err := a.openAPI(ctx, service, ring, away{}); err != nil {
		return nil, err
	}
	return &adminClient{
		door: door{URL: "http://offline", key: secret.AdminKey()}, http: &http.Client{Transport: within{a.server.Handler()}}, close: a.close,
	}, nil
}

// away is a queue that can't be reached.
type away struct{}

func (away) Last(context.Context, string, job.ID) (job.Status, uint64, error) {
	return job.Status{}, 0, nats.ErrConnectionClosed
}

func (away) History(context.Context, string, job.ID, uint64) ([]job.Status, error) {
	return nil, nats.ErrConnectionClosed
}

// within answers requests by a handler of this process.
type within struct{ handler http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	body, answer := io.Pipe()
	out := &pipedAnswer{header: http.Header{}, body: answer, begun: make(chan int, 1)}
	go func() {
		w.handler.ServeHTTP(out, r)
		out.WriteHeader(http.StatusOK)
		_ = answer.Close() // never fails
	}()
	status := <-out.begun
	return &http.Response{StatusCode: status, Header: out.header, Body: body, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// pipedAnswer is the answer of a handler, on its way to a client of the same process.
type pipedAnswer struct {
	header http.Header
	body   *io.PipeWriter
	begun  chan int
	wrote  bool
}

func (p *pipedAnswer) Header() http.Header { return p.header }

func (p *pipedAnswer) WriteHeader(status int) {
	if !p.wrote {
		p.wrote = true
		p.begun <- status
	}
}

func (p *pipedAnswer) Write(data []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(data)
}
