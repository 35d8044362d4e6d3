package api

import (
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"wabek/docs"
	"wabek/internal/api/openapi"
)

// The description of the API, for programs and for people.
const (
	openapiPath = "/openapi.json"
	pagePath    = "/docs"
)

// docRoutes serves the description of the API. The page is made when it is first asked for.
func (s *Server) docRoutes(e *echo.Echo) {
	page := sync.OnceValues(func() (openapi.Page, error) {
		var errors []openapi.Error
		for _, k := range catalogue {
			errors = append(errors, openapi.Error{Code: string(k.code), Status: k.status, Title: k.title, Mend: k.mend})
		}
		return openapi.NewPage(docs.OpenAPI, errors)
	})
	show := func(c echo.Context) error {
		p, err := page()
		if err != nil {
			return err
		}
		h := c.Response().Header()
		h.Set("Content-Security-Policy", p.Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		return c.Blob(http.StatusOK, "text/html; charset=utf-8", p.HTML)
	}
	for path, handle := range map[string]echo.HandlerFunc{
		openapiPath: func(c echo.Context) error { return s.ok(c, docs.OpenAPI) },
		pagePath:    show,
	} {
		e.GET(path, handle)
		e.HEAD(path, handle)
	}
}
