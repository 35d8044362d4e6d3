package whatsapp

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	waLog "go.mau.fi/whatsmeow/util/log"
)

// waLogger writes whatsmeow's log lines to slog with every telephone number masked. Debug lines are dropped: they
// hold whole stanzas.
type waLogger struct{ log *slog.Logger }

var _ waLog.Logger = waLogger{}

// newWALogger makes the logger that a whatsmeow client or container gets.
func newWALogger(log *slog.Logger) waLog.Logger { return waLogger{log.With("part", "whatsmeow")} }

func (l waLogger) Debugf(string, ...any) {}

func (l waLogger) Infof(msg string, args ...any) {
	l.log.Debug("client notice", "text", maskNumbers(fmt.Sprintf(msg, args...)))
}

func (l waLogger) Warnf(msg string, args ...any) {
	l.log.Warn("client warning", "text", maskNumbers(fmt.Sprintf(msg, args...)))
}

func (l waLogger) Errorf(msg string, args ...any) {
	l.log.Error("client error", "text", maskNumbers(fmt.Sprintf(msg, args...)))
}

func (l waLogger) Sub(module string) waLog.Logger { return waLogger{l.log.With("module", module)} }

var (
	// wordPattern finds what may hold a number: whatsmeow writes numbers as digits alone, within a JID.
	wordPattern = regexp.MustCompile(`[0-9A-Za-z]*[0-9]{7,}[0-9A-Za-z]*`)
	runPattern  = regexp.MustCompile(`[0-9]{7,}`)
	idPattern   = regexp.MustCompile(`^3EB0[0-9A-F]{18}$`) // a message id may have long runs of digits by chance
)

// maskNumbers hides each run of seven digits or more, which is what a telephone number or a LID looks like, but
// for the last two of them. Message ids stay: they are the thread through the logs.
func maskNumbers(s string) string {
	return wordPattern.ReplaceAllStringFunc(s, func(word string) string {
		if idPattern.MatchString(word) {
			return word
		}
		return runPattern.ReplaceAllStringFunc(word, func(run string) string {
			return strings.Repeat("•", 5) + run[len(run)-2:]
		})
	})
}

// maskedError is the text of an error without numbers. It keeps no cause: whatever prints it can't dig one out.
type maskedError string

func (e maskedError) Error() string { return string(e) }

// masked flattens an error to its masked text; nil stays nil.
func masked(err error) error {
	if err == nil {
		return nil
	}
	return maskedError(maskNumbers(err.Error()))
}
