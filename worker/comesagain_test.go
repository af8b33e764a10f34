package worker

import (
	"fmt"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// What went back is known once, with its number of retries, if it was announced before.
func TestComesAgain(t *testing.T) {
	t.Parallel()
	var c comesAgain
	of := func(id string, retries int, announced bool) *request {
		return &request{Request: tasks.Request{Task: &protocol.Task{ID: id, Retries: retries}}, announced: announced}
	}
	c.note([]*request{of("1", 0, true), of("2", 0, false)})
	if c.take(of("1", 1, false)) || c.take(of("2", 0, false)) {
		t.Error("another run, or a message that nobody was told of, is known")
	}
	if !c.take(of("1", 0, false)) || c.take(of("1", 0, false)) {
		t.Error("a message is not known once")
	}
	for i := range 3 * latelyKnown {
		c.note([]*request{of(fmt.Sprint(i), 0, true)})
	}
	if n := c.messages.len(); n > 2*latelyKnown || !c.take(of(fmt.Sprint(3*latelyKnown-1), 0, false)) {
		t.Errorf("%d are remembered", n)
	}
}
