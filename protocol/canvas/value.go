package canvas

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

var null = json.RawMessage("null")

func isNull(value any) bool {
	if value == nil {
		return true
	}
	raw, ok := value.(json.RawMessage)
	return ok && (raw == nil || string(raw) == "null")
}

// listOf gives a value as a list: the elements of a list, else the value itself. Lists
// in raw JSON are taken apart.
func listOf(value any) []any {
	if isNull(value) {
		return nil
	}
	switch v := value.(type) {
	case []any:
		return v
	case json.RawMessage:
		if pyjson.Kind(v) == '[' {
			return elements(v)
		}
	}
	return []any{value}
}

// elements returns those of a JSON array, as they stand.
func elements(raw []byte) []any {
	list := []any{}
	for _, value := range pyjson.Elements(raw) {
		list = append(list, json.RawMessage(value))
	}
	return list
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case json.RawMessage:
		return append(dst, v...)
	case *node:
		return v.append(dst)
	case []any:
		dst = append(dst, '[')
		for _, element := range v {
			dst = appendValue(pyjson.AppendComma(dst), element)
		}
		return append(dst, ']')
	}
	return append(dst, null...)
}

// encode returns the JSON text of a value, nil for none.
func encode(value any) []byte {
	if isNull(value) {
		return nil
	}
	return appendValue(nil, value)
}

func quote(text string) any {
	if text == "" {
		return null
	}
	return json.RawMessage(pyjson.AppendString(nil, text))
}

// secondsOf writes whole seconds as an int, as Python callers give them.
func secondsOf(d time.Duration) []byte {
	if d%time.Second == 0 {
		return strconv.AppendInt(nil, int64(d/time.Second), 10)
	}
	return strconv.AppendFloat(nil, d.Seconds(), 'f', -1, 64)
}

// joinArgs writes two JSON arrays of arguments as one.
func joinArgs(first, second []byte) []byte {
	a, b := inner(first), inner(second)
	switch {
	case len(a) == 0:
		return second
	case len(b) == 0:
		return first
	}
	return append(append(pyjson.AppendComma(append([]byte{'['}, a...)), b...), ']')
}

// arrayOf writes arguments as a JSON array, nil if there are none.
func arrayOf(args []json.RawMessage) []byte {
	if len(args) == 0 {
		return nil
	}
	return pyjson.AppendArray(nil, args)
}

// inner is what stands between the brackets of an array or object.
func inner(raw []byte) []byte {
	raw = bytes.TrimSpace(raw)
	if len(raw) < 2 {
		return nil
	}
	return bytes.TrimSpace(raw[1 : len(raw)-1])
}

// joinKwargs writes two JSON objects as one, in which the members of over count.
func joinKwargs(base, over []byte) []byte {
	if len(inner(over)) == 0 {
		return base
	}
	if len(inner(base)) == 0 {
		return over
	}
	all := membersOf(base)
	all.update(membersOf(over))
	return all.encode()
}

// membersOf reads a JSON object, keeping its values as they stand.
func membersOf(raw []byte) Options {
	var all Options
	for name, value := range pyjson.Members(raw) {
		all = append(all, Option{name: name, value: json.RawMessage(value)})
	}
	return all.distinct()
}

// same tells whether two values are equal to Python, to which a tuple is no list: a
// signature made here has a tuple of arguments, one that was read has a list.
func same(a, b any) bool {
	return tupled(a) == tupled(b) && slices.Equal(canonical(a), canonical(b))
}

func tupled(value any) bool {
	n, ok := value.(*node)
	return ok && n.tuple
}

// canonical writes a value with its keys in order.
func canonical(value any) []byte {
	text := encode(value)
	var decoded any
	if pyjson.Unmarshal(text, &decoded) == nil {
		if sorted, err := pyjson.Append(nil, decoded); err == nil {
			return sorted
		}
	}
	return text
}
