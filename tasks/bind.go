package tasks

import "github.com/apium/apium/protocol/pyjson"

// bound holds the raw arguments of one call, spread over a signature's parameters.
type bound struct {
	slots [][]byte  // one per name of the signature; nil: not given
	rest  [][]byte  // for *args
	extra []keyword // for **kwargs
}

// keyword is a keyword argument that no parameter is named after.
type keyword struct {
	name string
	raw  []byte
}

func (b *bound) reset(names int) {
	if cap(b.slots) < names {
		b.slots = make([][]byte, names)
	}
	b.slots = b.slots[:names]
	clear(b.slots)
	clear(b.rest)
	clear(b.extra)
	b.rest, b.extra = b.rest[:0], b.extra[:0]
}

// bind spreads the arguments of a call over the parameters. It checks what CPython's
// initialize_locals (Python/ceval.c) checks, in the same order, because the first
// check that fails words the error.
func (s *signature) bind(b *bound, task string, args, kwargs []byte) error {
	b.reset(len(s.names))
	given, err := s.bindPositional(b, task, args)
	if err != nil {
		return err
	}
	if err := s.bindKeywords(b, task, kwargs, given); err != nil {
		return err
	}
	if given > s.pos && s.varArgs == "" {
		return s.tooManyPositional(b, task, given)
	}
	if s.missing(b, 0, s.pos) > 0 {
		return s.missingArguments(b, task, "positional", 0, s.pos, given)
	}
	if s.missing(b, s.pos, len(s.names)) > 0 {
		return s.missingArguments(b, task, "keyword-only", s.pos, len(s.names), given)
	}
	for i, raw := range b.slots {
		if raw == nil {
			b.slots[i] = s.defaults[i]
		}
	}
	return nil
}

// missing counts the required parameters in names[from:to] that have no argument.
func (s *signature) missing(b *bound, from, to int) (n int) {
	for i := from; i < to; i++ {
		if b.slots[i] == nil && s.defaults[i] == nil {
			n++
		}
	}
	return n
}

// bindPositional takes the array of positional arguments and returns their number.
func (s *signature) bindPositional(b *bound, task string, args []byte) (given int, err error) {
	if isNull(args) {
		return 0, nil
	}
	scan := pyjson.NewScanner(args)
	if !scan.Enter('[') {
		return 0, typeError("%s() argument after * must be an iterable, not %s", task, pyjson.PythonType(args))
	}
	for ; scan.Next(); given++ {
		if given < s.pos {
			b.slots[given] = scan.Value()
		} else if s.varArgs != "" {
			b.rest = append(b.rest, scan.Value())
		}
	}
	return given, scan.End()
}

// bindKeywords takes the object of keyword arguments. Of a name that stands in it
// twice the last value counts, as in a Python dict.
func (s *signature) bindKeywords(b *bound, task string, kwargs []byte, given int) error {
	if isNull(kwargs) {
		return nil
	}
	scan := pyjson.NewScanner(kwargs)
	if !scan.Enter('{') {
		return &raised{module: "celery.exceptions", class: "InvalidTaskError", text: "Task keyword arguments is not a mapping"}
	}
	for scan.Next() {
		key := scan.Key()
		i := s.posOnly
		for i < len(s.names) && string(key) != s.names[i] {
			i++
		}
		switch {
		case s.unnamed:
			return typeError("%s() takes no keyword arguments", shortName(task))
		case i < given && i < s.pos:
			return typeError("%s() got multiple values for argument '%s'", shortName(task), key)
		case i < len(s.names):
			b.slots[i] = scan.Value()
		case s.varKw != "":
			b.extra = append(b.extra, keyword{string(key), scan.Value()})
		default:
			return s.unexpectedKeyword(task, string(key), kwargs)
		}
	}
	return scan.End()
}

// isNull reports whether there are no arguments. Python workers refuse null, but
// producers that are not written in Python send it for an empty list or dict.
func isNull(raw []byte) bool { return len(raw) == 0 || pyjson.Kind(raw) == 'n' }
