package pyjson

import "encoding/json"

// Append appends v as Python's json.dumps with kombu's types writes it.
func Append(dst []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(dst, text...), err
}
