package nearest_test

import (
	"testing"

	"github.com/apium/apium/internal/nearest"
)

func TestName(t *testing.T) {
	t.Parallel()
	known := []string{"task_acks_late", "task_routes", "worker", "send"}
	for name, want := range map[string]string{
		"task_ack_late": "task_acks_late",
		"taskacks_late": "task_acks_late",
		"task_route":    "task_routes",
		"wroker":        "worker",
		"w":             "worker",
		"quite_other":   "",
	} {
		if got := nearest.Name(name, known); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
