package python

import (
	"embed"
	"encoding/json"
	"io/fs"
	"strings"

	"github.com/apium/apium/scripts"
)

//go:embed driver/*.py
var driverFiles embed.FS

// starter runs what it reads from descriptor 4. It keeps the driver out of what ps shows, and
// modules of the working directory from being taken for Python's own.
const starter = "import sys;sys.path[:]=filter(None,sys.path);import json,os;given=json.load(os.fdopen(4));exec(given['start'])"

// bootstrap is the module of the driver that makes the others importable.
const bootstrap = "bootstrap"

// given is what the starter reads.
type given struct {
	Start   string            `json:"start"`
	Modules map[string]string `json:"modules"`
	Run     string            `json:"run"` // the module whose main is called
	Options any               `json:"options"`
}

// driver returns what has a Python process run a module of the driver.
func driver(module string, options any) ([]byte, error) {
	g := given{Modules: map[string]string{}, Run: module, Options: options}
	names, err := fs.Glob(driverFiles, "driver/*.py")
	if err != nil {
		return nil, err
	}
	for _, path := range names {
		source, err := driverFiles.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "driver/"), ".py")
		if name == bootstrap {
			g.Start = string(source)
			continue
		}
		g.Modules[name] = string(source)
	}
	return json.Marshal(g)
}

var exporter = scripts.ExportSettings
