package pyjson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

type encodeFunc = func(dst []byte, v reflect.Value, depth int) ([]byte, error)

func encodeBool(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	return strconv.AppendBool(dst, v.Bool()), nil
}

func encodeInt(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	return strconv.AppendInt(dst, v.Int(), 10), nil
}

func encodeUint(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	return strconv.AppendUint(dst, v.Uint(), 10), nil
}

func encodeFloat(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	return appendFloat(dst, v.Float(), v.Type().Bits()), nil
}

func encodeString(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	return appendString(dst, v.String()), nil
}

func encodeBytes(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	return appendBytes(dst, v.Bytes())
}

func encodeInterface(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.IsNil() {
		return append(dst, "null"...), nil
	}
	v = v.Elem()
	return codecOf(v.Type()).encode(dst, v, depth)
}

func pointerEncoder(elem *codec, t reflect.Type) encodeFunc {
	// Whatever contains itself does so through a container, which counts, or
	// through pointers only.
	step := 0
	if kind := t.Elem().Kind(); kind == reflect.Pointer || kind == reflect.Interface {
		step = 1
	}
	return func(dst []byte, v reflect.Value, depth int) ([]byte, error) {
		if v.IsNil() {
			return append(dst, "null"...), nil
		}
		if depth+step > maxDepth {
			return dst, ErrTooDeep
		}
		return elem.encode(dst, v.Elem(), depth+step)
	}
}

func listEncoder(elem *codec) encodeFunc {
	return func(dst []byte, v reflect.Value, depth int) ([]byte, error) {
		if depth >= maxDepth {
			return dst, ErrTooDeep
		}
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			var err error
			if dst, err = elem.encode(dst, v.Index(i), depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
}

func mapEncoder(elem *codec, t reflect.Type) encodeFunc {
	type member struct {
		key   string
		value reflect.Value
	}
	return func(dst []byte, v reflect.Value, depth int) ([]byte, error) {
		if depth >= maxDepth {
			return dst, ErrTooDeep
		}
		members := make([]member, 0, v.Len())
		for iter := v.MapRange(); iter.Next(); {
			key, err := keyText(iter.Key())
			if err != nil {
				return dst, fmt.Errorf("%s: %w", t, err)
			}
			members = append(members, member{key, iter.Value()})
		}
		slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
		dst = append(dst, '{')
		for i, m := range members {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(appendString(dst, m.key), ": "...)
			var err error
			if dst, err = elem.encode(dst, m.value, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
}

// keyText writes a map key as Python's json writes the keys of a dict.
func keyText(k reflect.Value) (string, error) {
	if k.Kind() == reflect.Interface && !k.IsNil() {
		k = k.Elem()
	}
	if k.Kind() != reflect.String && k.Type().Implements(textMarshalerType) {
		text, err := k.Interface().(encoding.TextMarshaler).MarshalText()
		return string(text), err
	}
	switch {
	case k.Kind() == reflect.String:
		return k.String(), nil
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	case k.CanFloat():
		return string(appendFloat(nil, k.Float(), k.Type().Bits())), nil
	case k.Kind() == reflect.Bool:
		return strconv.FormatBool(k.Bool()), nil
	case k.Kind() == reflect.Interface:
		return "null", nil
	default:
		return "", fmt.Errorf("keys must be str, int, float, bool or None, not %s", k.Type())
	}
}

func structEncoder(fields *structFields) encodeFunc {
	return func(dst []byte, v reflect.Value, depth int) ([]byte, error) {
		if depth >= maxDepth {
			return dst, ErrTooDeep
		}
		dst = append(dst, '{')
		first := true
		for i := range fields.list {
			f := &fields.list[i]
			value, err := v.FieldByIndexErr(f.index)
			if err != nil || f.omitEmpty && isEmpty(value) || f.omitZero && isZero(value) {
				continue // an error means that an embedded pointer is nil
			}
			if !first {
				dst = append(dst, ", "...)
			}
			first = false
			dst = append(dst, f.prefix...)
			if dst, err = f.codec.encode(dst, value, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
}

// isEmpty is what the tag omitempty asks.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// isZero is what the tag omitzero asks.
func isZero(v reflect.Value) bool {
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		return z.IsZero()
	}
	return v.IsZero()
}

func encodeMarshaler(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	text, err := v.Interface().(json.Marshaler).MarshalJSON()
	if err == nil {
		err = Valid(text)
	}
	if err != nil {
		return dst, fmt.Errorf("%s: MarshalJSON: %w", v.Type(), err)
	}
	return append(dst, text...), nil
}

func encodeTextMarshaler(dst []byte, v reflect.Value, _ int) ([]byte, error) {
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return dst, fmt.Errorf("%s: MarshalText: %w", v.Type(), err)
	}
	return appendString(dst, text), nil
}

// whenAddressable uses a method that only the pointer to a value has, if there
// is a pointer to it.
func whenAddressable(method, other encodeFunc) encodeFunc {
	return func(dst []byte, v reflect.Value, depth int) ([]byte, error) {
		if v.CanAddr() {
			return method(dst, v.Addr(), depth)
		}
		return other(dst, v, depth)
	}
}
