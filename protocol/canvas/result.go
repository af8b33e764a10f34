package canvas

import "github.com/apium/apium/protocol/pyjson"

// Result is where the result of something applied will be: one task's, or a group's.
type Result struct {
	ID      string
	Parent  *Result // the result of the step before
	Group   bool
	Members []*Result // of a group
}

// Append writes the result as Python's as_tuple does: [[id, parent], members], in which
// the members of a task are null. Records hold children in this form.
func (r *Result) Append(dst []byte) []byte {
	dst = pyjson.AppendString(append(dst, "[["...), r.ID)
	dst = pyjson.AppendComma(dst)
	if r.Parent != nil {
		dst = r.Parent.Append(dst)
	} else {
		dst = append(dst, null...)
	}
	dst = append(dst, "], "...)
	if !r.Group {
		return append(dst, "null]"...)
	}
	dst = append(dst, '[')
	for _, member := range r.Members {
		dst = member.Append(pyjson.AppendComma(dst))
	}
	return append(dst, "]]"...)
}

// MarshalJSON makes a handler's result of it what a Python task's is that returns an
// AsyncResult: as_tuple, which result_from_tuple reads.
func (r *Result) MarshalJSON() ([]byte, error) { return r.Append(nil), nil }

// first is the result at the beginning: the one without a parent.
func (r *Result) first() *Result {
	for r.Parent != nil {
		r = r.Parent
	}
	return r
}
