package worker_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func newWithState(path string) (*worker.Worker, error) {
	return worker.New(worker.Config{Registry: tasks.NewRegistry(), Consumer: new(membroker.Broker).Consumer(queue), StateDB: path})
}

// What was revoked is known to the next worker.
func TestStateDB(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	w, err := newWithState(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("no file is made at once: %v", err)
	}
	w.Operations().Revoke(t.Context(), "b", "a")
	if w, err = newWithState(path); err != nil {
		t.Fatal(err)
	}
	if got := w.Operations().Revoked(); !slices.Contains(got, "a") || !slices.Contains(got, "b") || len(got) != 2 {
		t.Errorf("revoked: %v, want a and b", got)
	}
}

// A file of another kind is not taken, and stays as it is.
func TestStateDBThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"settings.json": `{"task_acks_late": true}`, "shelve": "GDBM", "empty": ""} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newWithState(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
		if got, err := os.ReadFile(path); string(got) != text {
			t.Errorf("%s has become %q, %v", name, got, err)
		}
	}
	path := filepath.Join(dir, "missing", "state")
	if _, err := newWithState(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("in a missing directory: %v, want an error that names it", err)
	}
}
