package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPidfile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "worker.pid")
	var stderr strings.Builder
	remove, err := writePidfile(path, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if want := fmt.Sprintf("%d\n", os.Getpid()); err != nil || string(text) != want {
		t.Errorf("pid file holds %q, %v, want %q", text, err, want)
	}
	remove()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after remove: %v", err)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.String())
	}
}

func TestPidfileOfOthers(t *testing.T) {
	t.Parallel()
	for text, left := range map[string]string{
		fmt.Sprint(os.Getppid()):  "",
		"2147483647\n":            "Stale pidfile exists", // no such process
		"":                        "Broken pidfile found",
		"junk":                    "Broken pidfile found",
		fmt.Sprintln(os.Getpid()): "Stale pidfile exists", // ours: left by an earlier life in a container
	} {
		path := filepath.Join(t.TempDir(), "worker.pid")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		_, err := writePidfile(path, &stderr)
		var running *runningError
		switch {
		case left != "" && (err != nil || stderr.String() != left+" - Removing it.\n"):
			t.Errorf("%q: %v, stderr %q", text, err, stderr.String())
		case left == "" && !errors.As(err, &running):
			t.Errorf("%q: %v, want a runningError", text, err)
		}
	}
}
