package compat_test

// hookedWorlds are set-ups of TestParity in which the app hooks in somewhere, or uses more than the defaults.
var hookedWorlds = map[string]world{
	"hooks":        {older: true, module: "hooks", scenarios: hookScenarios},
	"only signals": {module: "hooks", variables: []string{"ONLY_SIGNALS=yes"}, scenarios: hookScenarios},
	"life": {
		module: "life", oneByOne: true, older: true,
		scenarios: map[string]scenario{
			"a sum":            send("add, 1, 2"),
			"process":          send("'life.process_index'"),
			"inspect command":  {do: "say('answer', broadcast('shop_hours'))"},
			"control command":  {do: "say('answer', broadcast('shop_bell', n=3))"},
			"unknown command":  {do: "say('answer', broadcast('shop_nothing'))"},
			"wrong arguments":  {do: "say('answer', broadcast('shop_bell', volume=3))"},
			"registered tasks": {do: "say('answer', sorted(inspect().registered()['w1@host']))"},
		},
	},
	"logs by hand":   {module: "ownlogs", scenarios: logScenarios},
	"logs by signal": {module: "ownlogs", variables: []string{"LOGS=signal"}, scenarios: logScenarios},
	"log formats": {scenarios: logScenarios, settings: map[string]any{
		"worker_log_format":             "# %(levelname)s %(processName)s %(name)s: %(message)s",
		"worker_task_log_format":        "# %(levelname)s %(processName)s %(task_name)s %(task_id)s: %(message)s",
		"worker_redirect_stdouts_level": "INFO",
	}},
	"stdout as it is": {scenarios: map[string]scenario{"speaks": send("speaks").but("log.*")}, settings: map[string]any{
		"worker_redirect_stdouts": false,
	}},
	"pickle": {older: true, scenarios: classScenarios, settings: map[string]any{
		"result_serializer": "pickle", "accept_content": []string{"pickle", "json"},
	}},
	"several serializers": {inGo: true, settings: map[string]any{
		"accept_content": []string{"pickle", "json", "yaml", "msgpack"},
	}, scenarios: map[string]scenario{
		"yaml":         {do: "send(same, {'a': [1, None]}, serializer='yaml')"},
		"msgpack":      {do: "send(same, {'a': [1, None]}, serializer='msgpack')"},
		"pickle":       {do: "send(size, 'abc', serializer='pickle')"},
		"a class":      {do: "from classes import Basket\nsend(fail, 'OutOfStock', 'beans', serializer='pickle')"},
		"gzip":         {do: "send(same, 'x' * 500, compression='gzip')"},
		"bzip2":        {do: "send(same, 'x' * 500, compression='bzip2')"},
		"yaml in zlib": {do: "send(same, {'a': 'b'}, serializer='yaml', compression='zlib')"},
		"yaml retry":   {do: "send(flaky, 1, serializer='yaml')"},
	}},
	"results in yaml":    {inGo: true, scenarios: resultScenarios, settings: map[string]any{"result_serializer": "yaml", "result_accept_content": []string{"yaml"}}},
	"results in msgpack": {inGo: true, scenarios: resultScenarios, settings: map[string]any{"result_serializer": "msgpack", "result_accept_content": []string{"msgpack"}}},
	"compressed results": {inGo: true, scenarios: resultScenarios, settings: map[string]any{"result_compression": "gzip", "task_compression": "gzip"}},
	"protocol 1": {inGo: true, settings: map[string]any{"task_protocol": 1}, scenarios: map[string]scenario{
		"a sum":   send("add, 1, 2"),
		"request": send("request"),
		"fails":   send("fail, 'ValueError', 'x'"),
		"retry":   send("flaky, 1"),
		"chain":   send("chain(add.s(1, 1), add.s(2))"),
		"link":    {do: "send(add, 1, 2, link=callback.s())"},
		"chord":   send("chord([add.s(1, 1)], total.s())"),
	}},
	"protocol 1 in pickle": {older: true, scenarios: oldClassScenarios, settings: map[string]any{
		"task_protocol": 1, "result_serializer": "pickle", "accept_content": []string{"pickle", "json"},
	}},
	"recycled": {
		flags: []string{"-c", "1", "--max-tasks-per-child", "2"},
		scenarios: map[string]scenario{
			"six tasks": {do: "rs = [send(pid) for _ in range(6)]\nsay('processes', len({ready(r)['result'] for r in rs}))", varies: []string{".*result", "log: .*"}},
		},
	},
	"memory": {
		flags: []string{"-c", "1", "--max-memory-per-child", "150000"}, oneByOne: true,
		scenarios: map[string]scenario{
			"a leak": {
				do:     "a = ready(send(pid))['result']\nb = ready(send(pid))['result']\nready(send(leaks, 300))\nc = ready(send(pid))['result']\nsay('same', [a == b, b == c])",
				varies: []string{".*result", "log: .*"},
			},
		},
	},
	"titles":  {scenarios: map[string]scenario{"of a child": send("title")}},
	"sentry":  {module: "watched", scenarios: sentryScenarios},
	"popular": {module: "popular", scenarios: popularScenarios},
	"django":  {module: "djangosite", scenarios: djangoScenarios, flags: []string{"-c", "1"}},
	"lazy": {module: "lazy", flags: []string{"-I", "lateshop.commanded"}, scenarios: map[string]scenario{
		"before":     send("'lazy.before', 1"),
		"lazily":     send("'lazy.lazily', 1"),
		"class":      send("'lazy.counter'"),
		"included":   send("'lateshop.included.task'"),
		"imported":   send("'lateshop.imported.task'"),
		"discovered": send("'lateshop.discovered.task'"),
		"commanded":  send("'lateshop.commanded.task'"),
	}},
}

var hookScenarios = map[string]scenario{
	"a sum":             send("add, 1, 2"),
	"fails":             send("fail, 'ValueError', 'x'"),
	"retry":             send("flaky, 1"),
	"retries exhausted": send("flaky, 9"),
	"ignored":           send("ignores"),
	"rejected":          send("rejects, False"),
	"no result":         send("quiet, 1"),
	"chain":             send("chain(add.s(1, 1), add.s(2))"),
	"chord":             send("chord([add.s(1, 1)], total.s())"),
	"with errback":      {do: "send(fail, 'ValueError', 'x', link_error=errback.s())"},
	"replace":           send("becomes, 1"),
	"started":           send("started"),
	"unencodable":       send("make, 'object'"),
	"revoked":           {do: "app.control.revoke('revoked-1', destination=['w1@host'], reply=True, timeout=60); send(add, 1, 2, task_id='revoked-1')"},
	"expired":           {do: "send(add, 1, 2, expires=-5)"},
	"unknown":           send("'shoptasks.nosuch'"),
	"eager inside":      send("eager_inside"),
	"hard limit":        {do: "send(sleeps, 60, time_limit=4)"},
	"dies":              send("dies, 'kill'"),
	"soft limit":        send("soft_uncaught"),
	"map":               send("same.map([1, 2])"),
}

var logScenarios = map[string]scenario{
	"speaks":  send("speaks"),
	"set-up":  send("logging_setup"),
	"a sum":   send("add, 1, 2"),
	"fails":   send("fail, 'ValueError', 'x'"),
	"retry":   send("flaky, 1"),
	"expired": {do: "send(add, 1, 2, expires=-5)"},
}

var classScenarios = map[string]scenario{
	"an object":        {do: "from classes import Basket\nsend(check, Basket(['beans']), serializer='pickle')"},
	"raises it":        {do: "from classes import Basket\nsend(steals, Basket(['beans']), serializer='pickle')"},
	"a set":            {do: "send(same, {1, 2}, serializer='pickle')"},
	"bytes":            {do: "send(same, b'ab\\xff', serializer='pickle')"},
	"a chain":          {do: "from classes import Basket\nsend(chain(check.s(Basket(['beans'])), check.s()), serializer='pickle')"},
	"retry":            {do: "send(flaky, 1, serializer='pickle')"},
	"chord":            {do: "send(chord([add.s(1, 1)], total.s()), serializer='pickle')"},
	"chord that fails": {do: "send(chord([fail.si('ValueError', 'x')], total.s()), serializer='pickle')"},
	"progress":         {do: "send(progress, serializer='pickle')"},
	"dies":             {do: "from classes import Basket\nsend(dies, 'kill', link_error=errback.s(), serializer='pickle')"},
	"expired":          {do: "from classes import Basket\nsend(check, Basket(['beans']), expires=-5, serializer='pickle')"},
	"hard":             {do: "send(hard, serializer='pickle')"},
}

// oldClassScenarios send what only Python can read, with all that a message says in its body.
var oldClassScenarios = map[string]scenario{
	"a sum":        send("add, 1, 2, serializer='pickle'"),
	"an object":    {do: "from classes import Basket\nsend(check, Basket(['beans']), serializer='pickle')"},
	"raises it":    {do: "from classes import Basket\nsend(steals, Basket(['beans']), serializer='pickle')"},
	"a chain":      {do: "from classes import Basket\nsend(chain(check.s(Basket(['beans'])), check.s()), serializer='pickle')"},
	"a chord":      {do: "from classes import Basket\nsend(chord([check.s(Basket(['a'])), check.s(Basket(['a']))], check_all.s()), serializer='pickle')", varies: []string{lastPart}}, // they are in no order
	"link":         {do: "from classes import Basket\nsend(check, Basket(['beans']), link=check.s(), serializer='pickle')"},
	"retry":        {do: "from classes import Basket\nsend(check_again, Basket(['beans']), serializer='pickle')"},
	"later":        {do: "from classes import Basket\nsend(check, Basket(['beans']), countdown=0.7, serializer='pickle')"},
	"expired":      {do: "from classes import Basket\nsend(check, Basket(['beans']), expires=-5, serializer='pickle')"},
	"revoked":      {do: "from classes import Basket\napp.control.revoke('revoked-1', destination=['w1@host'], reply=True, timeout=60); send(check, Basket(['beans']), task_id='revoked-1', serializer='pickle')"},
	"unregistered": {do: "from classes import Basket\nsend('shoptasks.nosuch', Basket(['beans']), serializer='pickle')"},
	"limited":      {do: "from classes import Basket\nfor i in range(3): send(limited, Basket([i]), serializer='pickle')"},
}

var resultScenarios = map[string]scenario{
	"a sum": send("add, 1, 2"), "a list": send("same, [1, {'a': None}]"), "fails": send("fail, 'OutOfStock', 'beans', 2"),
	"retry": send("flaky, 1"), "chain": send("chain(add.s(1, 1), add.s(2))"), "chord": send("chord([add.s(1, 1)], total.s())"),
	"dies": send("dies, 'kill'"), "expired": {do: "send(add, 1, 2, expires=-5)"}, "progress": send("progress"),
}

var sentryScenarios = map[string]scenario{
	"a sum": send("add, 1, 2"), "fails": send("fail, 'ValueError', 'x'"), "own class": send("fail, 'OutOfStock', 'beans'"),
	"retry": send("flaky, 1"), "ignored": send("ignores"), "expected": send("expected_failure"),
	"sends tasks": send("spawns, 2"), "soft limit": send("soft_uncaught"), "chain": send("chain(add.s(1, 1), fail.si('ValueError', 'y'))"),
}

// popularScenarios are what libraries look at that many projects hook into Celery.
var popularScenarios = map[string]scenario{
	"a sum": send("add, 1, 2"), "fails": send("fail, 'ValueError', 'x'"), "retry": send("flaky, 1"), "retries exhausted": send("flaky, 9"),
	"ignored": send("ignores"), "rejected": send("rejects, False"), "expected": send("expected_failure"), "chain": send("chain(add.s(1, 1), add.s(2))"),
	"chord": send("chord([add.s(1, 1), add.s(2, 2)], total.s())").but(lastPart), "sends tasks": send("spawns, 2"), "hard limit": {do: "send(sleeps, 60, time_limit=4)"},
	"dies": send("dies, 'kill'"), "soft limit": send("soft_uncaught"), "unknown": send("'shoptasks.nosuch'"), "expired": {do: "send(add, 1, 2, expires=-5)"},
	"revoked":   {do: "app.control.revoke('revoked-1', destination=['w1@host'], reply=True, timeout=60); send(add, 1, 2, task_id='revoked-1')"},
	"terminate": {do: "r = send(sleeps, 60); runs(r); app.control.revoke(r.id, terminate=True)"},
	"once":      send("'popular.once', 3"), "once until it runs": send("'popular.once_until_it_runs', n=4"), "once fails": send("'popular.once_fails', 5"),
	"single": send("'popular.single', 6"), "single fails": send("'popular.single_fails', 7"), "sends twice": send("'popular.sends_twice'"),
}

var djangoScenarios = map[string]scenario{
	"query":      {do: "for _ in range(3): send('djangoshop.tasks.query')"},
	"time zone":  send("'djangoshop.tasks.now'"),
	"fails":      send("'djangoshop.tasks.fails'"),
	"registered": {do: "say('answer', sorted(inspect().registered()['w1@host']))"},
}
