package protocol

import (
	"errors"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// Exception is a Python exception as records carry it.
type Exception struct { //nolint:errname // Python calls it so
	Type   string // class name: "ValueError"; nested classes with dots
	Module string // "builtins"; "" in records of Celery before 4.2
	// Message is the raw JSON array of the constructor's arguments; nil: [].
	// Celery before 4.2 writes a string instead.
	Message   []byte
	Traceback string // kept in the record's own field, not in the exception object
	// Representation is Python's own repr, where Python has made one; "": Repr works it out.
	Representation string
}

// Error returns the last line of a Python traceback: "ValueError: bad".
func (e *Exception) Error() string {
	name := e.Type
	if e.Module != "" && e.Module != "builtins" {
		name = e.Module + "." + name
	}
	if text := e.Text(); text != "" {
		return name + ": " + text
	}
	return name
}

// Text is Python's str(exc): the only argument, or the tuple of them.
func (e *Exception) Text() string {
	first, n := e.Message, 1
	s := pyjson.NewScanner(e.Message)
	if s.Enter('[') {
		for n = 0; s.Next(); n++ {
			if n == 0 {
				first = s.Value()
			}
		}
	}
	switch {
	case n == 0 || len(first) == 0:
		return ""
	case n > 1:
		return string(appendTuple(nil, e.Message))
	case pyjson.Kind(first) == '"' && e.Type != "KeyError":
		text, _ := pyjson.Unquote(first)
		return text
	default:
		return string(appendRepr(nil, first))
	}
}

// Repr returns Python's repr of the exception, for logs and events:
// ValueError('bad', 1).
func (e *Exception) Repr() string {
	if e.Representation != "" {
		return e.Representation
	}
	// repr leaves out the classes around a nested one.
	dst := []byte(e.Type[1+strings.LastIndexByte(e.Type, '.'):])
	switch pyjson.Kind(e.Message) {
	case 0:
		return string(append(dst, "()"...))
	case '[':
		return string(appendTuple(dst, e.Message))
	default:
		dst = appendRepr(append(dst, '('), e.Message)
		return string(append(dst, ')'))
	}
}

// Append writes the exception as it stands in a record's result.
func (e *Exception) Append(dst []byte) []byte {
	dst = append(dst, `{"exc_type": `...)
	dst = pyjson.AppendString(dst, e.Type)
	dst = append(dst, `, "exc_message": `...)
	dst = appendRaw(dst, e.Message, "[]")
	dst = append(dst, `, "exc_module": `...)
	dst = pyjson.AppendString(dst, e.Module)
	return append(dst, '}')
}

// DecodeException reads the result of a FAILURE, RETRY or REVOKED record.
func DecodeException(raw []byte) (*Exception, error) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		if err := s.End(); err != nil {
			return nil, &DecodeError{"exception", err}
		}
		return nil, &DecodeError{"exception", errors.New("not a JSON object")}
	}
	var e Exception
	for s.Next() {
		switch string(s.Key()) {
		case "exc_type":
			e.Type = string(s.Scalar())
		case "exc_module":
			e.Module = string(s.Scalar())
		case "exc_message":
			e.Message = s.Value()
		}
	}
	if err := s.End(); err != nil {
		return nil, &DecodeError{"exception", err}
	}
	if e.Type == "" {
		return nil, &DecodeError{"exception.exc_type", errMissing}
	}
	return &e, nil
}
