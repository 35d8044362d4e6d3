package console

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strconv"
)

const homePath = "/console/live"

//go:embed pages
var pageFiles embed.FS

// page is one page. To add one: a row in loadPages, a template in pages/, and a script in assets/ where it needs one.
type page struct {
	Path   string
	Title  string
	Icon   string // a template of layout.html; empty keeps the page out of the navigation
	file   string
	Script string // of assets/; empty for none
	data   func(*http.Request) any

	template *template.Template
}

func (c *Console) loadPages() error {
	rows := []*page{
		{Path: homePath, Title: "Live test", Icon: "live", file: "live.html", Script: "live.js", data: c.liveView},
		{Path: "/console/integration", Title: "API integration", Icon: "integration", file: "integration.html", Script: "integration.js", data: c.integrationView},
		{Path: "/console/settings", Title: "OTP settings", Icon: "settings", file: "settings.html", data: c.settingsView},
		{Path: signInPath, Title: "Sign in", file: "signin.html", Script: "signin.js"},
		{Path: notFoundPath, Title: "Not found", file: "notfound.html"},
	}
	layout, err := template.New("layout.html").Funcs(template.FuncMap{"asset": c.assets.path}).ParseFS(pageFiles, "pages/layout.html")
	if err != nil {
		return err
	}
	c.pages = map[string]*page{}
	for _, p := range rows {
		if p.template, err = layout.Clone(); err != nil {
			return err
		}
		if _, err = p.template.ParseFS(pageFiles, "pages/"+p.file); err != nil {
			return err
		}
		c.pages[p.Path] = p
		if p.Icon != "" {
			c.order = append(c.order, p)
		}
	}
	return nil
}

// frame is what the layout shows around a page.
type frame struct {
	Page     *page
	Pages    []*page
	App      string
	Version  string
	Base     string // this server's address
	SignedIn bool
	SignOut  string
	Data     any
}

// render answers with a page. It is written whole or not at all.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, p *page, data any) {
	var body bytes.Buffer
	err := p.template.Execute(&body, frame{
		Page: p, Pages: c.order, App: c.o.App, Version: c.o.Version, Base: c.base(r), SignedIn: p.Path != signInPath, SignOut: signOutPath, Data: data,
	})
	if err != nil {
		c.o.Logger.ErrorContext(r.Context(), "console page can't be shown", "page", p.Path, "err", err)
		http.Error(w, "Something went wrong here; the log has the cause.\n", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // who asked has gone, then
}

func (c *Console) showPage(w http.ResponseWriter, r *http.Request) {
	p := c.pages[r.URL.Path]
	c.render(w, r, http.StatusOK, p, p.data(r))
}

func (c *Console) goHome(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, homePath, http.StatusSeeOther)
}

// notFoundPath names the page that unknown addresses get; it has none of its own.
const notFoundPath = "not found"

func (c *Console) notFound(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusNotFound, c.pages[notFoundPath], nil)
}
