package house_test

import (
	"go/ast"
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
	"amqp091":    "github.com/rabbitmq/amqp091-go",
	"otel":       "go.opentelemetry.io/otel",
	"sentry":     "github.com/getsentry/sentry-go",
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
	"sys":        "golang.org/x/sys/unix",
	"term":       "golang.org/x/term",
	"rrule":      "github.com/teambition/rrule-go",
	"pgx":        "github.com/jackc/pgx/v5",
	"mysql":      "github.com/go-sql-driver/mysql",
	"sqlite":     "modernc.org/sqlite",
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

	"tasks":             {"protocol", "protocol/pyjson", "protocol/canvas", "beat/schedule", "internal/logline"},
	"tasks/oteltasks":   {"tasks", "protocol", "protocol/pyjson", "otel"},
	"tasks/batches":     {"tasks", "worker"},
	"tasks/unique":      {"tasks", "client", "protocol", "protocol/canvas", "protocol/pyjson", "internal/redisconn"},
	"tasks/sentrytasks": {"tasks", "protocol", "protocol/pyjson", "sentry"},
	"tasks/sample":      {"tasks", "protocol/pyjson"},
	"tasks/taskstest": {
		"tasks", "protocol", "protocol/canvas", "protocol/pyjson", "client", "worker", "broker", "broker/membroker", "backend", "backend/membackend",
	},

	"broker":             {"protocol"},
	"broker/brokertest":  {"broker", "protocol", "go-cmp"},
	"broker/membroker":   {"broker", "protocol", "protocol/pyjson"},
	"broker/redisbroker": {"broker", "protocol", "protocol/pyjson", "settings/connection", "internal/envelope", "internal/redischord", "internal/redisconn", "internal/reconnect", "internal/logline", "redigo"},

	"broker/amqpbroker": {"broker", "protocol", "protocol/pyjson", "settings/connection", "internal/rabbitconn", "internal/reconnect", "internal/logline", "amqp091"},

	"backend":             {"protocol"},
	"backend/backendtest": {"backend", "protocol", "go-cmp"},
	"backend/membackend":  {"backend", "protocol"},
	"backend/redisbackend": {
		"backend", "protocol", "protocol/pyjson", "settings/connection", "internal/redischord", "internal/redisconn", "redigo", "protocol/serializer", "protocol/compression",
	},

	"backend/rpcbackend": {"backend", "protocol", "protocol/pyjson", "protocol/serializer", "settings/connection", "internal/rabbitconn", "internal/logline", "amqp091"},

	"backend/sqlbackend": {
		"backend", "protocol", "protocol/pyjson", "protocol/serializer", "internal/sqldb", "internal/logline",
	},

	"worker":           {"protocol", "protocol/pyjson", "tasks", "protocol/canvas", "broker", "backend", "protocol/serializer", "protocol/compression", "internal/logline", "internal/publish", "internal/wholefile"},
	"internal/publish": {"protocol", "protocol/pyjson", "protocol/canvas", "protocol/serializer", "broker", "backend"},
	"operate/control":  {"protocol", "protocol/pyjson", "tasks", "broker", "worker", "internal/fnmatch", "internal/logline"},
	"operate/gossip":   {"protocol", "protocol/pyjson", "broker", "worker", "operate/control", "internal/logline"},
	"operate/events":   {"protocol", "protocol/pyjson", "broker", "worker", "internal/logline"},
	"client/outbox":    {"client", "broker", "protocol", "protocol/canvas"},
	"client":           {"protocol", "protocol/pyjson", "protocol/canvas", "tasks", "broker", "backend", "internal/publish"},
	"scripts":          {},
	"python":           {"backend", "broker", "protocol", "protocol/canvas", "protocol/pyjson", "protocol/serializer", "tasks", "worker", "internal/logline", "scripts", "sys"},
	"operate/metrics":  {"worker", "tasks", "protocol", "broker", "prometheus"},

	"settings/connection": {},
	"settings":            {"settings/connection", "broker", "tasks", "protocol/canvas", "protocol/pyjson", "internal/fnmatch", "internal/nearest", "toml", "yaml"},
	"internal/fnmatch":    {},
	"internal/nearest":    {},
	"internal/wholefile":  {},
	"internal/stubs":      {"tasks", "protocol/canvas", "protocol/pyjson", "internal/fnmatch", "internal/nearest"},

	"beat/schedule":   {},
	"beat/djangobeat": {"beat", "beat/schedule", "protocol/pyjson", "internal/sqldb"},
	"beat/redbeat":    {"beat", "beat/schedule", "broker", "protocol/pyjson", "settings/connection", "internal/logline", "internal/redisconn", "redigo", "rrule"},
	"beat":            {"beat/schedule", "broker", "client", "protocol/canvas", "protocol/pyjson", "internal/logline", "internal/nearest", "internal/wholefile"},

	"internal/nodename": {},
	"internal/sdnotify": {"sys"},
	"internal/build":    {},
	"internal/fromsettings": {
		"settings", "protocol/canvas", "client", "tasks", "worker", "operate/events", "operate/metrics", "broker", "broker/redisbroker", "broker/membroker",
		"broker/amqpbroker", "backend", "backend/redisbackend", "backend/rpcbackend", "backend/membackend", "internal/nearest", "internal/redisconn", "internal/rabbitconn",
		"settings/connection", "internal/nodename",
	},
	"internal/doctor": {
		"settings", "protocol", "protocol/pyjson", "broker", "broker/amqpbroker", "broker/redisbroker", "operate/control", "internal/fromsettings", "internal/redisconn", "redigo",
	},
	"app": {
		"beat", "beat/schedule", "settings", "client", "tasks", "worker", "python", "protocol", "protocol/canvas", "protocol/serializer", "broker", "operate/control", "operate/events", "operate/gossip", "operate/metrics",
		"broker/redisbroker", "backend/redisbackend", "settings/connection", "internal/redisconn", "internal/reconnect", "internal/fromsettings", "internal/logline", "internal/nodename", "internal/build", "prometheus",
	},

	"app/sql": {"backend/sqlbackend", "internal/fromsettings", "settings", "settings/connection"},

	"internal/serverurl":    {"settings/connection"},
	"internal/redischord":   {"internal/redisconn"},
	"internal/redisconn":    {"settings/connection", "redigo", "sentinel", "internal/serverurl"},
	"internal/reconnect":    {"internal/logline"},
	"internal/rabbitconn":   {"settings/connection", "amqp091", "internal/reconnect", "internal/serverurl"},
	"internal/logline":      {},
	"internal/logtest":      {},
	"internal/envelope":     {"protocol", "protocol/pyjson"},
	"internal/envelopetest": {"protocol", "internal/envelope"},
	"internal/redistest":    {"redigo"},
	"internal/terminaltest": {"sys"},
	"internal/certtest":     {},
	"internal/guarded":      {},
	"internal/rabbittest":   {"internal/guarded", "amqp091"},
	"internal/sqltest":      {"internal/certtest", "internal/guarded", "pgx", "mysql", "sqlite"},
	"internal/embedded":     {"miniredis"},
	"internal/simulation":   {},
	"internal/rabbitmemory": {},
	"internal/explorer":     {"miniredis"},
	"internal/sqldb":        {"pgx", "mysql", "sqlite"},

	"cli": {
		"beat", "beat/schedule", "beat/djangobeat", "beat/redbeat",
		"internal/doctor",
		"protocol", "protocol/pyjson", "tasks", "tasks/sample", "broker", "backend", "worker", "operate/control", "operate/events", "operate/metrics", "client", "app", "app/sql", "python",
		"broker/redisbroker", "backend/redisbackend", "internal/embedded", "internal/fromsettings", "internal/logline", "internal/build", "internal/nodename", "internal/sdnotify", "cli/v2",
		"settings", "settings/connection", "protocol/canvas", "internal/nearest", "internal/stubs", "protocol/serializer", "protocol/compression", "term",
	},
	".":              {"cli", "tasks", "tasks/sample"},
	"internal/wheel": {"cli", "tasks"},
}

// TestLayers reads the imports itself rather than asking the go command, so that
// the test cache sees which files it depends on.
func TestLayers(t *testing.T) {
	t.Parallel()
	eachSource(t, func(path string) { checkImports(t, path) })
}

// eachSource calls do with each Go file of the module that is no test.
func eachSource(t *testing.T, do func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(path)):
			return fs.SkipDir
		case !entry.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			do(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eachParsed calls do with each of them as it is parsed.
func eachParsed(t *testing.T, do func(files *token.FileSet, file *ast.File)) {
	t.Helper()
	eachSource(t, func(path string) {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		do(files, file)
	})
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
