package pyjson

import (
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest, in both directions.
// Python's own limit is its recursion limit, 1000 by default.
const maxDepth = 1000

// ErrTooDeep is returned by [Append] for a value nested more than 1000 levels
// deep, which a pointer to itself is.
var ErrTooDeep = errors.New("pyjson: value is nested too deep or contains itself")

// A SyntaxError says where a text stops being JSON, in the words of Python's
// JSONDecodeError, or where an int is longer than Python reads.
type SyntaxError struct {
	Msg    string
	Offset int // in bytes from the start of the text given

	line, column, char int // counted in code points, as Python does
}

func newSyntaxError(data []byte, offset int, msg string) *SyntaxError {
	e := &SyntaxError{Msg: msg, Offset: offset, line: 1, column: 1}
	for rest := data[:min(offset, len(data))]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		e.char++
		e.column++
		if r == '\n' {
			e.line++
			e.column = 1
		}
	}
	return e
}

func (e *SyntaxError) Error() string {
	if e.line == 0 { // Python says no place
		return e.Msg
	}
	return fmt.Sprintf("%s: line %d column %d (char %d)", e.Msg, e.line, e.column, e.char)
}

// A TypeError says that a value does not fit the Go type it was to fill.
type TypeError struct {
	Type reflect.Type // the Go type
	Got  string       // the Python type of the value: NoneType, bool, int, float, str, list, dict, datetime, date, time, Decimal, UUID, bytes
	Path string       // where inside the value, as "items[2].price"; empty for the value itself
	Err  error        // what is wrong although the kinds fit, as "300 is out of range"; else nil
}

func (e *TypeError) Error() string {
	msg := fmt.Sprintf("cannot use %s as Go %s", e.Got, e.Type)
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	if e.Path != "" {
		msg = e.Path + ": " + msg
	}
	return msg
}

func (e *TypeError) Unwrap() error { return e.Err }

// atPath puts the name of the part that failed before an error's path.
func atPath(part string, err error) error {
	var e *TypeError
	if errors.As(err, &e) {
		if e.Path != "" && e.Path[0] != '[' {
			part += "."
		}
		e.Path = part + e.Path
	}
	return err
}

// A MarkerError is a {"__type__": …, "__value__": …} object with a value that its type
// cannot have. Kombu's loads refuses it.
type MarkerError struct {
	Type string // the __type__
	Err  error
}

func (e *MarkerError) Error() string {
	return fmt.Sprintf("bad __value__ for __type__ %s: %v", e.Type, e.Err)
}

// Unwrap returns the cause.
func (e *MarkerError) Unwrap() error { return e.Err }

// An UnsupportedTypeError is returned by [Append] for a Go type that has no
// JSON form, such as a channel or a function.
type UnsupportedTypeError struct {
	Type reflect.Type
}

func (e *UnsupportedTypeError) Error() string {
	return fmt.Sprintf("Object of type %s is not JSON serializable", e.Type)
}
