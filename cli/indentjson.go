package cli

import (
	"slices"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// indentJSON appends a JSON value as Python's json.dumps(value, indent=4, sort_keys=True)
// writes it.
func indentJSON(dst, raw []byte, depth int) []byte {
	newline := "\n" + strings.Repeat("    ", depth+1)
	var items [][]byte
	var open, end byte
	switch pyjson.Kind(raw) {
	case '[':
		open, end = '[', ']'
		for _, value := range pyjson.Elements(raw) {
			items = append(items, indentJSON(nil, value, depth+1))
		}
	case '{':
		open, end = '{', '}'
		type pair struct {
			key   string
			value []byte
		}
		var pairs []pair
		for key, value := range pyjson.Members(raw) {
			pairs = append(pairs, pair{key, value})
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
		for _, p := range pairs {
			items = append(items, indentJSON(pyjson.AppendKey(nil, p.key), p.value, depth+1))
		}
	default:
		return append(dst, raw...)
	}
	dst = append(dst, open)
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, newline...), item...)
	}
	if items != nil {
		dst = append(dst, newline[:len(newline)-4]...)
	}
	return append(dst, end)
}
