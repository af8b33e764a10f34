package pyjson

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// RegisterType is kombu's register_type (kombu.utils.json): it teaches this program a
// type that the Python side has registered under the same marker. A T is then written
// as {"__type__": marker, "__value__": …} with what write returns, and such an object is
// read by handing its value, as a V, to read. V is whatever [Unmarshal] can fill and
// [Append] can write: a string, a struct, a slice, any.
//
//	type Money struct{ Amount, Currency string }
//
//	pyjson.RegisterType("money",
//		func(m Money) ([2]string, error) { return [2]string{m.Amount, m.Currency}, nil },
//		func(v [2]string) (Money, error) { return Money{v[0], v[1]}, nil })
//
// Parameters and fields of the type T take the objects, and so does any. Without a
// registration they are ordinary objects: to any a map with the keys "__type__" and
// "__value__", to json.RawMessage the text as it stands.
//
// Call it before the worker starts. As with kombu, the last registration of a marker
// counts, also of one of kombu's own. It panics if marker is empty.
func RegisterType[T, V any](marker string, write func(T) (V, error), read func(V) (T, error)) {
	if marker == "" {
		panic("pyjson: RegisterType needs a marker")
	}
	t, inner := reflect.TypeFor[T](), reflect.TypeFor[V]()
	r := &registration{marker: marker}
	r.write = func(dst []byte, v reflect.Value, depth int) ([]byte, error) {
		value, err := write(v.Interface().(T))
		if err != nil {
			return dst, fmt.Errorf("%s: %w", t, err)
		}
		if depth >= maxDepth {
			return dst, ErrTooDeep
		}
		dst = appendString(append(dst, `{"__type__": `...), marker)
		dst = append(dst, `, "__value__": `...)
		if dst, err = codecOf(inner).encode(dst, reflect.ValueOf(&value).Elem(), depth+1); err != nil {
			return dst, err
		}
		return append(dst, '}'), nil
	}
	building.Lock()
	defer building.Unlock()
	registeredTypes.Store(t, r)
	registeredReaders.Store(marker, func(d *decoder) (any, error) {
		var value V
		if err := codecOf(inner).decode(d, reflect.ValueOf(&value).Elem()); err != nil {
			return nil, &MarkerError{Type: marker, Err: errors.New(err.Error())} // about V, which nobody asked for
		}
		v, err := read(value)
		if err != nil {
			return nil, &MarkerError{Type: marker, Err: err}
		}
		return v, nil
	})
	codecs.Clear() // they may hold one of T
}

// registration is what there is to know about a registered Go type.
type registration struct {
	marker string
	write  encodeFunc
}

var (
	registeredTypes   sync.Map // reflect.Type → *registration
	registeredReaders sync.Map // marker → func(*decoder) (any, error), for the value ahead
)

func registeredOf(t reflect.Type) *registration {
	if r, ok := registeredTypes.Load(t); ok {
		return r.(*registration)
	}
	return nil
}

// wrap lets __type__ objects fill the registered type t; what else is ahead
// fills it as if it were not registered.
func (r *registration) wrap(c *codec, t reflect.Type) {
	other := c.decode
	c.encode = r.write
	c.decode = func(d *decoder, v reflect.Value) error {
		if d.peek() == '{' {
			start := d.pos
			x, err := d.special()
			if err != nil {
				return err
			}
			if x != nil && reflect.TypeOf(x) == t {
				v.Set(reflect.ValueOf(x))
				return nil
			}
			d.pos = start
		}
		return other(d, v)
	}
}
