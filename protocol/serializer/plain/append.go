package plain

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// maxDepth is how deep lists and dicts may nest: pyjson reads no deeper ones.
const maxDepth = 1000

var (
	errDeep  = errors.New("nested too deep, or contains itself")
	errLarge = errors.New("too large: its parts are repeated too often")
)

// JSON writes a value as kombu's JSON serializer would, with __type__ objects for
// what JSON does not have.
//
// A value may be used in many places, and a short body can stand for a huge text in
// this way: the text is limited to 32 MiB more than eight times the size of the body.
func JSON(v any, bodySize int) ([]byte, error) {
	w := writer{dst: make([]byte, 0, 2*bodySize), limit: 32<<20 + 8*bodySize}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	return w.dst, nil
}

type writer struct {
	dst   []byte
	limit int // bytes
}

func (w *writer) value(v any, depth int) error {
	if len(w.dst) > w.limit {
		return errLarge
	}
	if depth > maxDepth {
		return errDeep
	}
	var err error
	switch v := v.(type) {
	case *List:
		return w.list(v, depth+1)
	case *Dict:
		return w.dict(v, depth+1)
	case Value:
		inner, err := v.Plain()
		if err != nil {
			return err
		}
		return w.value(inner, depth+1)
	default:
		w.dst, err = pyjson.Append(w.dst, v)
		return err
	}
}

func (w *writer) list(list *List, depth int) error {
	w.dst = append(w.dst, '[')
	for _, item := range list.Items {
		w.dst = pyjson.AppendComma(w.dst)
		if err := w.value(item, depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, ']')
	return nil
}

func (w *writer) dict(dict *Dict, depth int) error {
	w.dst = append(w.dst, '{')
	for i, key := range dict.Keys {
		text, err := keyText(key)
		if err != nil {
			return err
		}
		w.dst = pyjson.AppendKey(w.dst, text)
		if err := w.value(dict.Values[i], depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, '}')
	return nil
}

// keyText is the name a dict's key has in JSON. Python's json takes str, int, float,
// bool and None. Dates, UUIDs, Decimals and bytes that are text would be refused
// there: they get their str().
func keyText(key any) (string, error) {
	switch key := key.(type) {
	case string:
		return key, nil
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(key), nil
	case float64:
		text, err := pyjson.Append(nil, key)
		return string(text), err
	case int64:
		return strconv.FormatInt(key, 10), nil
	case *big.Int:
		return key.String(), nil
	case pyjson.Decimal:
		return string(key), nil
	case pyjson.UUID:
		return key.String(), nil
	case pyjson.Date:
		return key.String(), nil
	case time.Time:
		return datetimeText(key), nil
	case []byte:
		if utf8.Valid(key) {
			return string(key), nil
		}
	case Value:
		inner, err := key.Plain()
		if err != nil {
			return "", err
		}
		return keyText(inner)
	}
	return "", fmt.Errorf("a dict's keys must be str, int, float, bool or None, not %s", typeName(key))
}

// datetimeText is Python's str() of a datetime.
func datetimeText(t time.Time) string {
	layout := "2006-01-02 15:04:05"
	if t.Nanosecond() >= 1000 {
		layout += ".000000"
	}
	if t.Location() != pyjson.Naive {
		layout += "-07:00"
	}
	return t.Format(layout)
}

func typeName(v any) string {
	switch v.(type) {
	case *List:
		return "tuple"
	case *Dict:
		return "dict"
	case []byte:
		return "bytes"
	default:
		return fmt.Sprintf("%T", v)
	}
}
