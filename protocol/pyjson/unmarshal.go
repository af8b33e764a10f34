package pyjson

import (
	"errors"
	"reflect"
)

// Unmarshal fills the value that dst, a non-nil pointer, points to. Errors are
// a [*SyntaxError], a [*TypeError] or a [*MarkerError]; after one, dst may be
// partly filled.
//
// JSON goes where encoding/json would put it, by the same struct tags, apart
// from what Python sees differently:
//
//   - an int fills floats, but a float, even 2.0, does not fill an int;
//   - NaN and the infinities fill floats;
//   - null fills pointers, interfaces, maps, slices and what reads itself, and
//     leaves a struct's field alone; elsewhere it is a *TypeError;
//   - of a key that comes twice the last counts, and maps are made anew;
//   - a list must be as long as the array it fills;
//   - __type__ objects fill time.Time (datetime and date), [Date], [Clock],
//     [Decimal], [UUID], []byte (bytes and base64), byte arrays of the right
//     length, and as text what implements encoding.TextUnmarshaler; plain
//     strings fill all of these too, as kombu before 5.3 wrote them, and a UUID fills a
//     string;
//   - a number fills time.Duration as seconds;
//   - __type__ objects of other types are ordinary objects, unless [RegisterType] knows them;
//   - into any go nil, bool, int64 (*big.Int where that is too small), float64,
//     string, []any, map[string]any, and for __type__ objects time.Time and the
//     types above;
//   - json.RawMessage and json.Unmarshaler get the text as it stands, perhaps
//     with NaN in it.
func Unmarshal(raw []byte, dst any) error {
	d := decoder{data: raw, pos: skipSpace(raw, 0)}
	// Not through a function value: d would escape.
	switch dst := dst.(type) {
	case *int:
		v, err := d.int()
		return store(&d, dst, v, err)
	case *int64:
		v, err := d.int64()
		return store(&d, dst, v, err)
	case *float64:
		v, err := d.float64()
		return store(&d, dst, v, err)
	case *string:
		v, err := d.string()
		return store(&d, dst, v, err)
	case *bool:
		v, err := d.bool()
		return store(&d, dst, v, err)
	case *any:
		v, err := d.any()
		return store(&d, dst, v, err)
	}
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errNoPointer
	}
	return decodeWhole(raw, v.Elem())
}

// UnmarshalValue is [Unmarshal] for a settable reflect.Value.
func UnmarshalValue(raw []byte, v reflect.Value) error {
	return Unmarshal(raw, v.Addr().Interface())
}

func decodeWhole(raw []byte, v reflect.Value) error {
	d := decoder{data: raw, pos: skipSpace(raw, 0)}
	if err := codecOf(v.Type()).decode(&d, v); err != nil {
		return err
	}
	return d.end()
}

var errNoPointer = errors.New("pyjson: Unmarshal needs a pointer that is not nil")

// store sets dst to what has been read, if that was all there is.
func store[T any](d *decoder, dst *T, v T, err error) error {
	if dst == nil {
		return errNoPointer
	}
	if err == nil {
		err = d.end()
	}
	if err == nil {
		*dst = v
	}
	return err
}

// decoder reads values one after the other; pos is at the first character of
// the next one.
type decoder struct {
	data  []byte
	pos   int
	depth int // containers around pos

	ahead *survey // what is known of objects ahead; nil: nothing
}

// end returns an error if anything but white space follows.
func (d *decoder) end() error {
	if end := skipSpace(d.data, d.pos); end < len(d.data) {
		return newSyntaxError(d.data, end, "Extra data")
	}
	return nil
}

// peek returns the first character of the value ahead, 0 at the end.
func (d *decoder) peek() byte {
	if d.pos < len(d.data) {
		return d.data[d.pos]
	}
	return 0
}

// raw takes the value ahead as it stands.
func (d *decoder) raw() ([]byte, error) {
	end, err := skipValue(d.data, d.pos, d.depth)
	if err != nil {
		return nil, err
	}
	raw := d.data[d.pos:end:end]
	d.pos = end
	return raw, nil
}

// null takes a null and tells whether there was one.
func (d *decoder) null() bool {
	end := 0
	if d.peek() == 'n' {
		end = skipWord(d.data, d.pos, "null")
	}
	if end == 0 {
		return false
	}
	d.pos = end
	return true
}

// mismatch is the error for a value ahead that does not fit t: a *TypeError,
// unless the value is worse than that.
func (d *decoder) mismatch(t reflect.Type, reason error) error {
	if d.peek() == '{' {
		v, err := d.special()
		if err != nil {
			return err
		}
		if v != nil {
			return &TypeError{Type: t, Got: markerType(v), Err: reason}
		}
	}
	raw, err := d.raw()
	if err != nil {
		return err
	}
	return &TypeError{Type: t, Got: PythonType(raw), Err: reason}
}

// enter steps into the container ahead.
func (d *decoder) enter() error {
	if d.depth == maxDepth {
		return newSyntaxError(d.data, d.pos, "too deeply nested")
	}
	d.depth++
	d.pos++
	return nil
}

// more moves to the next part of a container entered, first or not, and tells
// whether there is one; if not, it has left the container.
func (d *decoder) more(first bool, end byte) (bool, error) {
	d.pos = skipSpace(d.data, d.pos)
	switch c := d.peek(); {
	case c == end:
		d.pos++
		d.depth--
		return false, nil
	case first:
		return true, nil
	case c == ',':
		d.pos = skipSpace(d.data, d.pos+1)
		return true, nil
	default:
		return false, newSyntaxError(d.data, d.pos, "Expecting ',' delimiter")
	}
}

// key takes a member's key and colon.
func (d *decoder) key() ([]byte, error) {
	start, end := d.pos, 0
	pos, plain, err := skipKey(d.data, start, &end)
	if err != nil {
		return nil, err
	}
	d.pos = pos
	key := d.data[start+1 : end-1]
	if !plain {
		key = unescape(key)
	}
	return key, nil
}
