package control

import (
	"testing"

	"github.com/apium/apium/protocol"
)

// The lines are what kombu's pidbox writes for the same commands.
func TestReceivedLine(t *testing.T) {
	t.Parallel()
	to := &protocol.ControlAddress{Exchange: "a", RoutingKey: "b"}
	for want, r := range map[string]protocol.ControlRequest{
		"pidbox received method m() [reply_to:{'exchange': 'a', 'routing_key': 'b'} ticket:7]":             {Method: "m", Arguments: []byte("{}"), ReplyTo: to, Ticket: "7"},
		"pidbox received method rate_limit(task_name='a', n=None, l=[1, 'x']) [reply_to:None ticket:None]": {Method: "rate_limit", Arguments: []byte(`{"task_name": "a", "n": null, "l": [1, "x"]}`)},
		"pidbox received method ping() [reply_to:None ticket:None]":                                        {Method: "ping"},
	} {
		if got := receivedLine(&r); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
