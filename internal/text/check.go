package text

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// MaxLength bounds a message in characters, written with the longest values that there may be. It is what WhatsApp's
// official Cloud API takes as a text; its apps take more.
const MaxLength = 4096

// data is what a template sees.
type data struct {
	App, Code, Purpose string
	Minutes            int
	Params             map[string]string
}

// otps is what the texts of OTPs may hold: the fields of data.
func otps() *Grammar {
	return &Grammar{
		Fields: map[string]int{"App": MaxApp, "Code": MaxCode, "Minutes": maxCount, "Purpose": MaxPurpose},
		Count:  "Minutes", Line: "Code", LineOnce: true, Params: true, MaxLength: MaxLength,
	}
}

const (
	knownWords = "a text knows if, else, end, plural, or, and, not"
	maxCount   = 9 // digits of the minutes of the longest time.Duration
	isolates   = 2 // characters that Fit may put around a value
)

// Grammar is what the texts of one kind may hold.
type Grammar struct {
	Fields map[string]int // by name, which is a letter A-Z first: the most characters that a value has
	Count  string         // the field that plural counts, a whole number; the others are texts that Fit has been at
	// Line is the field that must have its line for itself, so that nothing sticks to it when it is copied or tapped. It
	// isn't for Fit. LineOnce: each text has it exactly once, on no condition.
	Line     string
	LineOnce bool
	// Always is the fields that each text must have on every condition, and with each why.
	Always map[string]string
	Params bool // whether there are .Params, which a request may bring
	// MaxLength bounds a message in characters, written with the longest values that there may be.
	MaxLength int
}

// known says which fields there are.
func (g *Grammar) known() string {
	names := slices.Sorted(maps.Keys(g.Fields))
	if g.Params {
		names = append(names, "Params.name")
	}
	last := len(names) - 1
	return "a text knows ." + strings.Join(names[:last], ", .") + " and ." + names[last]
}

// Template is a text that has passed every check, so that writing it can't fail.
type Template struct {
	name     string
	lang     Language
	template *template.Template
	params   []string // that it uses, sorted
	required []string // those of them that it doesn't look for by if, or, and, not
}

// Parse reads a template and checks all that the grammar promises. The problems are *FileErrors.
//
// A template is so small a part of text/template that each promise can be seen in its parse tree, whatever is filled in
// later: nothing loops, nothing is called but what is listed below, and a line's field stands between two line breaks.
func (g *Grammar) Parse(name, file, source string, lang Language) (*Template, []error) {
	c := &checker{grammar: g, file: file, lang: lang, params: map[string]bool{}}
	source = c.characters(source)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	functions := map[string]any{"plural": true, or: true, and: true, not: true}
	trees := map[string]*parse.Tree{}
	tree, err := parse.New(treeName).Parse(source, "", "", trees, functions)
	if err != nil {
		c.unparsable(err)
		return nil, c.problems
	}
	c.source = source
	for defined, t := range trees {
		if defined != treeName && t.Root != nil {
			c.refuse(t.Root.Pos, "a text can't define another one; "+knownWords)
		}
	}
	c.root(tree.Root)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	t := template.New(treeName).Option("missingkey=zero").Funcs(template.FuncMap{"plural": lang.plural.count})
	if t, err = t.AddParseTree(treeName, tree); err != nil {
		c.refuse(0, "can't be used: %v", err)
		return nil, c.problems
	}
	w := &Template{name: name, lang: lang, template: t, params: slices.Sorted(maps.Keys(c.params))}
	for _, p := range w.params {
		if c.params[p] {
			w.required = append(w.required, p)
		}
	}
	return w, nil
}

// Language is what the text is written in.
func (w *Template) Language() Language { return w.lang }

// Write fills in a struct, or a pointer to one, that has the grammar's fields. Spaces and empty lines at the ends go.
func (w *Template) Write(fields any) (string, error) {
	var b strings.Builder
	b.Grow(512)
	if err := w.template.Execute(&b, fields); err != nil {
		return "", errWritten
	}
	return strings.Trim(b.String(), " \t\n"), nil
}

// treeName is what a template is called inside, as its messages begin with it.
const treeName = "text"

// The functions of text/template that a text may use: they choose among their arguments and can't fail.
const or, and, not = "or", "and", "not"

// checker walks through a parse tree.
type checker struct {
	grammar      *Grammar
	file, source string
	lang         Language
	lines        int             // how often the grammar's Line is there
	condition    bool            // within that of an if
	params       map[string]bool // and whether a request must have it
	problems     []error
}

func (c *checker) refuse(at parse.Pos, format string, args ...any) {
	c.refuseLine(1+strings.Count(c.source[:min(int(at), len(c.source))], "\n"), format, args...)
}

func (c *checker) refuseLine(line int, format string, args ...any) {
	c.problems = append(c.problems, &FileError{File: c.file, Line: line, Problem: fmt.Sprintf(format, args...)})
}

// characters refuses what can't be shown, and takes away what editors leave at the ends.
func (c *checker) characters(s string) string {
	s = strings.TrimPrefix(s, "\ufeff")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.TrimRight(s, " \t\n")
	for i, line := range strings.Split(s, "\n") {
		switch {
		case !utf8.ValidString(line):
			c.refuseLine(i+1, "is not UTF-8")
		case strings.ContainsFunc(line, unshown):
			c.refuseLine(i+1, "has a control character in it")
		}
	}
	return s
}

func unshown(r rune) bool { return breaks(r) && r != '\t' }

// unparsable repeats what package parse says, which begins with "template: text:3: ".
func (c *checker) unparsable(err error) {
	said := strings.TrimPrefix(err.Error(), "template: "+treeName+":")
	number, said, _ := strings.Cut(said, ":")
	line, err := strconv.Atoi(number)
	if err != nil {
		line, said = 1, number+said
	}
	said = strings.ReplaceAll(strings.TrimSpace(said), "started at "+treeName+":", "started in line ")
	if strings.HasSuffix(said, " not defined") {
		said += "; " + knownWords
	}
	c.refuseLine(line, "%s", said)
}

// root checks a whole text.
func (c *checker) root(root *parse.ListNode) {
	if len(root.Nodes) > 0 { // empty lines before the text, as a comment leaves them
		if first, ok := root.Nodes[0].(*parse.TextNode); ok {
			first.Text = []byte(strings.TrimLeft(string(first.Text), " \t\n"))
			if len(first.Text) == 0 {
				root.Nodes = root.Nodes[1:]
			}
		}
	}
	c.list(root, true)
	line := c.grammar.Line
	if c.grammar.LineOnce && c.lines == 0 && len(c.problems) == 0 {
		c.refuseLine(1, "the %s is missing: {{.%s}}, on a line of its own", strings.ToLower(line), line)
	}
	for _, name := range slices.Sorted(maps.Keys(c.grammar.Always)) {
		if !always(root, name) {
			c.refuseLine(1, "{{.%s}} is missing, on no condition: %s", name, c.grammar.Always[name])
		}
	}
}

// always says whether a field is written whatever the conditions say.
func always(l *parse.ListNode, name string) bool {
	return l != nil && slices.ContainsFunc(l.Nodes, func(n parse.Node) bool {
		if i, ok := n.(*parse.IfNode); ok {
			return always(i.List, name) && always(i.ElseList, name)
		}
		return isField(n, name)
	})
}

// list checks what follows each other, and says how many characters it becomes at most. top says that it is the whole text.
func (c *checker) list(l *parse.ListNode, top bool) (length int) {
	if l == nil {
		return 0
	}
	for i, n := range l.Nodes {
		before := length
		if isField(n, c.grammar.Line) {
			length += c.grammar.Fields[c.grammar.Line]
			c.line(l.Nodes, i, top)
		} else {
			length += c.node(n)
		}
		if limit := c.grammar.MaxLength; top && before <= limit && length > limit {
			c.refuse(n.Position(), "the text may get longer than %d characters here, with the longest values that there may be", limit)
		}
	}
	return length
}

// line checks what stands around the grammar's Line, which is one of the nodes.
func (c *checker) line(nodes []parse.Node, i int, top bool) {
	at, name := nodes[i].Position(), c.grammar.Line
	c.lines++
	if c.grammar.LineOnce && !top {
		c.refuse(at, "{{.%s}} must not hang on a condition", name)
		return
	}
	if c.grammar.LineOnce && c.lines > 1 {
		c.refuse(at, "the %s is here a second time", strings.ToLower(name))
	}
	begins, ends := top && i == 0, top && i+1 == len(nodes)
	if !begins && (i == 0 || !endsLine(nodes[i-1])) || !ends && (i+1 == len(nodes) || !beginsLine(nodes[i+1])) {
		c.refuse(at, "{{.%s}} isn't alone on its line: right before and behind it there must be a line break", name)
	}
}

// isField says whether a node writes a field and nothing else.
func isField(n parse.Node, name string) bool {
	action, ok := n.(*parse.ActionNode)
	if !ok || len(action.Pipe.Decl) > 0 || len(action.Pipe.Cmds) != 1 || len(action.Pipe.Cmds[0].Args) != 1 {
		return false
	}
	field, ok := action.Pipe.Cmds[0].Args[0].(*parse.FieldNode)
	return ok && len(field.Ident) == 1 && field.Ident[0] == name
}

func endsLine(n parse.Node) bool {
	t, ok := n.(*parse.TextNode)
	return ok && strings.HasSuffix(string(t.Text), "\n")
}

func beginsLine(n parse.Node) bool {
	t, ok := n.(*parse.TextNode)
	return ok && strings.HasPrefix(string(t.Text), "\n")
}

// node checks a node and says how many characters it becomes at most.
func (c *checker) node(n parse.Node) int {
	switch n := n.(type) {
	case *parse.TextNode:
		return utf8.RuneCount(n.Text)
	case *parse.CommentNode:
		return 0
	case *parse.ActionNode:
		return c.pipe(n.Pipe, false)
	case *parse.IfNode:
		c.condition = true
		c.pipe(n.Pipe, true)
		c.condition = false
		return max(c.list(n.List, false), c.list(n.ElseList, false))
	default:
		c.refuse(n.Position(), "%.60q can't stand in a text; %s", n.String(), knownWords)
		return 0
	}
}

// pipe checks what stands between two braces, or parentheses. asked says that it only decides about something else.
func (c *checker) pipe(p *parse.PipeNode, asked bool) int {
	switch {
	case len(p.Decl) > 0:
		c.refuse(p.Pos, "a text has no variables")
	case len(p.Cmds) != 1:
		c.refuse(p.Pos, "a text has no pipelines: | can't be used")
	default:
		return c.command(p.Cmds[0], asked)
	}
	return 0
}

func (c *checker) command(cmd *parse.CommandNode, asked bool) int {
	first, rest := cmd.Args[0], cmd.Args[1:]
	if f, ok := first.(*parse.IdentifierNode); ok {
		if f.Ident == "plural" {
			return c.plural(f.Pos, rest)
		}
		return c.choice(f, rest)
	}
	if len(rest) > 0 {
		c.refuse(cmd.Pos, "%.60q can't be used: only a function has something behind it; %s", cmd.String(), knownWords)
		return 0
	}
	return c.value(first, asked)
}

// choice checks or, and, not: the value is one of their arguments, or true or false.
func (c *checker) choice(f *parse.IdentifierNode, args []parse.Node) int {
	if len(args) == 0 || f.Ident == not && len(args) != 1 {
		c.refuse(f.Pos, "%s has too few or too many values behind it", f.Ident)
	}
	length := len("false")
	for _, a := range args {
		length = max(length, c.value(a, true))
	}
	return length
}

// value checks a single value. asked says that it may be missing.
func (c *checker) value(n parse.Node, asked bool) int {
	switch n := n.(type) {
	case *parse.FieldNode:
		return c.field(n, asked)
	case *parse.StringNode:
		return c.literal(n)
	case *parse.PipeNode:
		return c.pipe(n, asked)
	default:
		c.refuse(n.Position(), "%.60q can't be used; %s", n.String(), c.grammar.known())
		return 0
	}
}

func (c *checker) literal(n *parse.StringNode) int {
	if !utf8.ValidString(n.Text) || strings.ContainsFunc(strings.ReplaceAll(n.Text, "\n", ""), unshown) {
		c.refuse(n.Pos, "has a control character in it")
	}
	return utf8.RuneCountInString(n.Text)
}

func (c *checker) field(n *parse.FieldNode, asked bool) int {
	g, name := c.grammar, strings.Join(n.Ident, ".")
	longest, known := g.Fields[name]
	switch {
	case name == g.Line && c.condition && !g.LineOnce:
		return longest
	case name == g.Line:
		c.lines++
		c.refuse(n.Pos, "the %s can be used as {{.%s}} alone, on a line of its own", strings.ToLower(name), name)
	case name == g.Count:
		return longest
	case known:
		return longest + isolates
	case g.Params && name == "Params":
		c.refuse(n.Pos, "a param is used by its name: .Params.name")
	case g.Params && n.Ident[0] == "Params" && len(n.Ident) == 2:
		return c.param(n, n.Ident[1], asked) + isolates
	default:
		c.refuse(n.Pos, "unknown field .%.60s; %s", name, g.known())
	}
	return 0
}

func (c *checker) param(n *parse.FieldNode, name string, asked bool) int {
	if !isParamName(name) {
		c.refuse(n.Pos, "no param can be called %.60s: its name is a letter of a-z, then up to 31 of a-z, 0-9 and underscore", name)
		return 0
	}
	if _, known := c.params[name]; !known {
		if c.params[name] = true; len(c.params) == MaxParams+1 {
			c.refuse(n.Pos, "there are more than %d params", MaxParams)
		}
	}
	if asked {
		c.params[name] = false
	}
	return MaxParam
}

// plural checks plural .Minutes "one" "# minute" "other" "# minutes".
func (c *checker) plural(at parse.Pos, args []parse.Node) int {
	count := "." + c.grammar.Count
	one := strings.ToLower(strings.TrimSuffix(c.grammar.Count, "s"))
	example := fmt.Sprintf(`like plural %s "one" "# %s" "other" "# %[2]ss"`, count, one)
	if len(args) < 3 || len(args)%2 == 0 || args[0].String() != count {
		c.refuse(at, "plural has %s behind it, then pairs of a category and a form, %s", count, example)
		return 0
	}
	forms, longest := map[string]string{}, 0
	for i := 1; i < len(args); i += 2 {
		category, ok := args[i].(*parse.StringNode)
		form, ok2 := args[i+1].(*parse.StringNode)
		if !ok || !ok2 {
			c.refuse(args[i].Position(), "plural's categories and forms are texts in quotes, %s", example)
			return 0
		}
		if _, twice := forms[category.Text]; twice || !c.lang.plural.has(category.Text) {
			c.refuse(category.Pos, "plural: %.20q is here a second time, or isn't a category of this language, which has %s",
				category.Text, strings.ReplaceAll(c.lang.plural.categories, " ", ", "))
		}
		forms[category.Text] = form.Text
		longest = max(longest, c.literal(form)+(c.grammar.Fields[c.grammar.Count]-1)*strings.Count(form.Text, "#"))
	}
	if lacking := c.lang.plural.lacking(forms); lacking != "" {
		c.refuse(at, "plural lacks %q, and %q that would do for all", lacking, other)
	}
	return longest
}
