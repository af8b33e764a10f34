package redbeat

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// values translates args or kwargs from RedBeat's JSON to kombu's; null and what is not there are none.
func values(raw json.RawMessage, kind byte) (json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if pyjson.Kind(raw) != kind {
		return nil, fmt.Errorf("they are no %s", map[byte]string{'[': "list", '{': "object"}[kind])
	}
	return appendValue(nil, raw, marked)
}

// options translates options. The dates expires and eta become text, as in a message.
func options(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if pyjson.Kind(raw) != '{' {
		return nil, errors.New("they are no object")
	}
	return appendObject(nil, raw, func(name string) dateForm {
		if name == "expires" || name == "eta" {
			return asText
		}
		return marked
	})
}

// dateForm writes a date.
type dateForm func(dst []byte, t time.Time) ([]byte, error)

func marked(dst []byte, t time.Time) ([]byte, error) { return pyjson.Append(dst, t) }

func asText(dst []byte, t time.Time) ([]byte, error) {
	return pyjson.AppendString(dst, t.Format("2006-01-02T15:04:05.999999-07:00")), nil
}

// appendValue writes a value with its dates as kombu's JSON has them.
func appendValue(dst []byte, raw []byte, form dateForm) ([]byte, error) {
	return appendWith(dst, raw, func(dst, raw []byte) ([]byte, error) { return appendObjectOrDate(dst, raw, form) })
}

// appendWith writes a value, and has each object in its lists, or itself, written by a function.
func appendWith(dst, raw []byte, object func(dst, raw []byte) ([]byte, error)) (_ []byte, err error) {
	switch pyjson.Kind(raw) {
	case '[':
		dst = append(dst, '[')
		for _, element := range pyjson.Elements(raw) {
			if dst, err = appendWith(pyjson.AppendComma(dst), element, object); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case '{':
		return object(dst, raw)
	}
	return pyjson.Reencode(dst, raw)
}

// appendMembers writes an object, and has the value of each member written by a function.
func appendMembers(dst, raw []byte, value func(dst []byte, name string, raw []byte) ([]byte, error)) (_ []byte, err error) {
	dst = append(dst, '{')
	for name, member := range pyjson.Members(raw) {
		if dst, err = value(pyjson.AppendKey(dst, name), name, member); err != nil {
			return dst, fmt.Errorf("%s: %w", name, err)
		}
	}
	return append(dst, '}'), nil
}

func appendObjectOrDate(dst, raw []byte, form dateForm) ([]byte, error) {
	typ, err := pyjson.Unquote(pyjson.Member(raw, "__type__"))
	if err != nil {
		typ = ""
	}
	switch typ {
	case "datetime":
		t, err := parseDatetime(raw)
		if err != nil {
			return dst, err
		}
		return form(dst, t)
	case "interval", "crontab", "rrule", "weekday":
		return dst, fmt.Errorf("a schedule (%s) cannot be in a message", typ)
	}
	return appendObject(dst, raw, func(string) dateForm { return marked })
}

func appendObject(dst, raw []byte, form func(name string) dateForm) ([]byte, error) {
	return appendMembers(dst, raw, func(dst []byte, name string, raw []byte) ([]byte, error) {
		return appendValue(dst, raw, form(name))
	})
}
