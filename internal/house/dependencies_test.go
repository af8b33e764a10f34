package house_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// testOnly are modules that only tests and comparisons need. They are named in go.mod; nothing
// that is imported may pull them in.
var testOnly = []string{
	"github.com/gocelery/gocelery", "go.uber.org/goleak", "github.com/google/go-cmp", "github.com/streadway/amqp", "github.com/satori/go.uuid",
}

// serverOnly are modules that the command line needs, and programs with a worker of their own do not.
var serverOnly = []string{"github.com/alicebob/miniredis/v2", "github.com/urfave/cli/v2", "golang.org/x/term"}

// sqlOnly are the drivers of SQL databases, which only programs have that ask for them.
var sqlOnly = []string{"github.com/jackc/pgx/v5", "github.com/go-sql-driver/mysql", "modernc.org/sqlite"}

// What users import brings along what they need, and no more.
func TestUsersGetNoTestDependencies(t *testing.T) {
	t.Parallel()
	needed := func(packages ...string) []string {
		args := []string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}
		for _, p := range packages {
			args = append(args, "./"+p)
		}
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		modules := strings.Fields(string(out))
		slices.Sort(modules)
		return slices.Compact(modules)
	}
	library := []string{
		"tasks", "app", "client", "settings", "worker", "protocol/...", "broker", "broker/redisbroker", "broker/membroker",
		"backend", "backend/redisbackend", "backend/membackend", "operate/...",
	}
	for name, has := range map[string]struct{ modules, forbidden []string }{
		"the library":      {needed(library...), slices.Concat(testOnly, serverOnly, sqlOnly)},
		"the command line": {needed("cli"), testOnly},
	} {
		if !slices.Contains(has.modules, "github.com/prometheus/client_golang") {
			t.Fatalf("%s needs %q: these are not all", name, has.modules)
		}
		for _, m := range has.forbidden {
			if slices.Contains(has.modules, m) {
				t.Errorf("%s needs %s", name, m)
			}
		}
	}
	if modules := needed("tasks"); slices.ContainsFunc(modules, func(m string) bool { return m != module }) {
		t.Errorf("package tasks, which every handler imports, needs %q", modules)
	}
}
