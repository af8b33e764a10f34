package serializer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/apium/apium/protocol/serializer/plain"
)

// maxYAML is how long a YAML document may be, in bytes. Parsed it takes a hundred
// times as much memory; PyYAML needs a minute for it.
const maxYAML = 16 << 20

// loadYAML reads what PyYAML's safe_load does: the library parses, the types are
// worked out as by PyYAML, which follows YAML 1.1.
func loadYAML(data []byte) (any, error) {
	v, err := parseYAML(data)
	if err != nil {
		return nil, fmt.Errorf("yaml: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return v, nil
}

func parseYAML(data []byte) (any, error) {
	if len(data) > maxYAML {
		return nil, fmt.Errorf("more than %d bytes", maxYAML)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	switch err := d.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("more than one document")
		}
		return nil, err
	}
	if len(document.Content) != 1 {
		return nil, errors.New("no document")
	}
	c := constructor{made: map[*yaml.Node]any{}, anchors: map[string]*yaml.Node{}}
	return c.value(document.Content[0], 0)
}

// constructor makes values of nodes; a node with aliases is one value.
type constructor struct {
	made    map[*yaml.Node]any
	anchors map[string]*yaml.Node
	steps   int // taken for merging, which aliases can multiply
}

func (c *constructor) value(n *yaml.Node, depth int) (any, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v, ok := c.made[n]; ok {
		return v, nil
	}
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	if n.Anchor != "" {
		if other := c.anchors[n.Anchor]; other != nil && other != n {
			return nil, fmt.Errorf("line %d: found duplicate anchor %q", n.Line, n.Anchor)
		}
		c.anchors[n.Anchor] = n
	}
	switch n.Kind {
	case yaml.SequenceNode:
		return c.sequence(n, depth)
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.ScalarNode:
		return scalar(n)
	default:
		return nil, errors.New("unknown kind of node")
	}
}

func undefined(n *yaml.Node) error {
	return fmt.Errorf("line %d: could not determine a constructor for the tag %s", n.Line, n.Tag)
}

func (c *constructor) sequence(n *yaml.Node, depth int) (any, error) {
	switch n.ShortTag() {
	case "!!seq", "!":
	case "!!omap", "!!pairs":
		return c.pairs(n, depth)
	default:
		return nil, undefined(n)
	}
	list := &plain.List{}
	c.made[n] = list
	for _, item := range n.Content {
		v, err := c.value(item, depth+1)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, v)
	}
	return list, nil
}

// pairs reads mappings of one member each, which are tuples in Python.
func (c *constructor) pairs(n *yaml.Node, depth int) (any, error) {
	list := &plain.List{}
	c.made[n] = list
	for _, item := range n.Content {
		if item.Kind != yaml.MappingNode || len(item.Content) != 2 {
			return nil, fmt.Errorf("line %d: expected a mapping of length 1", item.Line)
		}
		pair := &plain.List{}
		for _, part := range item.Content {
			v, err := c.value(part, depth+1)
			if err != nil {
				return nil, err
			}
			pair.Items = append(pair.Items, v)
		}
		list.Items = append(list.Items, pair)
	}
	return list, nil
}

func (c *constructor) mapping(n *yaml.Node, depth int) (any, error) {
	dict := &plain.Dict{}
	switch n.ShortTag() {
	case "!!map", "!":
		c.made[n] = dict
		return dict, c.members(dict, n, depth)
	case "!!set":
		set := &plain.List{}
		c.made[n] = set
		err := c.members(dict, n, depth)
		set.Items = dict.Keys
		return set, err
	}
	return nil, undefined(n)
}

// members adds those of n. Those that << merges come first, so that n's own win.
func (c *constructor) members(dict *plain.Dict, n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	if c.steps += 1 + len(n.Content); c.steps > maxSteps {
		return errors.New("too many members")
	}
	for i := 0; i < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			if err := c.merge(dict, n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
	}
	for i := 0; i < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			continue
		}
		key, err := c.value(n.Content[i], depth+1)
		if err != nil {
			return err
		}
		value, err := c.value(n.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		switch key.(type) {
		case *plain.List, *plain.Dict:
			return fmt.Errorf("line %d: found unhashable key", n.Content[i].Line)
		}
		dict.Set(key, value)
	}
	return nil
}

// maxSteps is how many members all mappings may have, merged ones counted again and again.
const maxSteps = 16 << 20

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && (key.Style == 0 && key.Value == "<<" || key.ShortTag() == "!!merge" && key.Style&yaml.TaggedStyle != 0)
}

func (c *constructor) merge(dict *plain.Dict, from *yaml.Node, depth int) error {
	if from.Kind == yaml.AliasNode {
		from = from.Alias
	}
	switch from.Kind {
	case yaml.MappingNode:
		return c.members(dict, from, depth)
	case yaml.SequenceNode:
		for i := len(from.Content) - 1; i >= 0; i-- { // the first one wins
			item := from.Content[i]
			if item.Kind == yaml.AliasNode {
				item = item.Alias
			}
			if item.Kind != yaml.MappingNode {
				return fmt.Errorf("line %d: expected a mapping for merging", item.Line)
			}
			if err := c.members(dict, item, depth); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("line %d: expected a mapping or list of mappings for merging", from.Line)
	}
}
