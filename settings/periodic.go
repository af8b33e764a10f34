package settings

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/apium/apium/protocol/pyjson"
)

// periodicTasks is beat_schedule. What is wrong with an entry is said by a beat, and keeps no worker from
// starting.
type periodicTasks struct{ dst *map[string]json.RawMessage }

func (p periodicTasks) decode(d *decoder, value any) {
	o, ok := d.object(value)
	*p.dst = nil
	if !ok || len(o) == 0 {
		return
	}
	*p.dst = map[string]json.RawMessage{}
	for _, m := range o {
		(*p.dst)[m.key] = rawJSON(nil, m.value)
	}
}

func (p periodicTasks) encode() any {
	if *p.dst == nil {
		return absent{}
	}
	o := object{}
	for _, name := range slices.Sorted(maps.Keys(*p.dst)) {
		value, err := parseJSONValue((*p.dst)[name])
		if err != nil {
			value = string((*p.dst)[name]) // which is no entry either
		}
		o = append(o, member{name, value})
	}
	return o
}

// rawJSON appends a value of a document.
func rawJSON(dst []byte, value any) []byte {
	switch value := value.(type) {
	case object:
		dst = append(dst, '{')
		for i, m := range value {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(rawJSON(dst, m.key), ": "...)
			dst = rawJSON(dst, m.value)
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, element := range value {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = rawJSON(dst, element)
		}
		return append(dst, ']')
	}
	dst, _ = pyjson.Append(dst, value) // texts, numbers, true, false and null
	return dst
}
