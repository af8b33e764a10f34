package compat_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var (
	pythonBlock = regexp.MustCompile("(?s)```python\n(.*?)```")
	goBlock     = regexp.MustCompile("(?s)```go\n(.*?)```")
	shellLine   = regexp.MustCompile(`(?m)^    (\S.*)$`)
)

// docs/start.md is followed to the letter, but that go get takes the module from here and not from the internet.
func TestStart(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/start.md")
	if err != nil {
		t.Fatal(err)
	}
	server := startRedis(t)
	page := strings.ReplaceAll(string(raw), "redis://localhost:6379/0", server.url(0))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "shop.py"), pythonBlock.FindStringSubmatch(page)[1], 0o644)
	buildExample(t, filepath.Join(dir, "shop-worker"), goBlock.FindStringSubmatch(page)[1])
	venv, err := filepath.Abs(filepath.Dir(filepath.Dir(interpreter(celery57))))
	if err != nil {
		t.Fatal(err)
	}
	env := activated(venv)
	env = append(env, env[1]+string(filepath.ListSeparator)+filepath.Dir(apiumBinary), "PYTHONDONTWRITEBYTECODE=1")
	var w *process
	ran, said := 0, ""
	for _, line := range shellLine.FindAllStringSubmatch(goBlock.ReplaceAllString(pythonBlock.ReplaceAllString(page, ""), ""), -1) {
		ran++
		switch typed := line[1]; {
		case strings.Contains(typed, "go get"):
		case strings.Contains(typed, " worker "):
			if w != nil {
				w.interrupt(t)
			}
			w = start(t, typed, dir, env, "sh", "-c", "exec "+typed)
			w.waitLog(t, " ready.")
		default:
			said += command(t, dir, env, "sh", "-c", typed) + "\n"
		}
	}
	w.waitLog(t, "MainProcess] Task shop.price")
	w.interrupt(t)
	if ran != 7 || strings.Count(said, "6\n") != 2 || !strings.Contains(said, "shop.price") || !strings.Contains(said, "1 node online.") {
		t.Errorf("%d lines of the page said:\n%s", ran, said)
	}
}

// interrupt is Ctrl+C.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGINT)
	p.exitCode(t)
}

// buildExample builds a program of the documentation, as if it were in this module.
func buildExample(t *testing.T, program, source string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	writeFile(t, file, source, 0o644)
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "docs", "start", "main.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, overlay, string(replace), 0o644)
	command(t, root, nil, "go", "build", "-overlay", overlay, "-o", program, "./docs/start")
}
