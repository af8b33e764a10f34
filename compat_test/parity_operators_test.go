package compat_test

// operatorsWorld is a worker with one process, of which operators ask what it knows and does.
var operatorsWorld = world{
	module: "plain", oneByOne: true, older: true, flags: []string{"-c", "1"}, settings: map[string]any{"task_track_started": true},
	scenarios: map[string]scenario{
		"stats":         {do: tellStats},
		"then a task":   {do: "ready(send(add, 1, 2))\n" + tellStats},
		"conf":          {do: "say('conf', inspect().conf()['w1@host'])"},
		"active queues": {do: "say('queues', inspect().active_queues()['w1@host'])"},
		"registered":    {do: "say('tasks', sorted(inspect().registered('rate_limit', 'max_retries', 'acks_late', 'ignore_result', 'time_limit', 'priority')['w1@host']))"},
		"revoked":       {do: "app.control.revoke('revoked-1', destination=['w1@host'], reply=True, timeout=60)\nsay('revoked', inspect().revoked()['w1@host'])"},
		"active": {do: `r = send(sleeps, 3, 'key')
pid = runs(r)[0]['pid']
active = inspect().active()['w1@host']
say('where it runs', [pid == active[0]['worker_pid'], pid in inspect().stats()['w1@host']['pool']['processes']])
say('active', active)
say('query', inspect().query_task(r.id)['w1@host'])
ready(r)`},
		"reserved": {do: `r = send(sleeps, 3)
runs(r)
waiting = [send(add, i, i, expires=600, priority=i) for i in range(2)]
until('two are reserved', lambda: len(inspect().reserved()['w1@host']) == 2)
say('reserved', sorted(inspect().reserved()['w1@host'], key=lambda r: str(r['args'])))
say('query', inspect().query_task(waiting[0].id)['w1@host'])
ready(waiting[1])`},
		"scheduled": {do: `r = send(add, 1, 2, countdown=6, priority=3)
until('it is scheduled', lambda: inspect().scheduled()['w1@host'])
say('scheduled', inspect().scheduled()['w1@host'])
say('query', inspect().query_task(r.id)['w1@host'])
ready(r)`},
		// Nothing is taken while the queue is not consumed, and then the most urgent comes first.
		"priorities": {do: `app.control.cancel_consumer('celery', destination=['w1@host'], reply=True, timeout=60)
given = (7, 3, None, 9, 0, 4, 6, 1, 9, 5, 0)
sent = [send(pid, '%s-%s' % (n, p), priority=p) for n, p in enumerate(given)]
app.control.add_consumer('celery', destination=['w1@host'], reply=True, timeout=60)
for r in sent:
    ready(r)
say('order', [e['key'] for e in map(json.loads, notes.lrange('journal', 0, -1)) if e['what'] == 'pid'])`, varies: []string{".*result", "log: .*"}, since: "5.7"},
	},
}

const tellStats = `s = inspect().stats()['w1@host']
pool, broker = s['pool'], dict(s['broker'], port=0)
say('fields', sorted(s))
say('pool', {k: v for k, v in pool.items() if k not in ('processes', 'writes')})
say('processes', len(pool['processes']))
say('writes', sorted(pool['writes']))
say('rusage', sorted(s['rusage']))
say('broker', broker)
say('prefetch', s['prefetch_count'])
say('total', s['total'])`
