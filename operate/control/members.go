package control

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// members reads an argument that is one value or a list of them, as Celery's
// set(maybe_list(value)): each once. Values that are no strings are left out, and the
// type of the first such is told.
func members(raw json.RawMessage) (texts []string, other string, err error) {
	values := []json.RawMessage{raw}
	switch pyjson.Kind(raw) {
	case 'n':
		return nil, "", nil
	case '[':
		if err := pyjson.Unmarshal(raw, &values); err != nil {
			return nil, "", err
		}
	}
	for _, value := range values {
		switch pyjson.Kind(value) {
		case '"':
			text, err := pyjson.Unquote(value)
			if err != nil {
				return nil, "", err
			}
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		case '[', '{':
			return nil, "", tasks.Raise("TypeError", "unhashable type: '"+pyjson.PythonType(value)+"'")
		default:
			if other == "" {
				other = pyjson.PythonType(value)
			}
		}
	}
	return texts, other, nil
}

// keys reads the strings of a list, or the names of an object.
func keys(raw json.RawMessage) ([]string, error) {
	if pyjson.Kind(raw) == '[' {
		texts, _, err := members(raw)
		return texts, err
	}
	var names []string
	for name := range pyjson.Members(raw) {
		names = append(names, name)
	}
	return names, pyjson.Valid(raw)
}

// setRepr is Python's repr of a set of strings.
func setRepr(texts []string) string {
	if len(texts) == 0 {
		return "set()"
	}
	reprs := make([]string, len(texts))
	for i, text := range texts {
		reprs[i] = protocol.ReprText(text)
	}
	return "{" + strings.Join(reprs, ", ") + "}"
}
