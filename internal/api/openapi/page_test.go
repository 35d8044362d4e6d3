package openapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/docs"
	"wabek/internal/api/openapi"
)

const small = `{"openapi":"3.1.0","info":{"title":"T","description":"One & **two**.\n\nThree ` + "`<b>`" + `."},"tags":[{"name":"A"}],"paths":{
	"/b/{id}":{"parameters":[{"$ref":"#/components/parameters/ID"}],"delete":{"operationId":"drop","tags":["A"],"responses":{"204":{"description":"Gone."}}}},
	"/a":{"post":{"operationId":"make","tags":["A"],"security":[{"Key":["x"]},{"Key":["y"]}],"requestBody":{"content":{"application/json":{
		"schema":{"$ref":"#/components/schemas/Thing"},"example":{"name":"<i>","n":7}}}},"responses":{"400":{"description":"Bad."}}}}},
	"webhooks":{"told":{"post":{"operationId":"told","tags":["A"],"summary":"Told","responses":{"2XX":{"description":"Heard."}}}}},"components":{"parameters":{"ID":{"name":"id","in":"path","required":true,"schema":{"type":"string"},"example":"x1"}},
		"schemas":{"Thing":{"type":"object","required":["n"],"properties":{"name":{"type":"string","maxLength":5},"n":{"type":"integer","minimum":1,"maximum":9},
			"list":{"type":"array","items":{"$ref":"#/components/schemas/Thing"}}}}}}}`

func TestPage_ShowsWhatTheDocumentSays(t *testing.T) {
	t.Parallel()
	p, err := openapi.NewPage([]byte(small), []openapi.Error{{Code: "odd", Status: 400, Title: "Odd", Mend: "Send `even`."}})
	require.NoError(t, err)
	html := string(p.HTML)
	for _, want := range []string{
		"<p>One &amp; <strong>two</strong>.</p><p>Three <code>&lt;b&gt;</code>.</p>", "&lt;i&gt;", "1 to 9", "at most 5 characters",
		"list of Thing", `href="#schema-Thing"`, `id="error-odd"`, "Send <code>even</code>.", `curl -X DELETE &#34;$WABEK_URL/b/x1&#34;`,
		"<code>x</code> or <code>y</code>", "to your address", "Heard.", `<span class="required">required</span>`,
	} {
		require.Contains(t, html, want)
	}
	require.Less(t, strings.Index(html, "/b/{id}"), strings.Index(html, ">/a<"), "in the order of the document")
	require.NotContains(t, html, "<i>")
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(html)
	sum := sha256.Sum256([]byte(style[1]))
	require.Contains(t, p.Policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "a browser takes this very text")
}

func TestPage_SaysWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		``:             "unexpected end",
		`{"paths":[]}`: "where an object begins",
		strings.Replace(small, "schemas/Thing", "schemas/Other", 1):                              "there is no #/components/schemas/Other",
		strings.Replace(small, `"maxLength":5`, `"maxLength":"5"`, 1):                            "MaxLength",
		strings.Replace(small, `parameters/ID"}]`, `parameters/Other"}]`, 1):                     "there is no #/components/parameters/Other",
		strings.Replace(small, `{"204":{"description":"Gone."}}`, `{"204":{"$ref":"#/x/Y"}}`, 1): "there is no #/x/Y",
	} {
		_, err := openapi.NewPage([]byte(document), nil)
		require.ErrorContains(t, err, want)
	}
}

// FuzzPage renders any document: an error or a page, never a panic, and never markup of the document's own.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{small, string(docs.OpenAPI), `{}`, `{"info":{"title":"<script>"}}`, `{"paths":{"/":{"get":{"tags":["A"],"operationId":"\"><script>"}}},"tags":[{"name":"A"}]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		p, err := openapi.NewPage([]byte(document), nil)
		if err == nil {
			require.NotContains(t, strings.ToLower(string(p.HTML)), "<script")
		}
	})
}
