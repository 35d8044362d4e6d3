package config

import (
	"fmt"
	"strings"
)

// Usage is what -h prints of a program's settings: every variable with default and unit.
func Usage(program string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Settings of %s, all from the environment (docs/configuration.md):\n", program)
	for _, v := range Variables(program) {
		fmt.Fprintf(&b, "\n  %s", v.Name)
		if v.Unit != "" {
			fmt.Fprintf(&b, "  (%s)", v.Unit)
		}
		fmt.Fprintf(&b, "\n      default: %s\n", plainDefault(v))
		fmt.Fprintf(&b, "      %s\n", v.Doc)
	}
	return b.String()
}

func plainDefault(v Variable) string {
	switch {
	case v.Default != "":
		return v.Default
	case v.Absent != "" && v.Absent != "-":
		return "none; " + v.Absent
	default:
		return "none"
	}
}

// Markdown is docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Generated from internal/config; do not edit. To renew: go test ./internal/config -update -->

Everything is set by environment variables. Space around a value doesn't count; an empty value is as none.
A value that can't be used stops the start with a message that names the variable, and so does a ` + "`WABEK_…`" + `
variable that no program of wabek knows. Variables that Kubernetes makes for its services, like
` + "`WABEK_API_SERVICE_HOST`" + `, are passed over. A duration is written like ` + "`30s`, `2m` or `1h`" + `.

| Variable | Default | Unit or values | Read by | What it does |
|---|---|---|---|---|
`)
	for _, v := range Variables("") {
		def := v.Absent
		switch {
		case v.Default != "":
			def = "`" + v.Default + "`"
		case def == "" || def == "-":
			def = "none"
		}
		doc := v.Doc
		if v.Secret {
			doc += " **Secret.**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", v.Name, def, v.Unit, strings.Join(v.Programs, ", "), doc)
	}
	b.WriteString(`
` + "`demo`" + ` differs in three defaults: a temporary data directory, the API key ` + "`demo`" + `, and WhatsApp is the simulator.
A sender needs ` + "`WABEK_NATS_URL`" + `, and ` + "`WABEK_POOL_KEYS` or `WABEK_SECRET`; `sender pair`" + ` needs none of them.
`)
	return b.String()
}
