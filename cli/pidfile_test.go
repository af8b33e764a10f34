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
	for text, stale := range map[string]bool{
		fmt.Sprint(os.Getppid()):  false,
		"2147483647\n":            true, // no such process
		"":                        true,
		"junk":                    true,
		fmt.Sprintln(os.Getpid()): true, // ours: left by an earlier life in a container
	} {
		path := filepath.Join(t.TempDir(), "worker.pid")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		_, err := writePidfile(path, &stderr)
		var running *runningError
		switch {
		case stale && (err != nil || stderr.String() != "Stale pidfile exists - Removing it.\n"):
			t.Errorf("%q: %v, stderr %q", text, err, stderr.String())
		case !stale && !errors.As(err, &running):
			t.Errorf("%q: %v, want a runningError", text, err)
		}
	}
}
