package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A document's values are nil, bool, int64, json.Number, float64, string, []any and object: the
// order of an object's members counts, because routes are tried in theirs.
type object []member

type member struct {
	key   string
	value any
}

func (o object) has(key string) bool {
	return slices.ContainsFunc(o, func(m member) bool { return m.key == key })
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

// IsFileName tells whether a file of this name can be read as a settings file.
func IsFileName(name string) bool {
	_, ok := formats[strings.ToLower(filepath.Ext(name))]
	return ok
}

// readFile reads a settings file of any format. Errors do not name it.
func readFile(path string) (object, error) {
	parse, ok := formats[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return nil, errors.New("no settings file: its name must end in .toml, .yaml, .yml or .json; " +
			"scripts/export_settings.py writes one from the settings of a Python app")
	}
	data, err := os.ReadFile(path)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err // without the path
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return parse(data)
}
