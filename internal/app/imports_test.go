// Package app_test holds the rules of who may know whom.
package app_test

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mayImport is the whole table: the packages of this module that each of its packages may import. What isn't
// listed is forbidden, so a new package begins with a line here. Tests are free.
func mayImport() map[string]string {
	return map[string]string{
		"cmd/api":              "config app/apiapp",
		"cmd/sender":           "config app/senderapp",
		"cmd/demo":             "config app/apiapp app/senderapp whatsapp whatsim",
		"cmd/whatsim":          "config whatsim",
		"cmd/bench":            "*",
		"internal/phone":       "",
		"internal/keys":        "",
		"internal/job":         "phone keys",
		"internal/otp":         "phone job keys",
		"internal/apps":        "otp phone job",
		"internal/api":         "api/openapi apps callback docs otp phone job status text whmcs",
		"internal/api/openapi": "",
		// A whole API for the tests of what talks to one.
		"internal/api/apitest": "api apps callback job keys notice otp record/bolt status text whmcs",
		"docs":                 "", // pages that programs show too
		"docs/snippets":        "",
		"docs/snippets/go":     "client",
		"client":               "",                         // for others' programs: the standard library alone
		"internal/record/bolt": "otp job phone keys whmcs", // keys: it stores the wrapped ring
		// The conformance suite runs the product's own service above a store.
		"internal/record/recordtest": "otp job phone keys",
		"internal/relay":             "job",
		"internal/queue":             "job",
		"internal/queue/embed":       "",
		"internal/sender":            "job phone keys", // keys: its errors tell a job that another sender may open
		"internal/optout":            "",
		"internal/whatsapp":          "job optout phone",
		"internal/status":            "job",
		"internal/console":           "", // it meets the API as an http.Handler
		"internal/outbound":          "",
		"internal/outbound/dnstest":  "",
		"internal/callback":          "job outbound",
		"internal/text":              "",
		"internal/notice":            "text",
		"internal/whmcs":             "job notice outbound phone",
		"internal/config":            "keys job", // the types of its secrets, and what a pool may be called
		"internal/app/apiapp":        "api app/senderapp apps callback config console docs/snippets job keys notice otp outbound queue queue/embed record/bolt relay status text whatsapp whmcs",
		"internal/app/senderapp":     "config job keys optout queue sender whatsapp",
		"internal/whatsim":           "",
		"internal/stories":           "",
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir, cmd.Stderr = "../..", &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestImports_FollowTheTable(t *testing.T) {
	t.Parallel()
	table := mayImport()
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		fields := strings.Fields(line)
		importer := strings.TrimPrefix(fields[0], "wabek/")
		allowed, listed := table[importer]
		if importer == "internal/app" { // tests alone
			continue
		}
		if !listed {
			t.Errorf("%s isn't in the table of imports", importer)
			continue
		}
		for _, imported := range fields[1:] {
			name, ours := strings.CutPrefix(imported, "wabek/")
			name = strings.TrimPrefix(name, "internal/")
			if ours && allowed != "*" && !slices.Contains(strings.Fields(allowed), name) {
				t.Errorf("%s may not import %s", importer, imported)
			}
		}
	}
}

// What must not be linked into a program, whoever brings it in.
func TestImports_OfThePrograms(t *testing.T) {
	t.Parallel()
	for program, forbidden := range map[string][]string{
		"./cmd/sender": {
			"github.com/labstack/echo", "go.etcd.io/bbolt", "github.com/nats-io/nats-server", "wabek/internal/whatsim",
			"wabek/internal/api", "wabek/internal/otp", "wabek/internal/record",
		},
		"./cmd/api": {"wabek/internal/whatsim", "github.com/stretchr/testify", "testing"},
	} {
		for _, dep := range goList(t, "-deps", program) {
			for _, f := range forbidden {
				if dep == f || strings.HasPrefix(dep, f+"/") {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
	}
}

// Whoever uses the client copies one folder.
func TestImports_TheClientNeedsTheStandardLibraryAlone(t *testing.T) {
	t.Parallel()
	for _, dep := range goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./client") {
		if dep != "" && dep != "wabek/client" {
			t.Errorf("the client needs %s", dep)
		}
	}
}

func TestImports_OnlyTheirOwnPackagesKnowTheBigLibraries(t *testing.T) {
	t.Parallel()
	owners := map[string][]string{
		"go.mau.fi/whatsmeow":            {"internal/whatsapp", "internal/whatsim", "cmd/bench"},
		"github.com/nats-io/nats-server": {"internal/queue/embed", "cmd/bench"},
		"go.etcd.io/bbolt":               {"internal/record/bolt", "cmd/bench"},
		"github.com/labstack/echo":       {"internal/api", "cmd/bench"},
	}
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		fields := strings.Fields(line)
		importer := strings.TrimPrefix(fields[0], "wabek/")
		for _, imported := range fields[1:] {
			for library, own := range owners {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(own, importer) {
					t.Errorf("%s may not import %s", importer, imported)
				}
			}
		}
	}
}
