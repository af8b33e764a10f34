package control

import (
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// aliases are names that commands had in Celery 3.
var aliases = map[string]string{
	"dump_active": "active", "dump_conf": "conf", "dump_reserved": "reserved",
	"dump_revoked": "revoked", "dump_schedule": "scheduled", "dump_tasks": "registered",
}

// builtins registers Celery's commands, with the parameters they have there: what does not
// fit them is the TypeError that Python raises.
func (m *Mailbox) builtins() *tasks.Registry {
	reg := tasks.NewRegistry()
	add := func(name, params string, fn any) { reg.RegisterCommand(name, fn, tasks.Params(params)) }

	add("ping", "**kwargs", m.ping)
	add("clock", "**kwargs", m.logicalClock)
	add("active", "safe=False, **kwargs", m.active)
	add("reserved", "**kwargs", m.reserved)
	add("scheduled", "**kwargs", m.scheduled)
	add("query_task", "ids, **kwargs", m.queryTask)
	add("registered", "taskinfoitems=None, builtins=False, **kwargs", m.registered)
	add("stats", "**kwargs", m.stats)
	add("hello", "from_node, revoked=None, **kwargs", m.hello)

	add("revoked", "**kwargs", m.revoked)
	add("revoke", "task_id, terminate=False, signal=None, **kwargs", m.revoke)
	add("terminate", "signal, task_id, **kwargs", m.terminate)
	add("revoke_by_stamped_headers", "headers, terminate=False, signal=None, **kwargs", m.revokeByStamps)

	add("rate_limit", "task_name, rate_limit, **kwargs", m.rateLimit)
	add("time_limit", "task_name=None, hard=None, soft=None, **kwargs", m.timeLimit)

	add("pool_grow", "n=1, **kwargs", m.poolGrow)
	add("pool_shrink", "n=1, **kwargs", m.poolShrink)
	add("pool_restart", "modules=None, reload=False, reloader=None, **kwargs", m.poolRestart)
	add("autoscale", "max=None, min=None", m.autoscale)
	add("shutdown", "msg='Got shutdown from remote', **kwargs", m.shutdown)

	add("add_consumer", "queue, exchange=None, exchange_type=None, routing_key=None, **options", m.addConsumer)
	add("cancel_consumer", "queue, **_", m.cancelConsumer)
	add("active_queues", "", m.activeQueues)

	add("enable_events", "", m.enableEvents)
	add("disable_events", "", m.disableEvents)
	add("heartbeat", "", m.heartbeat)
	add("election", "id, topic, action=None, **kwargs", m.election)

	add("conf", "with_defaults=False, **kwargs", m.conf)
	add("report", "", m.report)

	add("memsample", "**kwargs", m.memsample)
	add("memdump", "samples=10, **kwargs", m.memdump)
	add("objgraph", "num=200, max_depth=10, type='Request'", m.objgraph)
	return reg
}

// others are keyword arguments that a command does not look at.
type others = map[string]any

func succeeded(text string) map[string]any { return map[string]any{"ok": text} }
func failed(text string) map[string]any    { return map[string]any{"error": text} }

func encode(value any) ([]byte, error) { return pyjson.Append(nil, value) }

// truthy is Python's bool of a value that JSON can have.
func truthy(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case int64:
		return v != 0
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}
