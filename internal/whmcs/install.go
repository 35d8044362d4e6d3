package whmcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"wabek/internal/outbound"
)

// Errors of asking a WHMCS.
var (
	// errUnknown says that WHMCS has no client or invoice of that id. No second try mends it.
	errUnknown = errors.New("WHMCS knows no such client or invoice")
	// errAway says that WHMCS gave no answer that can be used: it is down, broken, or doesn't let us in. It may be mended.
	errAway = errors.New("WHMCS gives no answer")
)

// Outbound speaks to hosts that users name; *outbound.Client does.
type Outbound interface {
	Do(ctx context.Context, r outbound.Request) (*outbound.Response, error)
}

const (
	// rememberFor is how long what a WHMCS said of a client is taken for true: a run of a thousand invoices asks about the
	// same clients again and again.
	rememberFor = time.Minute
	mostClients = 2048
)

// install asks one WHMCS install by its API (https://developers.whmcs.com/api/).
type install struct {
	out    Outbound
	access Access
	now    func() time.Time

	mu      sync.Mutex
	clients map[int64]known
}

type known struct {
	client Client
	until  time.Time
}

func newInstall(out Outbound, access Access, now func() time.Time) *install {
	return &install{out: out, access: access, now: now, clients: map[int64]known{}}
}

// invoice is what GetInvoice says of an invoice (https://developers.whmcs.com/api-reference/getinvoice/).
type invoice struct {
	Number  Text   `json:"invoicenum"`
	User    Number `json:"userid"`
	Total   Text   `json:"total"`
	Balance Text   `json:"balance"`
	Due     Text   `json:"duedate"`
}

func (w *install) invoice(ctx context.Context, id int64) (invoice, error) {
	var got invoice
	err := w.ask(ctx, "GetInvoice", url.Values{"invoiceid": {strconv.FormatInt(id, 10)}}, &got)
	return got, err
}

// client is what GetClientsDetails says of a client (https://developers.whmcs.com/api-reference/getclientsdetails/).
// Older releases have the fields beside "client" as well.
func (w *install) client(ctx context.Context, id int64) (Client, error) {
	w.mu.Lock()
	k, ok := w.clients[id]
	w.mu.Unlock()
	if ok && w.now().Before(k.until) {
		return k.client, nil
	}
	var got struct {
		Client *Client `json:"client"`
	}
	err := w.ask(ctx, "GetClientsDetails", url.Values{"clientid": {strconv.FormatInt(id, 10)}, "stats": {"false"}}, &got)
	if err != nil {
		return Client{}, err
	}
	if got.Client == nil {
		return Client{}, fmt.Errorf("%w: GetClientsDetails says nothing of the client", errAway)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.clients) >= mostClients {
		clear(w.clients)
	}
	w.clients[id] = known{*got.Client, w.now().Add(rememberFor)}
	return *got.Client, nil
}

// ask calls a function of the API. Errors wrap errUnknown or errAway, and quote nothing that was sent or answered.
func (w *install) ask(ctx context.Context, action string, values url.Values, into any) error {
	values.Set("action", action)
	values.Set("responsetype", "json")
	values.Set("identifier", w.access.Identifier)
	values.Set("secret", w.access.Secret)
	if w.access.AccessKey != "" {
		values.Set("accesskey", w.access.AccessKey)
	}
	resp, err := w.out.Do(ctx, outbound.Request{
		URL: strings.TrimRight(w.access.URL, "/") + "/includes/api.php", Body: []byte(values.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	var said struct {
		Result  string `json:"result"`
		Message string `json:"message"`
	}
	unread := json.Unmarshal(resp.Body, &said)
	switch {
	case unread == nil && said.Result == "error" && strings.Contains(strings.ToLower(said.Message), "not found"):
		return errUnknown
	case unread == nil && said.Result == "error" && resp.Status != http.StatusForbidden:
		return fmt.Errorf("%w: %s is refused; check identifier, secret and what they may do", errAway, action)
	case resp.Status == http.StatusForbidden: // an address that isn't allowed, or a firewall before WHMCS
		return fmt.Errorf("%w: 403; let this server's address in under Setup > General Settings > Security > API IP Access Restriction", errAway)
	case resp.Status != http.StatusOK:
		return fmt.Errorf("%w: status %d", errAway, resp.Status)
	case unread != nil || said.Result != "success":
		return fmt.Errorf("%w: no JSON of WHMCS's; check the address, which must be that of the directory with configuration.php", errAway)
	}
	if err := json.Unmarshal(resp.Body, into); err != nil {
		return fmt.Errorf("%w: %s answers something else", errAway, action)
	}
	return nil
}
