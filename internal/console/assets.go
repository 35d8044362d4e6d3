package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
)

const assetsPath = "/console/assets/"

//go:embed assets
var assetFiles embed.FS

// assets serves styles, scripts and icons. One hash over all of them stands in their addresses: they may be kept for ever,
// and scripts find one another by relative addresses, without a build step.
type assets struct {
	hash  string
	files map[string][]byte // by name
}

func loadAssets() (*assets, error) {
	a := &assets{files: map[string][]byte{}}
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, e := range entries { // sorted by name
		data, err := fs.ReadFile(assetFiles, "assets/"+e.Name())
		if err != nil {
			return nil, err
		}
		a.files[e.Name()] = data
		sum.Write([]byte(e.Name() + "\x00"))
		sum.Write(data)
	}
	a.hash = hex.EncodeToString(sum.Sum(nil)[:8])
	return a, nil
}

// path is the address of a file; an unknown one has none that works.
func (a *assets) path(name string) string { return assetsPath + a.hash + "/" + name }

// ServeHTTP answers with a file, to anybody: the sign-in page needs them, and they are in the source.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.PathValue("file"), a.hash+"/")
	data, known := a.files[name]
	if !ok || !known {
		http.Error(w, "No such file; load the page again.\n", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", typeOf(name))
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data) // who asked has gone, then
}

// typeOf is the media type of a file; the system's own table may say another, and browsers are strict with scripts.
func typeOf(name string) string {
	switch {
	case strings.HasSuffix(name, ".js"):
		return "text/javascript; charset=utf-8"
	case strings.HasSuffix(name, ".css"):
		return "text/css; charset=utf-8"
	case strings.HasSuffix(name, ".svg"):
		return "image/svg+xml"
	}
	return "application/octet-stream"
}
