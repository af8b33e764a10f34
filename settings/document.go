package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A document's values are nil, bool, int64, float64, string, []any and object: the
// order of an object's members counts, because routes are tried in theirs.
type object []member

type member struct {
	key   string
	value any
}

func (o object) get(key string) (any, bool) {
	i := slices.IndexFunc(o, func(m member) bool { return m.key == key })
	if i < 0 {
		return nil, false
	}
	return o[i].value, true
}

// merge returns o with the members of p, which win.
func (o object) merge(p object) object {
	merged := slices.Clone(o)
	for _, m := range p {
		if i := slices.IndexFunc(merged, func(n member) bool { return n.key == m.key }); i >= 0 {
			merged[i] = m
			continue
		}
		merged = append(merged, m)
	}
	return merged
}

// maxDepth bounds how deep values nest: no setting of Celery comes near.
const maxDepth = 64

// formats are the file formats by extension.
var formats = map[string]func([]byte) (object, error){
	".json": parseJSON,
	".toml": parseTOML,
	".yaml": parseYAML,
	".yml":  parseYAML,
}

// readFile reads a settings file of any format.
func readFile(path string) (object, error) {
	parse, ok := formats[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return nil, fmt.Errorf("%s is no settings file: it must end in .toml, .yaml, .yml or .json; "+
			"scripts/export_settings.py writes one from the settings of a Python app", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	doc, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return doc, nil
}
