package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

func parseTOML(data []byte) (object, error) {
	var doc map[string]any
	meta, err := toml.Decode(string(data), &doc)
	if err != nil {
		return nil, fmt.Errorf("not TOML: %w", err)
	}
	order := map[string]int{}
	for i, key := range meta.Keys() {
		path := strings.Join(key, "\x00")
		if _, seen := order[path]; !seen {
			order[path] = i
		}
	}
	value, err := tomlValue(doc, nil, order, 0)
	if err != nil {
		return nil, fmt.Errorf("not TOML settings: %w", err)
	}
	return value.(object), nil
}

// tomlValue turns maps into objects whose members stand as in the file.
func tomlValue(value any, path []string, order map[string]int, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	switch value := value.(type) {
	case map[string]any:
		o := make(object, 0, len(value))
		for key, v := range value {
			inner := append(slices.Clone(path), key)
			v, err := tomlValue(v, inner, order, depth+1)
			if err != nil {
				return nil, err
			}
			o = append(o, member{key, v})
		}
		place := func(m member) int { return order[strings.Join(append(slices.Clone(path), m.key), "\x00")] }
		slices.SortFunc(o, func(a, b member) int {
			if d := place(a) - place(b); d != 0 {
				return d
			}
			return strings.Compare(a.key, b.key)
		})
		return o, nil
	case []map[string]any:
		list := make([]any, len(value))
		for i, v := range value {
			list[i] = v
		}
		return tomlValue(list, path, order, depth)
	case []any:
		list := make([]any, len(value))
		for i, v := range value {
			var err error
			if list[i], err = tomlValue(v, path, order, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case time.Time:
		return value.Format(time.RFC3339Nano), nil
	}
	return value, nil // bool, int64, float64, string
}
