package senderapp

import (
	"runtime/debug"
	"slices"
	"strings"
)

// gcPercent is GOGC where the operator sets none: the heap may grow to five times what is alive before it is
// collected. What is alive is small here, some tens of MB, and short-lived memory is most of the work, so this buys
// a fifth of a request's CPU (docs/benchmarks.md).
const gcPercent = 400

// TuneGC sets the garbage collector of a program, unless GOGC or GOMEMLIMIT is in its environment: then the operator
// has decided.
func TuneGC(environ []string) {
	decided := slices.ContainsFunc(environ, func(e string) bool {
		return strings.HasPrefix(e, "GOGC=") || strings.HasPrefix(e, "GOMEMLIMIT=")
	})
	if !decided {
		debug.SetGCPercent(gcPercent)
	}
}
