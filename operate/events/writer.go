package events

import (
	"strconv"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// fields are the members of a JSON object that is being written, in Python's form.
type fields []byte

func (f fields) text(name, value string) fields { return pyjson.AppendString(f.key(name), value) }

// textOrNull writes null for "".
func (f fields) textOrNull(name, value string) fields {
	if value == "" {
		return f.raw(name, "null")
	}
	return f.text(name, value)
}

func (f fields) integer(name string, value int64) fields {
	return strconv.AppendInt(f.key(name), value, 10)
}

func (f fields) boolean(name string, value bool) fields {
	return strconv.AppendBool(f.key(name), value)
}

func (f fields) float(name string, value float64) fields { return appendFloat(f.key(name), value) }

func (f fields) time(name string, t time.Time) fields {
	if t.IsZero() {
		return f.raw(name, "null")
	}
	return append(protocol.AppendTime(append(f.key(name), '"'), t), '"')
}

func (f fields) raw(name, value string) fields { return append(f.key(name), value...) }

func (f fields) key(name string) fields {
	return append(append(append(f, `, "`...), name...), `": `...)
}

// appendFloat never leaves out the point, as Python.
func appendFloat(dst []byte, f float64) []byte {
	encoded, err := pyjson.Append(dst, f)
	if err != nil {
		panic(err) // a number has a JSON form
	}
	return encoded
}
