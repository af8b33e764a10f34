package pyjson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// CheckTypes returns a [*MarkerError] if kombu's loads would refuse one of the
// __type__ objects in data, which must be valid JSON. Kombu drops a message
// with such an object, whatever the task would do with it.
func CheckTypes(data []byte) error {
	// Nearly all texts have no such object, and a look is enough to know. Only a
	// needless escape can hide the key: a letter or underscore as \u005f … \u007a.
	if !bytes.Contains(data, []byte(`"__type__"`)) && !hasEscapedASCII(data) {
		return nil
	}
	var v any
	return Unmarshal(data, &v)
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
// the keys __type__ and __value__ and no others, and returns the Go value it
// stands for. It returns nil if the object is an ordinary one.
func (d *decoder) special() (any, error) {
	if !d.atMarker() {
		return nil, nil
	}
	s := Scanner{data: d.data, pos: d.pos, ahead: true}
	s.nest.depth = d.depth
	var name, value int // where the values begin
	s.Enter('{')
	for s.Next() {
		switch string(s.Key()) {
		case "__type__":
			name = s.Offset()
		case "__value__":
			value = s.Offset()
		default:
			return nil, nil
		}
		s.Value()
	}
	if s.err != nil {
		return nil, s.err
	}
	if name == 0 || value == 0 {
		return nil, nil
	}
	v, err := d.marker(name, value)
	if err != nil {
		return nil, err
	}
	d.pos = s.pos
	return v, nil
}

// marker returns the value of the __type__ object whose two values begin at
// the given places.
func (d *decoder) marker(name, value int) (any, error) {
	inner := decoder{data: d.data, pos: name, depth: d.depth + 1}
	typ, err := inner.any()
	if err != nil {
		return nil, err
	}
	inner.pos = value
	v, err := inner.any()
	if err != nil {
		return nil, err
	}
	if typ, ok := typ.(string); ok {
		if parse := markerTypes[typ]; parse != nil {
			if v, err = parse(v); err != nil {
				return nil, &MarkerError{Type: typ, Err: err}
			}
			return v, nil
		}
	}
	return nil, &MarkerError{Type: fmt.Sprint(typ)}
}

// markerTypes holds, as kombu's table of decoders, how a __value__ is read.
var markerTypes = map[string]func(any) (any, error){
	"datetime": ofText(parseDatetime),
	"date":     ofText(parseDate),
	"time":     ofText(parseTimeOfDay),
	"decimal":  ofText(parseDecimal),
	"bytes":    ofText(func(s string) ([]byte, error) { return []byte(s), nil }),
	"base64":   ofText(base64.StdEncoding.DecodeString),
	"uuid": func(v any) (any, error) {
		fields, ok := v.(map[string]any)
		if !ok || len(fields) != 1 {
			return nil, errUUID
		}
		return ofText(parseUUID)(fields["hex"])
	},
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
	default:
		return "bytes"
	}
}

// markerText is the str() of what special returned, for types that read
// themselves from text.
func markerText(v any) []byte {
	switch v := v.(type) {
	case time.Time:
		text, _ := appendDatetime(nil, v) // its year is in range: it was read
		if v.Location() == Naive {
			text = append(text, 'Z') // as time.RFC3339 wants an offset
		}
		return text
	case Decimal:
		return []byte(v)
	case fmt.Stringer:
		return []byte(v.String())
	default:
		return v.([]byte)
	}
}
