package pyjson

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

func decodeBool(d *decoder, v reflect.Value) error {
	if c := d.peek(); c != 't' && c != 'f' {
		return d.mismatch(v.Type(), nil)
	}
	b, err := d.bool()
	if err == nil {
		v.SetBool(b)
	}
	return err
}

func decodeInt(d *decoder, v reflect.Value) error {
	n, err := d.signed(v.Type().Bits(), v.Type())
	if err == nil {
		v.SetInt(n)
	}
	return err
}

func decodeUint(d *decoder, v reflect.Value) error {
	n, err := d.unsigned(v.Type().Bits(), v.Type())
	if err == nil {
		v.SetUint(n)
	}
	return err
}

func decodeFloat(d *decoder, v reflect.Value) error {
	f, err := d.float(v.Type().Bits(), v.Type())
	if err == nil {
		v.SetFloat(f)
	}
	return err
}

func decodeString(d *decoder, v reflect.Value) error {
	text, err := d.string()
	if err != nil {
		return retype(err, v.Type())
	}
	v.SetString(text)
	return nil
}

func decodeInterface(d *decoder, v reflect.Value) error {
	if d.null() {
		v.SetZero()
		return nil
	}
	if v.NumMethod() > 0 {
		return d.mismatch(v.Type(), nil)
	}
	x, err := d.any()
	if err == nil {
		v.Set(reflect.ValueOf(x))
	}
	return err
}

func pointerDecoder(elem *codec) func(*decoder, reflect.Value) error {
	return func(d *decoder, v reflect.Value) error {
		if d.null() {
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return elem.decode(d, v.Elem())
	}
}

// decodeBytes fills a []byte from bytes, from a string's UTF-8 or from a list
// of small ints.
func decodeBytes(d *decoder, v reflect.Value) error {
	switch d.peek() {
	case 'n':
		if d.null() {
			v.SetZero()
			return nil
		}
	case '[':
		return decodeSmallInts(d, v)
	}
	b, err := specialOr(d, func(s string) ([]byte, error) { return []byte(s), nil })
	if err != nil {
		return retype(err, v.Type())
	}
	v.SetBytes(b)
	return nil
}

var decodeSmallInts = sliceDecoder(&codec{decode: decodeUint})

// retype puts the type that was asked for into an error about one like it.
func retype(err error, t reflect.Type) error {
	var e *TypeError
	if errors.As(err, &e) {
		e.Type = t
	}
	return err
}

func sliceDecoder(elem *codec) func(*decoder, reflect.Value) error {
	return func(d *decoder, v reflect.Value) error {
		if d.null() {
			v.SetZero()
			return nil
		}
		if d.peek() != '[' {
			return d.mismatch(v.Type(), nil)
		}
		if err := d.enter(); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		grow := 4
		for i := 0; ; i++ {
			more, err := d.more(i == 0, ']')
			if !more {
				return err
			}
			if i == v.Cap() {
				v.Grow(grow)
				grow = 1 // from here on Grow doubles
			}
			v.SetLen(i + 1)
			if err := elem.decode(d, v.Index(i)); err != nil {
				return atPath("["+strconv.Itoa(i)+"]", err)
			}
		}
	}
}

func arrayDecoder(elem *codec) func(*decoder, reflect.Value) error {
	return func(d *decoder, v reflect.Value) error {
		start, depth := d.pos, d.depth
		if d.peek() == '{' && v.Type().Elem().Kind() == reflect.Uint8 {
			return decodeByteArray(d, v)
		}
		if d.peek() != '[' {
			return d.mismatch(v.Type(), nil)
		}
		if err := d.enter(); err != nil {
			return err
		}
		for i := 0; ; i++ {
			more, err := d.more(i == 0, ']')
			if err == nil && more != (i < v.Len()) {
				d.pos, d.depth = start, depth
				return d.mismatch(v.Type(), fmt.Errorf("it does not have %d elements", v.Len()))
			}
			if !more {
				return err
			}
			if err := elem.decode(d, v.Index(i)); err != nil {
				return atPath("["+strconv.Itoa(i)+"]", err)
			}
		}
	}
}

// decodeByteArray fills an array of bytes from bytes or a UUID of its length.
func decodeByteArray(d *decoder, v reflect.Value) error {
	start := d.pos
	x, err := d.special()
	if err != nil {
		return err
	}
	b, ok := x.([]byte)
	if u, isUUID := x.(UUID); isUUID {
		b, ok = u[:], true
	}
	if !ok || len(b) != v.Len() {
		d.pos = start
		return d.mismatch(v.Type(), nil)
	}
	for i, c := range b {
		v.Index(i).SetUint(uint64(c))
	}
	return nil
}

func mapDecoder(elem *codec, t reflect.Type) func(*decoder, reflect.Value) error {
	parseKey := keyParser(t.Key())
	return func(d *decoder, v reflect.Value) error {
		if d.null() {
			v.SetZero()
			return nil
		}
		if err := d.notMarker(t); err != nil {
			return err
		}
		if err := d.enter(); err != nil {
			return err
		}
		v.Set(reflect.MakeMap(t))
		value := reflect.New(t.Elem()).Elem()
		for first := true; ; first = false {
			more, err := d.more(first, '}')
			if !more {
				return err
			}
			key, err := d.key()
			if err != nil {
				return err
			}
			name := string(key)
			k := reflect.New(t.Key()).Elem()
			if err := parseKey(name, k); err != nil {
				return &TypeError{Type: t, Got: "dict", Err: fmt.Errorf("key %q: %w", name, err)}
			}
			value.SetZero()
			if err := elem.decode(d, value); err != nil {
				return atPath(name, err)
			}
			v.SetMapIndex(k, value)
		}
	}
}

// keyParser returns how the keys of a Go map are read from strings.
func keyParser(t reflect.Type) func(string, reflect.Value) error {
	switch {
	case reflect.PointerTo(t).Implements(textUnmarshalerType):
		return func(s string, v reflect.Value) error {
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
		}
	case t.Kind() == reflect.String:
		return func(s string, v reflect.Value) error { v.SetString(s); return nil }
	case reflect.Zero(t).CanInt():
		return func(s string, v reflect.Value) error {
			n, err := strconv.ParseInt(s, 10, t.Bits())
			v.SetInt(n)
			return err
		}
	case reflect.Zero(t).CanUint():
		return func(s string, v reflect.Value) error {
			n, err := strconv.ParseUint(s, 10, t.Bits())
			v.SetUint(n)
			return err
		}
	case t.Kind() == reflect.Interface && t.NumMethod() == 0:
		return func(s string, v reflect.Value) error { v.Set(reflect.ValueOf(s)); return nil }
	default:
		return func(string, reflect.Value) error { return fmt.Errorf("a str is no Go %s", t) }
	}
}

// unmarshalerDecoder hands the text as it stands to UnmarshalJSON. A type that
// reads text too gets that from a __type__ object: a decimal or UUID type knows
// "1.10" but not kombu's objects.
func unmarshalerDecoder(readsText bool) func(*decoder, reflect.Value) error {
	return func(d *decoder, v reflect.Value) error {
		start := d.pos
		if readsText && d.peek() == '{' {
			text, ok, err := d.textOrSpecial()
			if err != nil {
				return err
			}
			if ok {
				return d.setText(v, start, text)
			}
		}
		raw, err := d.raw()
		if err != nil {
			return err
		}
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw); err != nil {
			d.pos = start
			return d.mismatch(v.Type(), err)
		}
		return nil
	}
}

func decodeText(d *decoder, v reflect.Value) error {
	start := d.pos
	text, ok, err := d.textOrSpecial()
	switch {
	case err != nil:
		return err
	case !ok:
		return d.mismatch(v.Type(), nil)
	}
	return d.setText(v, start, text)
}

// textOrSpecial takes a string, or a __type__ object as the text of its value.
func (d *decoder) textOrSpecial() (text []byte, ok bool, err error) {
	if d.peek() != '{' {
		return d.text()
	}
	start := d.pos
	x, err := d.special()
	if text, ok = markerText(x); !ok {
		d.pos = start
	}
	return text, ok, err
}

// setText hands text, which began at start, to UnmarshalText.
func (d *decoder) setText(v reflect.Value, start int, text []byte) error {
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text)
	if err != nil {
		d.pos = start
		return d.mismatch(v.Type(), err)
	}
	return nil
}
