package tasks

import (
	"slices"

	"github.com/apium/apium/protocol/pyjson"
)

// Check says whether a call with these arguments, a JSON array and object, has what the
// parameters need. The error is the TypeError that Python raises when such a call is
// published. Their values are not looked at. Handlers without parameters take everything.
func (e *Entry) Check(args, kwargs []byte) error {
	sig := e.signature()
	if sig == nil {
		return nil
	}
	// Celery's check (head_from_fun) forgets which parameters are positional-only.
	checked := *sig
	checked.posOnly = 0
	var b bound
	return checked.bind(&b, e.Name, args, kwargs)
}

// CheckCall is Check for the task of a name; of tasks that are not registered it knows nothing.
func (r *Registry) CheckCall(name string, args, kwargs []byte) error {
	entry, ok := r.Lookup(name)
	if !ok {
		return nil
	}
	return entry.Check(args, kwargs)
}

// Rebind works out the arguments of a retry for which only new positional arguments, or
// only new keyword arguments, were given: nil stands for those that were not. As in
// Celery (celery/app/task.py: retry), the others are inherited, unless they would give a
// parameter a second value.
func (e *Entry) Rebind(args, kwargs, newArgs, newKwargs []byte) (a, k []byte) {
	sig := e.signature()
	switch {
	case newArgs != nil && newKwargs != nil:
		return newArgs, newKwargs
	case newArgs != nil:
		if sig != nil {
			kwargs = sig.withoutPositional(kwargs, len(pyjson.Elements(newArgs)))
		}
		return newArgs, kwargs
	case newKwargs != nil:
		if sig != nil {
			return sig.replacePositional(args, newKwargs)
		}
		return args, newKwargs
	}
	return args, kwargs
}

// signature is the task's parameter list; nil if it has none.
func (e *Entry) signature() *signature {
	switch h := e.Handler.(type) {
	case *function:
		return h.sig
	case *celeryTaskHandler:
		return h.sig
	}
	return nil
}

// withoutPositional leaves out keyword arguments that name one of the first n parameters.
func (s *signature) withoutPositional(kwargs []byte, n int) []byte {
	byName := s.names[s.posOnly:max(s.posOnly, min(n, s.pos))]
	list := []byte{'{'}
	for key, value := range pyjson.Members(kwargs) {
		if !slices.Contains(byName, key) {
			list = append(pyjson.AppendKey(list, key), value...)
		}
	}
	return append(list, '}')
}

// replacePositional puts keyword arguments in the place of positional ones for the same
// parameter. It changes nothing when there are too many positional arguments: the call
// fails as it is.
func (s *signature) replacePositional(args, kwargs []byte) (a, k []byte) {
	given := pyjson.Elements(args)
	if len(given) > s.pos && s.varArgs == "" {
		return args, kwargs
	}
	left := []byte{'{'}
	for key, value := range pyjson.Members(kwargs) {
		i := slices.Index(s.names[:s.pos], key)
		if i < s.posOnly || i >= len(given) {
			left = append(pyjson.AppendKey(left, key), value...)
		} else {
			given[i] = value
		}
	}
	return pyjson.AppendArray(nil, given), append(left, '}')
}
