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
	s := pyjson.NewScanner(r.Arguments)
	for s.Enter('{'); s.Next(); {
		name := string(s.Key())
		args = append(args, name+"="+protocol.Repr(s.Value()))
	}
	replyTo := "None"
	if to := r.ReplyTo; to != nil {
		replyTo = fmt.Sprintf("{'exchange': '%s', 'routing_key': '%s'}", to.Exchange, to.RoutingKey)
	}
	return fmt.Sprintf("pidbox received method %s(%s) [reply_to:%s ticket:%s]", r.Method, strings.Join(args, ", "), replyTo, cmp.Or(r.Ticket, "None"))
}
