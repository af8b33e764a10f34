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
	reflect.TypeFor[time.Duration]():  "float", // seconds
	reflect.TypeFor[json.Number]():    "float",
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
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return "bool"
	case k >= reflect.Int && k <= reflect.Uintptr:
		return "int"
	case k == reflect.Float32 || k == reflect.Float64:
		return "float"
	case k == reflect.String:
		return "str"
	case k == reflect.Slice || k == reflect.Array:
		return "list"
	case k == reflect.Map || k == reflect.Struct:
		return "dict"
	default:
		return t.String()
	}
}

// isNumber reports whether a Go type holds Python's ints or floats.
func isNumber(t reflect.Type) bool {
	name := pythonType(t)
	return name == "int" || name == "float"
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
		if t == reflect.TypeFor[*Request]() {
			return "a HandlerFunc has the form func(context.Context, *tasks.Request) (any, error)"
		}
		return unbindable(t.Elem())
	case reflect.Map:
		if key := reflect.Zero(t.Key()); key.Kind() != reflect.String && !key.CanInt() && !key.CanUint() && !decodesItself(t.Key()) {
			return "the keys of its map are no strings and no integers"
		}
		return unbindable(t.Elem())
	default:
	}
	return ""
}
