package compat_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The Python environments, by the Celery they hold.
const (
	celery57 = ".venv"
	celery52 = ".venv-5.2"
	celery44 = ".venv-4.4"
)

// peers are the environments a test of all versions walks through.
var peers = map[string]string{"5.7": celery57, "5.2": celery52, "4.4": celery44}

const appDir = "testdata/app"

func interpreter(venv string) string {
	if filepath.IsAbs(venv) {
		return filepath.Join(venv, "bin", "python")
	}
	path, err := filepath.Abs(filepath.Join("..", venv, "bin", "python"))
	if err != nil {
		return venv
	}
	return path
}

// app says where testdata/app finds its Redis, and with which settings it runs.
type app struct {
	venv     string // default celery57; a path of another one
	broker   string
	backend  string         // default: broker
	ours     string         // our worker's --result-backend; default: backend
	journal  string         // where tasks leave their traces
	settings map[string]any // Celery settings
	module   string         // of the worker's app, default tapp

	variables []string // of the workers' environment, besides
}

func (a app) python() string {
	if a.venv == "" {
		return interpreter(celery57)
	}
	return interpreter(a.venv)
}

func (a app) env(t *testing.T) []string {
	t.Helper()
	if a.backend == "" {
		a.backend = a.broker
	}
	if a.settings == nil {
		a.settings = map[string]any{}
	}
	settings, err := json.Marshal(a.settings)
	if err != nil {
		t.Fatal(err)
	}
	return append(a.variables[:len(a.variables):len(a.variables)],
		"BROKER="+a.broker, "BACKEND="+a.backend, "JOURNAL="+a.journal, "SETTINGS="+string(settings),
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "PYTHONIOENCODING=utf-8", "PYTHONWARNINGS=ignore",
		"C_FORCE_ROOT=1",
	)
}

// run executes a script of testdata/app (a name ending in .py) or Python source
// with arguments, and decodes what it prints as JSON into out.
func (a app) run(t *testing.T, out any, script string, args ...string) {
	t.Helper()
	if !strings.HasSuffix(script, ".py") {
		args = append([]string{"-c", script}, args...)
	} else {
		args = append([]string{script}, args...)
	}
	cmd := exec.Command(a.python(), args...)
	cmd.Dir = appDir
	cmd.Env = append(os.Environ(), a.env(t)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("python: %v\n%s", err, tail(stderr.String(), 3000))
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		t.Fatalf("python printed no JSON: %v\n%s", err, tail(stdout.String(), 3000))
	}
}

// startWorker starts a Python worker and waits until it is ready.
func (a app) startWorker(t *testing.T, args ...string) *process {
	t.Helper()
	if a.module == "" {
		a.module = "tapp"
	}
	flags := []string{"-m", "celery", "-A", a.module, "worker"}
	if a.venv == celery44 {
		flags = []string{"-m", "celery", "worker", "-A", a.module}
	}
	flags = append(flags, "-c", "2", "-l", "info", "--without-gossip", "--without-mingle", "--without-heartbeat")
	p := start(t, "python worker", appDir, a.env(t), a.python(), append(flags, args...)...)
	p.waitLog(t, " ready.")
	return p
}
