package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apium/apium/internal/redistest"
)

// A program in a module of its own runs workers with nothing but what this one exports.
func TestEmbedding(t *testing.T) {
	t.Parallel()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	ours := read("go.mod")
	_, required, _ := strings.Cut(ours, "\nrequire (") // the versions that the module cache has
	for name, text := range map[string]string{
		"main.go": read("internal/house/testdata/embedder/main.go"),
		"go.sum":  read("go.sum"),
		"go.mod": "module example.org/embedder\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root +
			"\n\nrequire (" + required,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) string {
		command := exec.CommandContext(t.Context(), name, args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	run("go", "build", "-o", "embedder", ".")
	if out := run(filepath.Join(dir, "embedder"), redistest.Start(t).URL(0)); out != "all is well" {
		t.Errorf("the program printed:\n%s", out)
	}
}
