package tasks

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// The texts of this file are CPython 3.11's, from Python/ceval.c;
// testdata/typeerrors.json holds what Python itself says.

func typeError(format string, args ...any) error {
	return &raised{module: "builtins", class: "TypeError", text: fmt.Sprintf(format, args...)}
}

// shortName is a task's function name, which Python's messages begin with.
func shortName(task string) string { return task[strings.LastIndexByte(task, '.')+1:] }

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (s *signature) tooManyPositional(b *bound, task string, given int) error {
	takes, takesPlural := fmt.Sprint(s.pos), plural(s.pos)
	if s.optional > 0 {
		takes, takesPlural = fmt.Sprintf("from %d to %d", s.pos-s.optional, s.pos), "s"
	}
	keywordOnly := 0
	for _, raw := range b.slots[s.pos:] {
		if raw != nil {
			keywordOnly++
		}
	}
	was, also := "were", ""
	switch {
	case keywordOnly > 0:
		also = fmt.Sprintf(" positional argument%s (and %d keyword-only argument%s)",
			plural(given), keywordOnly, plural(keywordOnly))
	case given == 1:
		was = "was"
	}
	return typeError("%s() takes %s positional argument%s but %d%s %s given",
		shortName(task), takes, takesPlural, given, also, was)
}

func (s *signature) missingArguments(b *bound, task, kind string, from, to, given int) error {
	if s.unnamed { // the words of functions written in C, which have no names either
		takes := "exactly"
		if s.varArgs != "" {
			takes = "at least"
		}
		return typeError("%s() takes %s %d positional argument%s (%d given)",
			shortName(task), takes, s.pos, plural(s.pos), given)
	}
	n := s.missing(b, from, to)
	var list strings.Builder
	written := 0
	for i := from; i < to; i++ {
		if b.slots[i] != nil || s.defaults[i] != nil {
			continue
		}
		switch written++; {
		case written == 1:
		case n == 2:
			list.WriteString(" and ")
		case written == n:
			list.WriteString(", and ")
		default:
			list.WriteString(", ")
		}
		list.WriteString("'" + s.names[i] + "'")
	}
	return typeError("%s() missing %d required %s argument%s: %s", shortName(task), n, kind, plural(n), list.String())
}

// unexpectedKeyword says that no parameter takes key, or rather that one does which
// is positional-only: then Python lists all such arguments.
func (s *signature) unexpectedKeyword(task, key string, kwargs []byte) error {
	var keys []string
	for key := range pyjson.Members(kwargs) {
		keys = append(keys, key)
	}
	var positionalOnly []string
	for _, name := range s.names[:s.posOnly] {
		if slices.Contains(keys, name) {
			positionalOnly = append(positionalOnly, name)
		}
	}
	if positionalOnly != nil {
		return typeError("%s() got some positional-only arguments passed as keyword arguments: '%s'",
			shortName(task), strings.Join(positionalOnly, ", "))
	}
	return typeError("%s() got an unexpected keyword argument '%s'", shortName(task), key)
}

// badArgument words the error of an argument whose value its parameter cannot take.
// A parameter without a name is called by its number.
func badArgument(task, param string, err error) error {
	if param[0] < '0' || param[0] > '9' {
		param = "'" + param + "'"
	}
	subject := fmt.Sprintf("%s() argument %s", shortName(task), param)
	var mismatch *pyjson.TypeError
	class := "ValueError"
	if errors.As(err, &mismatch) {
		if mismatch.Path != "" {
			subject += ": " + mismatch.Path
		}
		if mismatch.Err == nil {
			return typeError("%s must be %s, not %s", subject, pythonType(mismatch.Type), mismatch.Got)
		}
		if err = mismatch.Err; isNumber(mismatch.Type) {
			class = "OverflowError"
		}
	}
	return &raised{module: "builtins", class: class, text: subject + ": " + err.Error(), cause: err}
}
