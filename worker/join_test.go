package worker

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// TestResultsAreNotCopied: those of a chord may be most of the memory that a worker needs.
func TestResultsAreNotCopied(t *testing.T) {
	t.Parallel()
	results := make([]backend.ChordResult, 50)
	for i := range results {
		results[i] = backend.ChordResult{State: protocol.Success, Result: bytes.Repeat([]byte("1"), 1000)}
	}
	list, err := listResults(results)
	if err != nil || len(list) != len(results) {
		t.Fatal(len(list), err)
	}
	nested, _ := nestAll([]byte(`[["g", null], [[["a", null], null], [["h", null], [[["b", null], null], [["c", null], null]]], 5, [["d", null], null]]]`),
		[][]byte{list[0], list[1], nil, list[3]})
	for i, element := range list {
		if &element[0] != &results[i].Result[0] {
			t.Fatalf("result %d was copied", i)
		}
	}
	if &nested[0][0] != &list[0][0] || &nested[3][0] != &list[3][0] || string(nested[1]) != "["+string(list[1])+", null]" || string(nested[2]) != "null" {
		t.Errorf("nested: %q", nested)
	}
}

// TestResultIsEncodedInItsRecord: nothing has a copy of a task's result but its record.
func TestResultIsEncodedInItsRecord(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 100, 1 << 20} {
		what, err := successRecord(strings.Repeat("x", size), 200)
		if err != nil || len(what.result) != size+2 {
			t.Fatal(len(what.result), err)
		}
		o := &outcomes{stores: true, now: time.Now, location: time.UTC}
		record := o.record(&request{Request: tasks.Request{Task: &protocol.Task{ID: "id"}}}, what, true)
		decoded, err := protocol.DecodeResult(record)
		if err != nil || !bytes.Equal(decoded.Result, what.result) || decoded.TaskID != "id" || decoded.State != protocol.Success {
			t.Errorf("%v, %.200s", err, record)
		}
		if size != 100 && &decoded.Result[0] != &what.result[0] {
			t.Errorf("a result of %d bytes was copied", size)
		}
	}
	if what, err := successRecord(func() {}, 200); err == nil || what.result != nil {
		t.Error(what, err)
	}
}
