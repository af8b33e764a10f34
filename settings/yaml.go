package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what aliases may unfold to.
const maxNodes = 100_000

func parseYAML(data []byte) (object, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if root.Kind == 0 { // nothing, or comments only
		return object{}, nil
	}
	r := yamlReader{left: maxNodes}
	value, err := r.value(&root, 0)
	if err != nil {
		return nil, fmt.Errorf("not YAML settings: %w", err)
	}
	if value == nil {
		return object{}, nil
	}
	doc, ok := value.(object)
	if !ok {
		return nil, errors.New("the settings are not a YAML mapping")
	}
	return doc, nil
}

type yamlReader struct{ left int }

func (r *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	if r.left--; r.left < 0 || depth > maxDepth {
		return nil, fmt.Errorf("line %d: nested too deeply, or too many aliases", n.Line)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.value(n.Content[0], depth)
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return r.mapping(n, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := r.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	default:
		return yamlScalar(n)
	}
}

// longNumber is a whole number that an int64 does not hold.
var longNumber = regexp.MustCompile(`^-?[1-9][0-9]{19,}$`)

func yamlScalar(n *yaml.Node) (any, error) {
	switch n.Tag {
	case "!!null", "!!bool", "!!int", "!!float":
		if longNumber.MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		switch v := v.(type) {
		case int:
			return int64(v), nil
		case nil, bool, int64, float64:
			return v, nil
		}
		return nil, fmt.Errorf("line %d: number %s is out of range", n.Line, n.Value)
	case "!!str", "!!timestamp":
		return n.Value, nil
	}
	return nil, fmt.Errorf("line %d: tag %s is not supported", n.Line, n.Tag)
}

// mapping keeps the members' order. "<<" takes what it refers to, unless the key
// stands in the mapping itself.
func (r *yamlReader) mapping(n *yaml.Node, depth int) (any, error) {
	own, merged := object{}, object{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		value, err := r.value(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if key.Tag == "!!merge" {
			from, err := mergeSource(value)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", key.Line, err)
			}
			merged = merged.merge(from)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key is no scalar", key.Line)
		}
		if own.has(key.Value) {
			return nil, fmt.Errorf("line %d: key %q stands twice in a mapping", key.Line, key.Value)
		}
		own = append(own, member{key.Value, value})
	}
	return merged.merge(own), nil
}

// mergeSource is the value of "<<": a mapping, or several, of which the first wins.
func mergeSource(value any) (object, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	merged := object{}
	for _, v := range list {
		o, ok := v.(object)
		if !ok {
			return nil, errors.New("<< is not followed by a mapping")
		}
		merged = o.merge(merged)
	}
	return merged, nil
}
