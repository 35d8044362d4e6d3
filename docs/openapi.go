// Package docs carries those pages of the documentation that programs show too.
//
// In: nothing. Out: the pages as they stand in this folder. On failure: nothing can fail; they are part of the program.
package docs

import _ "embed"

// OpenAPI is the description of the HTTP API: one JSON document of OpenAPI 3.1.
//
//go:embed openapi.json
var OpenAPI []byte
