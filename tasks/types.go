package tasks

import (
	"encoding"
	"encoding/json"
	"math/big"
	"reflect"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// pythonTypes names the Python types of Go types whose kind does not tell.
var pythonTypes = map[reflect.Type]string{
	reflect.TypeFor[[]byte]():         "bytes",
	reflect.TypeFor[big.Int]():        "int",
	reflect.TypeFor[time.Time]():      "datetime",
	reflect.TypeFor[pyjson.Date]():    "date",
	reflect.TypeFor[pyjson.Clock]():   "time",
	reflect.TypeFor[pyjson.Decimal](): "Decimal",
	reflect.TypeFor[pyjson.UUID]():    "UUID",
}

// pythonType names the Python type whose values a Go type takes, or the Go type
// where Python has no word for it.
func pythonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name := pythonTypes[t]; name != "" {
		return name
	}
	if decodesItself(t) {
		return t.String()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return "int"
	case reflect.Float32, reflect.Float64:
		return "float"
	case reflect.String:
		return "str"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map, reflect.Struct:
		return "dict"
	default:
		return t.String()
	}
}

// decodesItself reports whether values of t read their own JSON.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// unbindable says why no JSON value can become a t, "" when one can.
func unbindable(t reflect.Type) string {
	if decodesItself(t) {
		return ""
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return "it is a " + t.Kind().String()
	case reflect.Interface:
		if t == contextType {
			return "a context stands first"
		}
		if t.NumMethod() > 0 {
			return "an interface with methods does not say which type to make"
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return unbindable(t.Elem())
	case reflect.Map:
		if t.Key().Kind() != reflect.String && !decodesItself(t.Key()) {
			return "the keys of its map are no strings"
		}
		return unbindable(t.Elem())
	default:
	}
	return ""
}
