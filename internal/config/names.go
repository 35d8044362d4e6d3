package config

import (
	"regexp"
	"slices"
	"strings"
)

// checkNames finds variables that no program of wabek knows: most likely typing errors, which would
// otherwise leave a setting at its default unseen.
func (l *loader) checkNames(environ []string) {
	var known []string
	for _, v := range Variables("") {
		known = append(known, v.Name)
	}
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if slices.Contains(known, name) {
			continue
		}
		near, distance := nearest(name, known)
		switch {
		case strings.HasPrefix(name, "WABEK_") && !isServiceLink(name, value):
			l.problem(name, "is known to no program of wabek; the nearest name is %s. Mend or unset it", near)
		case strings.HasPrefix(name, "OTP_") && distance <= 2:
			l.warn(name, "is no setting of wabek; did you mean "+near+"?")
		}
	}
}

// serviceLink is a variable that Kubernetes puts into every container of a namespace for each service in
// it (Kubernetes documentation, "Accessing the Service: environment variables"); services called wabek-…
// make names that begin like ours.
func isServiceLink(name, value string) bool {
	if regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`).MatchString(name) {
		return true
	}
	// The one form that a person might write by mistake, WABEK_PORT=9000, is told apart by its value.
	return strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// nearest is the name that takes the fewest changed, added or dropped letters (Levenshtein), and how many.
func nearest(name string, known []string) (string, int) {
	best, least := "", len(name)+64
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best, least
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
