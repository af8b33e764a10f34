package pyjson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"
)

// CheckTypes returns a [*MarkerError] if kombu's loads would refuse the value of one of
// the __type__ objects in data, which must be valid JSON. Kombu drops a message with
// such an object, whatever the task would do with it. Types that kombu does not have,
// registered or not, are not looked at: what they mean is between producer and handler.
func CheckTypes(data []byte) error {
	// Nearly all texts have no such object, and a look is enough to know. Only a
	// needless escape can hide the key: a letter or underscore as \u005f … \u007a.
	if !bytes.Contains(data, []byte(`"__type__"`)) && !hasEscapedASCII(data) {
		return nil
	}
	d := decoder{data: data, pos: skipSpace(data, 0), ahead: &survey{kombuOnly: true}}
	if _, err := d.any(); err != nil {
		return err
	}
	return d.end()
}

// KombuValue takes the value ahead if it is a __type__ object of one of kombu's own types,
// and returns the Go value it stands for: see [Unmarshal]. It returns nil, and takes
// nothing, if anything else is ahead. An error is a [*MarkerError] or [*SyntaxError].
func (s *Scanner) KombuValue() (any, error) {
	d := decoder{data: s.data, pos: s.pos, depth: s.nest.depth}
	if s.Kind() != '{' || s.err != nil || !d.atMarker() {
		return nil, s.err
	}
	if s.survey == nil {
		s.survey = &survey{kombuOnly: true}
	}
	d.ahead = s.survey
	v, err := d.special()
	if v != nil {
		s.pos, s.ahead = d.pos, false
	}
	return v, err
}

func hasEscapedASCII(data []byte) bool {
	return bytes.Contains(data, []byte(`\u005`)) ||
		bytes.Contains(data, []byte(`\u006`)) ||
		bytes.Contains(data, []byte(`\u007`))
}

// atMarker tells whether the object ahead may be a __type__ object, by its
// first key.
func (d *decoder) atMarker() bool {
	i := skipSpace(d.data, d.pos+1)
	if i == len(d.data) || d.data[i] != '"' {
		return false
	}
	end, plain, err := skipString(d.data, i)
	if err != nil {
		return false
	}
	key := d.data[i+1 : end-1]
	if !plain {
		key = unescape(key)
	}
	return isMarkerKey(key)
}

func isMarkerKey(key []byte) bool {
	return string(key) == "__type__" || string(key) == "__value__"
}

// special takes the object ahead if it is a __type__ object, that is, if it has
// the keys __type__ and __value__ and no others, and its type is known; it returns the
// Go value it stands for. It returns nil if the object is an ordinary one.
func (d *decoder) special() (any, error) {
	if !d.atMarker() {
		return nil, nil
	}
	o, ok := d.ahead.at(d.pos)
	if !ok {
		s := Scanner{data: d.data, pos: d.pos, ahead: true}
		s.nest.depth = d.depth
		o = d.survey(&s)
		if s.err != nil {
			return nil, s.err
		}
	}
	if o.typ == 0 || o.value == 0 {
		return nil, nil
	}
	v, err := d.marker(o)
	if v != nil {
		d.pos = o.end
	}
	return v, err
}

// object is what is known of an object that may be a __type__ object.
type object struct {
	typ, value int // where the values of the two keys begin; 0: it is an ordinary object
	end        int
}

// survey is what has been found out about the objects in a text.
type survey struct {
	objects   map[int]object // those that lie in others, by their position
	kombuOnly bool           // registered types are ordinary objects
}

func (v *survey) at(pos int) (o object, ok bool) {
	if v != nil {
		o, ok = v.objects[pos]
	}
	return o, ok
}

// survey passes over the object ahead of s. It notes what it finds out about the objects
// in it, so that none is passed over again for each object that it lies in.
func (d *decoder) survey(s *Scanner) object {
	var o object
	ordinary := false
	for s.Enter('{'); s.Next(); {
		switch string(s.Key()) {
		case "__type__":
			o.typ = s.Offset()
		case "__value__":
			o.value = s.Offset()
		default:
			ordinary = true
		}
		d.surveyInner(s)
	}
	if ordinary {
		o = object{}
	}
	o.end = s.Offset()
	return o
}

func (d *decoder) surveyInner(s *Scanner) {
	switch s.Kind() {
	case '{':
		inner := decoder{data: d.data, pos: s.Offset()}
		if !inner.atMarker() {
			for s.Enter('{'); s.Next(); {
				d.surveyInner(s)
			}
			return
		}
		o := d.survey(s)
		if d.ahead == nil {
			d.ahead = &survey{}
		}
		if d.ahead.objects == nil {
			d.ahead.objects = map[int]object{}
		}
		d.ahead.objects[inner.pos] = o
	case '[':
		for s.Enter('['); s.Next(); {
			d.surveyInner(s)
		}
	default:
		s.Value()
	}
}

// marker returns the value of a __type__ object, nil if nobody knows its type.
func (d *decoder) marker(o object) (any, error) {
	inner := decoder{data: d.data, pos: o.typ, depth: d.depth + 1, ahead: d.ahead}
	if inner.peek() != '"' {
		return nil, nil
	}
	text, _, err := inner.text()
	if err != nil {
		return nil, err
	}
	typ := string(text)
	inner.pos = o.value
	if read, ok := registeredReaders.Load(typ); ok {
		if d.ahead != nil && d.ahead.kombuOnly {
			return nil, nil
		}
		return read.(func(*decoder) (any, error))(&inner)
	}
	parse := kombuTypes[typ]
	if parse == nil {
		return nil, nil
	}
	v, err := inner.any()
	if err != nil {
		return nil, err
	}
	if v, err = parse(v); err != nil {
		return nil, &MarkerError{Type: typ, Err: err}
	}
	return v, nil
}

// kombuTypes holds, as kombu's table of decoders, how a __value__ is read.
var kombuTypes = map[string]func(any) (any, error){
	"datetime": ofText(parseDatetime),
	"date":     ofText(parseDate),
	"time":     ofText(parseTimeOfDay),
	"decimal":  decimalOf,
	"bytes": ofText(func(s string) ([]byte, error) {
		if !utf8.ValidString(s) {
			return nil, errors.New("'utf-8' codec can't encode characters: surrogates not allowed")
		}
		return []byte(s), nil
	}),
	"base64": ofText(base64.StdEncoding.DecodeString),
	"uuid":   uuidOf,
}

func ofText[T any](parse func(string) (T, error)) func(any) (any, error) {
	return func(v any) (any, error) {
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("it must be a str")
		}
		return parse(s)
	}
}

// markerType names the Python type of what special returned.
func markerType(v any) string {
	switch v.(type) {
	case time.Time:
		return "datetime"
	case Date:
		return "date"
	case Clock:
		return "time"
	case Decimal:
		return "Decimal"
	case UUID:
		return "UUID"
	}
	if r := registeredOf(reflect.TypeOf(v)); r != nil {
		return r.marker
	}
	return "bytes"
}

// markerText is the str() of what special returned, for types that read
// themselves from text; ok is false if it has none.
func markerText(v any) (text []byte, ok bool) {
	switch v := v.(type) {
	case time.Time:
		text, _ := appendDatetime(nil, v) // its year is in range: it was read
		if v.Location() == Naive {
			text = append(text, 'Z') // as time.RFC3339 wants an offset
		}
		return text, true
	case Decimal:
		return []byte(v), true
	case []byte:
		return v, true
	case fmt.Stringer:
		return []byte(v.String()), true
	default:
		return nil, false
	}
}
