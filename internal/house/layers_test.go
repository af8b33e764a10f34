package house_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/apium/apium"

// Other modules, by the short name the layer table uses for them.
var modules = map[string]string{
	"redigo":     "github.com/gomodule/redigo",
	"sentinel":   "github.com/FZambia/sentinel",
	"miniredis":  "github.com/alicebob/miniredis/v2",
	"cli/v2":     "github.com/urfave/cli/v2",
	"prometheus": "github.com/prometheus/client_golang",
	"go-cmp":     "github.com/google/go-cmp",
	"toml":       "github.com/BurntSushi/toml",
	"msgp":       "github.com/tinylib/msgp",
	"yaml":       "go.yaml.in/yaml/v3",
	"zstd":       "github.com/klauspost/compress",
	"brotli":     "github.com/andybalholm/brotli",
	"bzip2":      "github.com/dsnet/compress",
	"xz":         "github.com/ulikunitz/xz",
	"term":       "golang.org/x/term",
}

// layers lists, for every package, what it may import besides the standard
// library: packages of this module, all of them further down, and other modules.
// A new package must be entered here.
var layers = map[string][]string{
	"protocol/pyjson": {},
	"protocol":        {"protocol/pyjson"},

	"protocol/compression":       {"bzip2", "brotli", "xz", "zstd"},
	"protocol/serializer/plain":  {"protocol/pyjson"},
	"protocol/serializer/pickle": {"protocol/serializer/plain", "protocol", "protocol/pyjson"},
	"protocol/serializer": {
		"protocol/serializer/plain", "protocol/serializer/pickle", "protocol/compression", "protocol", "protocol/pyjson", "msgp", "yaml",
	},

	"protocol/canvas": {"protocol", "protocol/pyjson"},

	"tasks":        {"protocol", "protocol/pyjson", "protocol/canvas", "internal/logline"},
	"tasks/sample": {"tasks", "protocol/pyjson"},
	"tasks/taskstest": {
		"tasks", "protocol", "protocol/canvas", "protocol/pyjson", "client", "worker", "broker", "broker/membroker", "backend", "backend/membackend",
	},

	"broker":             {"protocol"},
	"broker/brokertest":  {"broker", "protocol", "go-cmp"},
	"broker/membroker":   {"broker", "protocol", "protocol/pyjson"},
	"broker/redisbroker": {"broker", "protocol", "protocol/pyjson", "settings/connection", "internal/envelope", "internal/redisconn", "internal/logline", "redigo"},

	"backend":             {"protocol"},
	"backend/backendtest": {"backend", "protocol", "go-cmp"},
	"backend/membackend":  {"backend", "protocol"},
	"backend/redisbackend": {
		"backend", "protocol", "protocol/pyjson", "settings/connection", "internal/redisconn", "redigo", "protocol/serializer", "protocol/compression",
	},

	"worker":           {"protocol", "protocol/pyjson", "tasks", "protocol/canvas", "broker", "backend", "protocol/serializer", "protocol/compression", "internal/logline", "internal/publish"},
	"internal/publish": {"protocol", "protocol/pyjson", "protocol/canvas", "protocol/serializer", "broker", "backend"},
	"operate/control":  {"protocol", "protocol/pyjson", "tasks", "broker", "worker", "internal/fnmatch", "internal/logline"},
	"operate/gossip":   {"protocol", "protocol/pyjson", "broker", "worker", "operate/control", "internal/logline"},
	"operate/events":   {"protocol", "protocol/pyjson", "broker", "worker", "internal/logline"},
	"client":           {"protocol", "protocol/pyjson", "protocol/canvas", "tasks", "broker", "backend", "internal/publish"},
	"operate/metrics":  {"worker", "protocol", "broker", "prometheus"},

	"settings/connection": {},
	"settings":            {"settings/connection", "broker", "tasks", "protocol/canvas", "internal/fnmatch", "internal/nearest", "toml", "yaml"},
	"internal/fnmatch":    {},
	"internal/nearest":    {},

	"internal/nodename": {},
	"internal/build":    {},
	"internal/fromsettings": {
		"settings", "protocol/canvas", "client", "tasks", "worker", "operate/events", "operate/metrics", "broker", "broker/redisbroker", "broker/membroker",
		"backend", "backend/redisbackend", "backend/membackend", "internal/nearest",
		"settings/connection", "internal/nodename",
	},
	"app": {
		"settings", "client", "tasks", "worker", "protocol", "protocol/canvas", "broker", "operate/control", "operate/events", "operate/gossip", "operate/metrics",
		"broker/redisbroker", "backend/redisbackend", "settings/connection", "internal/redisconn", "internal/fromsettings", "internal/logline", "internal/nodename", "internal/build", "prometheus",
	},

	"internal/redisconn":    {"settings/connection", "redigo", "sentinel", "internal/logline"},
	"internal/logline":      {},
	"internal/logtest":      {},
	"internal/envelope":     {"protocol", "protocol/pyjson"},
	"internal/envelopetest": {"protocol", "internal/envelope"},
	"internal/redistest":    {"redigo"},
	"internal/embedded":     {"miniredis"},

	"cli": {
		"protocol", "protocol/pyjson", "tasks", "tasks/sample", "broker", "backend", "worker", "operate/control", "operate/events", "client", "app",
		"broker/redisbroker", "backend/redisbackend", "internal/embedded", "internal/fromsettings", "internal/logline", "internal/build", "internal/nodename", "cli/v2",
		"settings", "protocol/canvas", "internal/nearest", "protocol/serializer", "protocol/compression", "term",
	},
	".": {"cli", "tasks", "tasks/sample"},
}

// TestLayers reads the imports itself rather than asking the go command, so that
// the test cache sees which files it depends on.
func TestLayers(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(path)) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			checkImports(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkImports reports the imports of one file that its package may not have.
func checkImports(t *testing.T, path string) {
	t.Helper()
	dir := filepath.ToSlash(filepath.Dir(path))
	allowed, ok := layers[dir]
	if !ok {
		t.Errorf("%s: package %q is not in the layer table of internal/house/layers_test.go", path, dir)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Errorf("%s: import %s: %v", path, spec.Path.Value, err)
		}
		if name, outside := layerName(imported); outside && !slices.Contains(allowed, name) {
			t.Errorf("%s: package %s may not import %s", path, dir, name)
		}
	}
}

// layerName gives an import the name it has in the layer table; outside is false
// for the standard library, which everybody may import.
func layerName(imported string) (name string, outside bool) {
	if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
		return inside, true
	}
	for short, path := range modules {
		if imported == path || strings.HasPrefix(imported, path+"/") {
			return short, true
		}
	}
	first, _, _ := strings.Cut(imported, "/")
	return imported, strings.Contains(first, ".")
}

// isModule reports whether a folder is a module of its own.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
