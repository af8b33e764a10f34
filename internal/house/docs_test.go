package house_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// frame is what stands around an example that is no whole file.
const frame = `package example

import (
	%s
)

func example(ctx context.Context, reg *tasks.Registry) error {
	%s
}
`

// Every Go example of the documentation compiles, and its tests pass.
func TestGoExamplesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{} // as if the examples were in folders of this module
	var packages []string
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range goBlock.FindAllStringSubmatch(string(text), -1) {
			source, name := block[1], "example.go"
			if !strings.HasPrefix(source, "package ") {
				source = fmt.Sprintf(frame, imports(source), source)
			}
			if strings.Contains(source, "*testing.T") {
				name = "example_test.go"
			}
			example := fmt.Sprintf("%s-%d", strings.TrimSuffix(filepath.Base(page), ".md"), i)
			file := filepath.Join(dir, example+"-"+name)
			if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(root, "docs", "examples", example, name)] = file
			packages = append(packages, "./docs/examples/"+example)
		}
	}
	if len(packages) < 3 {
		t.Fatalf("only %q were found", packages)
	}
	overlay := filepath.Join(dir, "overlay.json")
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", name, args[0], err, out)
		}
	}
	run("go", append([]string{"test", "-c", "-vet=off", "-overlay", overlay, "-o", dir + "/"}, packages...)...)
	tests, err := filepath.Glob(filepath.Join(dir, "*.test"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests were built: %v", err)
	}
	for _, test := range tests {
		run(test, "-test.v")
	}
}

// imports lists the packages that an example names.
func imports(source string) string {
	source = regexp.MustCompile(`(?m)//.*$`).ReplaceAllString(source, "")
	known := []string{"app", "protocol/canvas", "cli", "client", "protocol", "settings", "tasks", "tasks/batches", "tasks/oteltasks", "tasks/sentrytasks", "tasks/unique", "worker"}
	lines := []string{`"context"`, `"github.com/apium/apium/tasks"`}
	for _, other := range []string{"fmt", "log/slog", "net/http", "time", "github.com/prometheus/client_golang/prometheus", "github.com/getsentry/sentry-go"} {
		if regexp.MustCompile(`\b` + strings.TrimSuffix(path.Base(other), "-go") + `\.[A-Za-z]`).MatchString(source) {
			lines = append(lines, strconv.Quote(other))
		}
	}
	for _, known := range known {
		line := `"github.com/apium/apium/` + known + `"`
		if regexp.MustCompile(`\b`+path.Base(known)+`\.[A-Z]`).MatchString(source) && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n\t")
}
