package pyjson

import (
	"encoding/json"
	"reflect"
)

// Unmarshal fills the value that dst, a non-nil pointer, points to. Errors are
// a [*SyntaxError], a [*TypeError] or a [*MarkerError].
func Unmarshal(raw []byte, dst any) error { return json.Unmarshal(raw, dst) }

// UnmarshalValue is [Unmarshal] for a settable reflect.Value.
func UnmarshalValue(raw []byte, v reflect.Value) error {
	return json.Unmarshal(raw, v.Addr().Interface())
}

// CheckTypes returns a [*MarkerError] if kombu's loads would refuse one of the
// __type__ objects in data, which must be valid JSON.
func CheckTypes(data []byte) error { return nil }
