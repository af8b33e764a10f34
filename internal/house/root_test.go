package house_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Whoever opens the repository sees at a glance what there is. Directories of what is made here, and
// not committed, say so in a .gitignore of their own.
func TestRootHasFewEntries(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		ignored, err := os.ReadFile(filepath.Join(entry.Name(), ".gitignore"))
		if entry.Name() != ".git" && (err != nil || string(ignored) != "*\n") {
			names = append(names, entry.Name())
		}
	}
	if len(names) > 24 {
		t.Errorf("%d entries are more than 24: put what belongs together under one roof: %q", len(names), names)
	}
}
