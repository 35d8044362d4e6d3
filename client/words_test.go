package client_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/docs"
)

// TestTheClientKnowsEveryWord holds the client's constants against the API's description.
func TestTheClientKnowsEveryWord(t *testing.T) {
	t.Parallel()
	type list struct{ Enum []string }
	var api struct {
		Components struct {
			Schemas struct {
				ProblemCode, Delivery, State list
				Verdict                      struct{ Properties struct{ Reason list } }
			}
		}
	}
	require.NoError(t, json.Unmarshal(docs.OpenAPI, &api))
	s := api.Components.Schemas
	known := map[string][]string{}
	for _, file := range []string{"otp.go", "error.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			typ := ""
			if name, ok := spec.Type.(*ast.Ident); ok {
				typ = name.Name
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				known[typ] = append(known[typ], value)
			}
			return true
		})
	}
	require.ElementsMatch(t, s.ProblemCode.Enum, known["Code"])
	require.ElementsMatch(t, s.Delivery.Enum, known["Status"])
	require.ElementsMatch(t, s.State.Enum, known["State"])
	require.ElementsMatch(t, s.Verdict.Properties.Reason.Enum, known[""])
}
