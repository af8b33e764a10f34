package control

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// receivedLine is kombu's line for a command, with the values as Python shows them.
func receivedLine(r *protocol.ControlRequest) string {
	var args []string
	for name, value := range pyjson.Members(r.Arguments) {
		args = append(args, name+"="+protocol.Repr(value))
	}
	replyTo := "None"
	if to := r.ReplyTo; to != nil {
		replyTo = fmt.Sprintf("{'exchange': '%s', 'routing_key': '%s'}", to.Exchange, to.RoutingKey)
	}
	return fmt.Sprintf("pidbox received method %s(%s) [reply_to:%s ticket:%s]", r.Method, strings.Join(args, ", "), replyTo, cmp.Or(r.Ticket, "None"))
}
