package notice

import (
	"strings"
	"time"

	"wabek/internal/text"
)

// Request is what is known of a notice.
type Request struct {
	Action string // of WHMCS, like InvoiceCreated
	Type   string // of a reminder: first, second, third; any other has the action's text for all
	// Locale is the client's language, a BCP 47 tag like tr or tr-TR. One that isn't there is as none.
	Locale        string
	Region        string // of the phone: ISO 3166-1 alpha-2, or empty
	DefaultLocale string // the app's
	Fields        Fields
}

// Fields is what a notice may tell. What is empty, longer than there is room for or not what it should be is left out or
// cut, but for Company, which there must be.
type Fields struct {
	Company string // as the clients know it; it is the operator's own, so that a domain in it stays one
	Name    string // the client's first name
	Invoice string // its number
	Total   string // with currency, see Money
	Due     Day
	Link    string // to pay or see it, http or https
	Subject string // of a ticket
	Ticket  string // its number
	Product string
	Domain  string
	Days    int       // until a domain expires
	Time    time.Time // of a login; told in its own location, with the offset from UTC
	IP      string    // of a login
}

// fields is what a template sees.
type fields struct {
	Company, Name, Invoice, Total, Due, Link, Subject, Ticket, Product, Domain, Time, IP, Stop string
	Days                                                                                       int
}

// grammar is what the texts may hold: the names of fields, each with the most characters of it.
func grammar() *text.Grammar {
	return &text.Grammar{
		Fields: map[string]int{
			"Company": maxCompany, "Name": maxName, "Invoice": maxNumber, "Total": maxNumber, "Due": maxTime, "Link": maxLink,
			"Subject": maxSubject, "Ticket": maxNumber, "Product": maxProduct, "Domain": maxDomain, "Time": maxTime, "IP": maxIP,
			"Stop": maxStop, "Days": maxDays,
		},
		Count: "Days", Line: "Link", MaxLength: MaxLength,
		Always: map[string]string{"Company": "a notice says who writes", "Stop": "a notice says how to get no more of them"},
	}
}

// Render writes a notice. Errors: *UnknownActionError and ErrCompany.
func (t *Texts) Render(r Request) (string, error) {
	tag, w := t.lookup(&r)
	if w == nil {
		return "", &UnknownActionError{Action: r.Action, Known: t.Actions()}
	}
	f := fill(&r.Fields, tag, w.Language())
	if f.Company == "" {
		return "", ErrCompany
	}
	message, err := w.Write(f)
	if err != nil {
		return "", err
	}
	return closeGaps(message), nil
}

// lookup finds the text of a request and its locale: of the first that has one for the action, in the order of the
// client's language, what is spoken in the phone's country, the app's default and English; and else in whatever locale
// there is one. The type chooses within the locale.
func (t *Texts) lookup(r *Request) (tag string, w *text.Template) {
	name := nameOf(r.Action)
	if name == "" {
		return "", nil
	}
	typed := name + typeMark + typeOf(r.Type)
	in := func(tag string) *text.Template {
		if w := t.texts[tag][typed]; w != nil {
			return w
		}
		return t.texts[tag][name]
	}
	for _, tag := range [...]string{t.locales.Find(r.Locale), t.locales.Spoken(r.Region), t.locales.Find(r.DefaultLocale), lastLocale} {
		if w := in(tag); w != nil {
			return tag, w
		}
	}
	for _, tag := range t.locales.Tags() {
		if w := in(tag); w != nil {
			return tag, w
		}
	}
	return "", nil
}

// closeGaps leaves at most one empty line where parts of a text were left out.
func closeGaps(s string) string {
	for strings.Contains(s, "\n\n\n") {
		s = strings.ReplaceAll(s, "\n\n\n", "\n\n")
	}
	return s
}
