package worker

import (
	"strings"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
)

// TestResultsAreCopiedOnce: those of a chord may be most of the memory that a worker needs.
func TestResultsAreCopiedOnce(t *testing.T) {
	results := make([]backend.ChordResult, 50)
	for i := range results {
		results[i] = backend.ChordResult{State: protocol.Success, Result: []byte(strings.Repeat("1", 1000))}
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = listResults(results) }); n != 1 {
		t.Errorf("%v allocations for a list, want 1", n)
	}
	list, err := listResults(results)
	if want := "[" + strings.Repeat(string(results[0].Result)+", ", 49) + string(results[0].Result) + "]"; err != nil || string(list) != want {
		t.Errorf("%v, %s", err, list)
	}
}
