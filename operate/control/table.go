package control

// inspections are the commands that only look, in the order of their names.
func (m *Mailbox) inspections() []Command {
	return []Command{
		{Name: "active", Inspect: true, Help: "tasks that run now", alias: "dump_active", signature: "safe=False, **kwargs", handler: m.active},
		{Name: "active_queues", Inspect: true, Help: "queues a worker consumes from", handler: m.activeQueues},
		{Name: "clock", Inspect: true, Help: "the logical clock", signature: "**kwargs", handler: m.logicalClock},
		{
			Name: "conf", Inspect: true, Usage: "[include_defaults=False]", Help: "settings, with or without those that have their default",
			alias: "dump_conf", params: []param{{"with_defaults", readBool}},
			signature: "with_defaults=False, **kwargs", handler: m.conf,
		},
		// What a worker asks another one that has been there before it.
		{Name: "hello", Inspect: true, hidden: true, signature: "from_node, revoked=None, **kwargs", handler: m.hello},
		{
			Name: "memdump", Inspect: true, Usage: "[n_samples=10]", Help: "what memsample has measured",
			params:    []param{{"samples", readInt}},
			signature: "samples=10, **kwargs", handler: m.memdump,
		},
		{Name: "memsample", Inspect: true, Help: "measure the memory in use", signature: "**kwargs", handler: m.memsample},
		{
			Name: "objgraph", Inspect: true, Usage: "[object_type=Request] [num=200 [max_depth=10]]", Help: "draw a graph of objects in memory",
			params:    []param{{"type", readText}, {"num", readInt}, {"max_depth", readInt}},
			signature: "num=200, max_depth=10, type='Request'", handler: m.objgraph,
		},
		{Name: "ping", Inspect: true, Help: "see who is there", signature: "**kwargs", handler: m.ping},
		{
			Name: "query_task", Inspect: true, Usage: "[id1 [id2 [... [idN]]]]", Help: "what a worker knows of tasks, by their ids",
			variadic:  "ids",
			signature: "ids, **kwargs", handler: m.queryTask,
		},
		{
			Name: "registered", Inspect: true, Usage: "[attr1 [attr2 [... [attrN]]]]", Help: "tasks a worker can run, with attributes of theirs",
			alias: "dump_tasks", variadic: "taskinfoitems",
			signature: "taskinfoitems=None, builtins=False, **kwargs", handler: m.registered,
		},
		{Name: "report", Inspect: true, Help: "versions and settings, for bug reports", handler: m.report},
		{Name: "reserved", Inspect: true, Help: "tasks that wait for a free slot", alias: "dump_reserved", signature: "**kwargs", handler: m.reserved},
		{Name: "revoked", Inspect: true, Help: "ids of revoked tasks", alias: "dump_revoked", signature: "**kwargs", handler: m.revoked},
		{Name: "scheduled", Inspect: true, Help: "tasks that wait for their time", alias: "dump_schedule", signature: "**kwargs", handler: m.scheduled},
		{Name: "stats", Inspect: true, Help: "figures of worker, pool and broker", signature: "**kwargs", handler: m.stats},
	}
}

// controls are the commands that change something, in the order of their names.
func (m *Mailbox) controls() []Command {
	return []Command{
		{
			Name: "add_consumer", Usage: "<queue> [exchange [type [routing_key]]]", Help: "consume from one more queue",
			params:    []param{{"queue", readText}, {"exchange", readText}, {"exchange_type", readText}, {"routing_key", readText}},
			signature: "queue, exchange=None, exchange_type=None, routing_key=None, **options", handler: m.addConsumer,
		},
		{
			Name: "autoscale", Usage: "[max [min]]", Help: "change the bounds of autoscaling",
			params:    []param{{"max", readInt}, {"min", readInt}},
			signature: "max=None, min=None", handler: m.autoscale,
		},
		{
			Name: "cancel_consumer", Usage: "<queue>", Help: "stop consuming from a queue",
			params:    []param{{"queue", readText}},
			signature: "queue, **_", handler: m.cancelConsumer,
		},
		{Name: "disable_events", Help: "stop sending events of tasks", handler: m.disableEvents},
		{Name: "election", Help: "hold an election", signature: "id, topic, action=None, **kwargs", handler: m.election},
		{Name: "enable_events", Help: "send events of tasks", handler: m.enableEvents},
		{Name: "heartbeat", Help: "send a heartbeat now", handler: m.heartbeat},
		{
			Name: "pool_grow", Usage: "[N=1]", Help: "run N more tasks at a time",
			params:    []param{{"n", readInt}},
			signature: "n=1, **kwargs", handler: m.poolGrow,
		},
		{Name: poolRestart, Help: "restart the pool", signature: "modules=None, reload=False, reloader=None, **kwargs", handler: m.poolRestart},
		{
			Name: "pool_shrink", Usage: "[N=1]", Help: "run N fewer tasks at a time",
			params:    []param{{"n", readInt}},
			signature: "n=1, **kwargs", handler: m.poolShrink,
		},
		{
			Name: "rate_limit", Usage: "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>", Help: "change how often a task may start",
			params:    []param{{"task_name", readText}, {"rate_limit", readText}},
			signature: "task_name, rate_limit, **kwargs", handler: m.rateLimit,
		},
		{
			Name: "revoke", Usage: "[id1 [id2 [... [idN]]]]", Help: "never run these tasks",
			variadic:  "task_id",
			signature: "task_id, terminate=False, signal=None, **kwargs", handler: m.revoke,
		},
		{
			Name: "revoke_by_stamped_headers", Usage: "[key1=value1 [key2=value2 [... [keyN=valueN]]]]", Help: "never run tasks with these stamps",
			variadic:  "headers",
			signature: "headers, terminate=False, signal=None, **kwargs", handler: m.revokeByStamps,
		},
		{Name: "shutdown", Help: "end workers, after their running tasks", signature: "msg='Got shutdown from remote', **kwargs", handler: m.shutdown},
		{
			Name: "terminate", Usage: "<signal> [id1 [id2 [... [idN]]]]", Help: "revoke tasks, and stop those that run",
			params: []param{{"signal", readText}}, variadic: "task_id",
			signature: "signal, task_id, **kwargs", handler: m.terminate,
		},
		{
			Name: "time_limit", Usage: "<task_name> <soft_secs> [hard_secs]", Help: "change how long a task may run",
			params:    []param{{"task_name", readText}, {"soft", readFloat}, {"hard", readFloat}},
			signature: "task_name=None, hard=None, soft=None, **kwargs", handler: m.timeLimit,
		},
	}
}
