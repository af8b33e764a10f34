package tasks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// signature is a parsed Python parameter list, laid out as CPython does in a
// code object: positional parameters first, keyword-only ones after them.
type signature struct {
	names    []string
	defaults [][]byte // JSON of each default value; nil for a required parameter
	posOnly  int      // names[:posOnly] cannot be passed by keyword
	pos      int      // names[:pos] can be passed by position
	optional int      // how many of names[:pos] have a default
	varArgs  string   // the name after *, "" when there is none
	varKw    string   // the name after **, "" when there is none
	unnamed  bool     // names are made up: keyword arguments cannot be bound
}

// parseSignature reads what stands between the parentheses of a Python def.
// Annotations are skipped; defaults must be literals.
func parseSignature(src string) (*signature, error) {
	l := &paramList{scanner: scanner{src: src}}
	for !l.end() {
		if err := l.element(); err != nil {
			return nil, err
		}
		if l.end() {
			break
		}
		if !l.eat(",") {
			return nil, fmt.Errorf("%s where a comma was expected", l.next())
		}
	}
	if l.bareStar && len(l.sig.names) == l.sig.pos {
		return nil, errors.New("named parameters must follow the bare *")
	}
	if !l.star {
		l.sig.pos = len(l.sig.names)
	}
	for _, d := range l.sig.defaults[:l.sig.pos] {
		if d != nil {
			l.sig.optional++
		}
	}
	return &l.sig, nil
}

// paramList is the state of a parameter list that is being read.
type paramList struct {
	scanner
	sig      signature
	slash    bool
	star     bool // after * or *args: what follows is keyword-only
	bareStar bool
}

// element reads one parameter, or one of the marks / and *.
func (l *paramList) element() error {
	switch {
	case l.sig.varKw != "":
		return fmt.Errorf("nothing can follow **%s", l.sig.varKw)
	case l.eat("**"):
		if l.bareStar && len(l.sig.names) == l.sig.pos {
			return errors.New("named parameters must follow the bare *")
		}
		return l.collector("**", &l.sig.varKw)
	case l.eat("*"):
		if l.star {
			return errors.New("* may appear only once")
		}
		l.star = true
		l.sig.pos = len(l.sig.names)
		if l.end() || l.peek() == ',' {
			l.bareStar = true
			return nil
		}
		return l.collector("*", &l.sig.varArgs)
	case l.eat("/"):
		return l.markPositionalOnly()
	}
	return l.parameter()
}

func (l *paramList) markPositionalOnly() error {
	switch {
	case l.slash:
		return errors.New("/ may appear only once")
	case l.star:
		return errors.New("/ must be ahead of *")
	case len(l.sig.names) == 0:
		return errors.New("at least one parameter must precede /")
	}
	l.slash = true
	l.sig.posOnly = len(l.sig.names)
	return nil
}

// collector reads the name after * or **.
func (l *paramList) collector(stars string, name *string) error {
	n, err := l.name()
	if err != nil {
		return err
	}
	if err := l.annotation(n); err != nil {
		return err
	}
	if l.peek() == '=' {
		return fmt.Errorf("%s%s cannot have a default value", stars, n)
	}
	*name = n
	return nil
}

// parameter reads "name[: annotation][= default]".
func (l *paramList) parameter() error {
	name, err := l.name()
	if err != nil {
		return err
	}
	if err := l.annotation(name); err != nil {
		return err
	}
	var def []byte
	if l.eat("=") {
		if def, err = l.literal(nil, 0); err != nil {
			return fmt.Errorf("default of %s: %w", name, err)
		}
		if !l.end() && l.peek() != ',' {
			return fmt.Errorf("default of %s: only literals can be used, and %s is not part of one", name, l.next())
		}
	}
	if n := len(l.sig.defaults); def == nil && !l.star && n > 0 && l.sig.defaults[n-1] != nil {
		return fmt.Errorf("%s has no default and follows a parameter that has one", name)
	}
	l.sig.names = append(l.sig.names, name)
	l.sig.defaults = append(l.sig.defaults, def)
	return nil
}

// name reads an identifier that is not used yet.
func (l *paramList) name() (string, error) {
	l.space()
	start := l.pos
	for l.pos < len(l.src) {
		r, size := utf8.DecodeRuneInString(l.src[l.pos:])
		if r != '_' && !unicode.IsLetter(r) && (l.pos == start || !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)) {
			break
		}
		l.pos += size
	}
	name := l.src[start:l.pos]
	switch {
	case name == "":
		return "", fmt.Errorf("%s where a parameter name was expected", l.next())
	case slices.Contains(keywords, name):
		return "", fmt.Errorf("%q is a keyword of Python", name)
	case slices.Contains(l.sig.names, name), name == l.sig.varArgs, name == l.sig.varKw:
		return "", fmt.Errorf("parameter %s appears twice", name)
	}
	return name, nil
}

// annotation skips ": expression", which ends at a comma or an equals sign
// outside brackets and strings.
func (l *paramList) annotation(name string) error {
	if !l.eat(":") {
		return nil
	}
	l.space()
	start, depth := l.pos, 0
	for ; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case c == '\'' || c == '"':
			if _, err := l.stringLiteral(nil, false); err != nil {
				return fmt.Errorf("annotation of %s: %w", name, err)
			}
			l.pos--
		case (c == ',' || c == '=') && depth == 0:
			if l.pos == start {
				return fmt.Errorf("annotation of %s is empty", name)
			}
			return nil
		}
		if depth < 0 {
			return fmt.Errorf("annotation of %s: unbalanced brackets", name)
		}
	}
	if depth > 0 || l.pos == start {
		return fmt.Errorf("annotation of %s is incomplete", name)
	}
	return nil
}

var keywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
	"del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
	"lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
}
