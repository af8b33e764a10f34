package pyjson

import (
	"encoding"
	"encoding/json"
	"math/big"
	"reflect"
	"sync"
	"time"
)

// A codec reads and writes the values of one Go type.
type codec struct {
	// decode fills a settable value from what is ahead.
	decode func(d *decoder, v reflect.Value) error
	// encode appends a value that lies inside depth containers.
	encode func(dst []byte, v reflect.Value, depth int) ([]byte, error)
	// takesNull is true if decode makes something of a null.
	takesNull bool
}

var (
	codecs   sync.Map   // reflect.Type → *codec, complete ones only
	building sync.Mutex // held while new codecs are made
)

// codecOf returns the codec of a type, making it at the first use.
func codecOf(t reflect.Type) *codec {
	if c, ok := codecs.Load(t); ok {
		return c.(*codec)
	}
	building.Lock()
	defer building.Unlock()
	b := builder{}
	c := b.codec(t)
	for t, c := range b { // only now: a type may contain itself
		codecs.Store(t, c)
	}
	return c
}

// builder holds the codecs of one build, finished or not.
type builder map[reflect.Type]*codec

func (b builder) codec(t reflect.Type) *codec {
	if c, ok := codecs.Load(t); ok {
		return c.(*codec)
	}
	if c := b[t]; c != nil {
		return c
	}
	c := &codec{}
	b[t] = c
	if known := knownCodec(t); known != nil {
		*c = *known
	} else {
		b.fill(c, t)
		if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
			withMethods(c, t)
		}
	}
	if r := registeredOf(t); r != nil {
		r.wrap(c, t)
	}
	return c
}

// fill makes the codec a type has by its kind.
func (b builder) fill(c *codec, t reflect.Type) {
	switch t.Kind() {
	case reflect.Bool:
		c.decode, c.encode = decodeBool, encodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		c.decode, c.encode = decodeInt, encodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		c.decode, c.encode = decodeUint, encodeUint
	case reflect.Float32, reflect.Float64:
		c.decode, c.encode = decodeFloat, encodeFloat
	case reflect.String:
		c.decode, c.encode = decodeString, encodeString
	case reflect.Interface:
		c.decode, c.encode, c.takesNull = decodeInterface, encodeInterface, true
	case reflect.Pointer:
		elem := b.codec(t.Elem())
		c.decode, c.encode, c.takesNull = pointerDecoder(elem), pointerEncoder(elem, t), true
	case reflect.Slice:
		if isPlainByte(t.Elem()) {
			c.decode, c.encode, c.takesNull = decodeBytes, encodeBytes, true
			return
		}
		elem := b.codec(t.Elem())
		c.decode, c.encode, c.takesNull = sliceDecoder(elem), listEncoder(elem), true
	case reflect.Array:
		elem := b.codec(t.Elem())
		c.decode, c.encode = arrayDecoder(elem), listEncoder(elem)
	case reflect.Map:
		elem := b.codec(t.Elem())
		c.decode, c.encode, c.takesNull = mapDecoder(elem, t), mapEncoder(elem, t), true
	case reflect.Struct:
		fields := b.fields(t)
		c.decode, c.encode = structDecoder(fields), structEncoder(fields)
	default:
		c.decode, c.encode = unsupported(t)
	}
}

func isPlainByte(t reflect.Type) bool {
	return t.Kind() == reflect.Uint8 && !reflect.PointerTo(t).Implements(unmarshalerType) &&
		!reflect.PointerTo(t).Implements(textUnmarshalerType)
}

func unsupported(t reflect.Type) (func(*decoder, reflect.Value) error, func([]byte, reflect.Value, int) ([]byte, error)) {
	return func(d *decoder, _ reflect.Value) error { return d.mismatch(t, nil) },
		func(dst []byte, _ reflect.Value, _ int) ([]byte, error) {
			return dst, &UnsupportedTypeError{Type: t}
		}
}

var (
	marshalerType       = reflect.TypeFor[json.Marshaler]()
	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// withMethods lets a type's own methods read and write it.
func withMethods(c *codec, t reflect.Type) {
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(unmarshalerType):
		c.decode, c.takesNull = unmarshalerDecoder(pointer.Implements(textUnmarshalerType)), true
	case pointer.Implements(textUnmarshalerType):
		c.decode, c.takesNull = decodeText, false
	}
	switch {
	case t.Implements(marshalerType):
		c.encode = encodeMarshaler
	case pointer.Implements(marshalerType):
		c.encode = whenAddressable(encodeMarshaler, c.encode)
	case t.Implements(textMarshalerType):
		c.encode = encodeTextMarshaler
	case pointer.Implements(textMarshalerType):
		c.encode = whenAddressable(encodeTextMarshaler, c.encode)
	}
}

// known returns the codec of exactly the type T.
func known[T any](decode func(*decoder) (T, error), encode func([]byte, T) ([]byte, error), takesNull bool) *codec {
	return &codec{
		decode: func(d *decoder, v reflect.Value) error {
			x, err := decode(d)
			if err == nil {
				*v.Addr().Interface().(*T) = x
			}
			return err
		},
		encode: func(dst []byte, v reflect.Value, _ int) ([]byte, error) {
			if v.CanAddr() { // saves Interface the copy
				return encode(dst, *v.Addr().Interface().(*T))
			}
			return encode(dst, v.Interface().(T))
		},
		takesNull: takesNull,
	}
}

// knownCodec returns the codec of a type that stands for a Python type, else nil.
func knownCodec(t reflect.Type) *codec {
	switch t {
	case reflect.TypeFor[time.Time]():
		return known((*decoder).time, appendTime, false)
	case reflect.TypeFor[time.Duration]():
		return known((*decoder).duration, appendDuration, false)
	case reflect.TypeFor[Date]():
		return known((*decoder).date, appendDate, false)
	case reflect.TypeFor[Clock]():
		return known((*decoder).clock, appendClock, false)
	case reflect.TypeFor[Decimal]():
		return known((*decoder).decimal, appendDecimal, false)
	case reflect.TypeFor[UUID]():
		return known((*decoder).uuid, appendUUID, false)
	case reflect.TypeFor[big.Int]():
		return bigIntCodec()
	case reflect.TypeFor[big.Float]():
		return bigFloatCodec()
	case reflect.TypeFor[json.RawMessage]():
		return known((*decoder).rawMessage, appendRaw, true)
	case reflect.TypeFor[json.Number]():
		return known((*decoder).jsonNumber, appendJSONNumber, false)
	default:
		return nil
	}
}
