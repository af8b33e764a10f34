package house_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whoever opens the repository sees at a glance what there is.
func TestRootHasFewEntries(t *testing.T) {
	t.Parallel()
	ignored, err := os.ReadFile(".gitignore")
	if err != nil {
		t.Fatal(err)
	}
	patterns := strings.Fields(strings.ReplaceAll(string(ignored), "/", ""))
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		matches := func(pattern string) bool {
			matched, err := filepath.Match(pattern, entry.Name())
			return err == nil && matched
		}
		if entry.Name() != ".git" && !slices.ContainsFunc(patterns, matches) {
			names = append(names, entry.Name())
		}
	}
	if len(names) > 24 {
		t.Errorf("%d entries are more than 24: put what belongs together under one roof: %q", len(names), names)
	}
}
