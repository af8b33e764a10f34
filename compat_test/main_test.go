// Package compat_test holds the worker against its real peers: Celery 5.7, 5.2
// and 4.4, Django, gocelery, and Redis, RabbitMQ and the SQL databases themselves. It needs the Python
// environments scripts/venv makes, and redis-server, rabbitmq-server, prometheus, postgres and mariadbd;
// scripts/test gets all.
package compat_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/internal/sqltest"
)

// The programs under test: the binary users build, and a worker with the Go
// twins of testdata/app/tapp.py.
var apiumBinary, workerBinary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "apium-compat-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	apiumBinary = filepath.Join(dir, "apium")
	workerBinary = filepath.Join(dir, "worker")
	for out, pkg := range map[string]string{apiumBinary: "..", workerBinary: "./testdata/worker"} {
		build := exec.Command("go", "build", "-o", out, pkg)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %s: %v\n", pkg, err)
			return 1
		}
	}
	if err := prerequisites(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer sqltest.Stop()
	defer rabbittest.Stop()
	go watchSlowness()
	return m.Run()
}

// prerequisites says in a sentence what is missing and how to get it.
func prerequisites() error {
	for _, venv := range []string{celery57, celery52, celery44} {
		if _, err := os.Stat(interpreter(venv)); err != nil {
			return fmt.Errorf("compat_test: the Python environment %s is missing: run scripts/venv", venv)
		}
	}
	if _, err := redisProgram(); err != nil {
		return err
	}
	if _, err := prometheusProgram(); err != nil {
		return err
	}
	if err := rabbittest.Find(); err != nil {
		return err
	}
	return sqltest.Find()
}
