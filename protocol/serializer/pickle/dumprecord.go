package pickle

import (
	"slices"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/serializer/plain"
)

// raised is an exception that is written as the object it is in Python.
type raised struct {
	module, name string
	args         *plain.List
}

// builtin are exceptions that every Python has and that any arguments make: those of
// Python 2 without the ones that check their arguments.
var builtin = []string{
	"ArithmeticError", "AssertionError", "AttributeError", "BufferError", "EOFError", "EnvironmentError", "Exception",
	"FloatingPointError", "IOError", "ImportError", "IndexError", "KeyError", "LookupError", "MemoryError", "NameError",
	"NotImplementedError", "OSError", "OverflowError", "ReferenceError", "RuntimeError", "StopIteration", "TypeError",
	"UnboundLocalError", "UnicodeError", "ValueError", "ZeroDivisionError",
}

// DumpRecord writes a result record. A builtin exception becomes an object, as Celery
// pickles it, so that clients of Celery 3.1 can raise it, too. Any other stays a dict
// of exc_type, exc_message and exc_module, which Celery 4 and later turn into the
// exception just as they do with JSON: as an object it would make the whole record
// unreadable wherever its class cannot be imported or takes other arguments.
func DumpRecord(v any) ([]byte, error) {
	record, ok := v.(*plain.Dict)
	if !ok {
		return Dump(v)
	}
	switch state, _ := record.Get("status").(string); protocol.State(state) {
	case protocol.Failure, protocol.Retry, protocol.Revoked:
		record = &plain.Dict{Keys: record.Keys, Values: slices.Clone(record.Values)}
		for i, key := range record.Keys {
			if key == any("result") {
				record.Values[i] = asRaised(record.Values[i])
			}
		}
	default: // its result is no exception
	}
	return Dump(record)
}

// asRaised returns the exception that v describes, or v.
func asRaised(v any) any {
	dict, ok := v.(*plain.Dict)
	if !ok {
		return v
	}
	name, _ := dict.Get("exc_type").(string)
	args, ok := dict.Get("exc_message").(*plain.List)
	if !ok || dict.Get("exc_module") != any("builtins") || !slices.Contains(builtin, name) {
		return v
	}
	return &raised{"exceptions", name, args} // Python 3 knows its old name
}
