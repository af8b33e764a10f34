package events

import (
	"cmp"
	"encoding/json"
	"strconv"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/worker"
)

// types are the event types of the steps of a task. Other steps have no event.
var types = [...]string{
	worker.Received:  "task-received",
	worker.Started:   "task-started",
	worker.Succeeded: "task-succeeded",
	worker.Failed:    "task-failed",
	worker.Retried:   "task-retried",
	worker.Rejected:  "task-rejected",
	worker.Revoked:   "task-revoked",
}

// outcomeText is what came out of a step, as Python would show it.
func outcomeText(of *worker.Event) string {
	switch {
	case of.Raised != nil && of.Raised.Type == "Reject" && of.Raised.Module == "celery.exceptions":
		return rejectRepr(of.Raised)
	case of.Raised != nil:
		return of.Raised.Repr()
	case of.Kind == worker.Succeeded && of.Result != nil:
		return protocol.SafeRepr(of.Result)
	case of.Kind == worker.Succeeded && of.Repr != "":
		return of.Repr
	}
	return "None"
}

// rejectRepr is the repr of a Reject, which is not like that of other exceptions.
func rejectRepr(exc *protocol.Exception) string {
	var args []json.RawMessage
	if pyjson.Unmarshal(exc.Message, &args) != nil || len(args) != 2 {
		return exc.Repr()
	}
	reason, err := pyjson.Unquote(args[0])
	if err != nil {
		reason = protocol.Repr(args[0])
	}
	return "reject requeue=" + protocol.Repr(args[1]) + ": " + reason
}

// taskFields writes what is particular to an event of a task.
func taskFields(f fields, of *worker.Event, outcome string) fields {
	t := of.Task
	f = f.text("uuid", t.ID)
	switch of.Kind {
	case worker.Received:
		args, kwargs := t.ArgsRepr, t.KwargsRepr
		if t.Protocol == 1 { // it has none, and its body has been read
			args, kwargs = t.ShownArgs(), t.ShownKwargs()
		}
		return f.text("name", t.DisplayName()).text("args", args).text("kwargs", kwargs).
			textOrNull("root_id", t.RootID).textOrNull("parent_id", t.ParentID).integer("retries", int64(t.Retries)).
			time("eta", t.ETA).time("expires", t.Expires)
	case worker.Succeeded:
		if of.Result == nil && of.Repr == "" { // not run again: it had succeeded before
			return f.raw("result", "null").raw("runtime", "null")
		}
		return f.text("result", outcome).float("runtime", of.Runtime.Seconds())
	case worker.Failed:
		f = f.text("exception", outcome)
		if !of.Registered {
			return f
		}
		return f.text("traceback", of.Traceback)
	case worker.Retried:
		return f.text("exception", outcome).text("traceback", of.Traceback)
	case worker.Rejected:
		return f.boolean("requeue", of.Requeue)
	case worker.Revoked:
		signum := "null"
		if of.Terminated {
			signum = strconv.Itoa(of.Signum)
		}
		return f.boolean("terminated", of.Terminated).raw("signum", signum).boolean("expired", of.Expired)
	default:
		return f
	}
}

// sentFields writes what is particular to task-sent. The name is the task's own, and the
// queue that of the default exchange: what others lead to, only their bindings say.
func sentFields(f fields, t *protocol.Task) fields {
	queue := t.RoutingKey
	if t.Exchange != "" {
		queue = ""
	}
	return f.text("uuid", t.ID).text("root_id", cmp.Or(t.RootID, t.ID)).textOrNull("parent_id", t.ParentID).
		text("name", t.Name).text("args", t.ShownArgs()).text("kwargs", t.ShownKwargs()).integer("retries", int64(t.Retries)).
		time("eta", t.ETA).time("expires", t.Expires).
		textOrNull("queue", queue).text("exchange", t.Exchange).text("routing_key", t.RoutingKey)
}
