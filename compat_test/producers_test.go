package compat_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// odd publishes messages as producers in other languages write them, waits for their
// results and prints what get() returns or raises. What Celery runs, ours runs alike;
// where it drops the message, or dies, its client waits for ever.
const odd = `
import base64, json, sys, uuid
import kombu.utils.json, redis, tapp
kombu.utils.json.register_type(type("Money", (), {}), "money", str, lambda v: "money %s" % v) # which no worker knows
r = redis.Redis.from_url(tapp.app.conf.broker_url)
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
def publish(body, task="tapp.echo", content_type="application/json", **headers):
    task_id = str(uuid.uuid4())
    headers = dict({"lang": "php", "task": task, "id": task_id}, **headers)
    body = body if isinstance(body, str) else json.dumps(body)
    r.lpush("celery", json.dumps({"body": base64.b64encode(body.encode()).decode(), "content-encoding": "utf-8",
        "content-type": content_type, "headers": headers, "properties": {"body_encoding": "base64", "correlation_id": task_id,
        "delivery_tag": task_id, "delivery_info": {"exchange": "", "routing_key": "celery"}}}))
    return tapp.app.AsyncResult(task_id)
sent = {
    "embed": publish([[1], {}, []]), "embed false": publish([[1], {}, False]), "callbacks": publish([[1], {}, {"callbacks": "", "chain": {}}]),
    "args object": publish([{"b": 1, "a": 2}, {}, {}]), "args text": publish(["ab", {}, EMBED]), "retries": publish([[1], {}, []], retries="0"),
    "retries text": publish([[1], {}, EMBED], retries="x"), "limits": publish([[1], {}, []], timelimit=["10", "5"]),
    "no limits": publish([[1], {}, []], timelimit=[]), "hybrid": publish({"args": {"a": 1}, "kwargs": {}}),
    "uuid": publish([[{"__type__": "uuid", "__value__": {"hex": "12345678123442348234567812345678", "version": 4}}], {}, {}]),
}
alone = {
    "args null": publish([None, {}, {}]), "args number": publish([5, {}, {}]),
    "kwargs": publish([[1], [], []]), "kwargs null": publish([[1], None, None]), "type": publish([[{"__type__": "money", "__value__": 1}], {}, {}]),
    "eta": publish([[1], {}, {}], eta=5), "no JSON": publish("nope"), "two": publish([[1], {}]), "limit": publish([[1], {}, {}], timelimit=["x", 1]),
    "yaml": publish("[[1], {}, {}]", content_type="application/x-yaml"), "int": publish("[[" + "1" * 4301 + "], {}, {}]"),
    "text": publish('"abc"'), "embed text": publish([[1], {}, "x"]), "bad date": publish('[[{"__type__": "date", "__value__": "x"}], {}, {}]'),
}
if len(sys.argv) < 2:
    sent.update(alone)
out = {}
for name, result in sent.items():
    try:
        out[name] = repr(result.get(timeout=tapp.PATIENCE))
    except Exception as exc:
        out[name] = "%s.%s: %s" % (type(exc).__module__, type(exc).__name__, exc)
json.dump(out, sys.stdout)
`

// TestOddProducers runs the messages that Celery runs on both workers, and the others on
// ours.
func TestOddProducers(t *testing.T) {
	t.Parallel()
	python, apium := startRedis(t), startRedis(t)
	onPython := app{broker: python.url(0), journal: python.url(1)}
	onApium := app{broker: apium.url(0), journal: apium.url(1)}
	onPython.startWorker(t)
	startWorker(t, onApium)
	var want, got map[string]string
	onPython.run(t, &want, odd, "what Celery runs")
	onApium.run(t, &got, odd)
	for name, text := range map[string]string{
		"args null":   "builtins.TypeError: tapp.echo() argument after * must be an iterable, not NoneType",
		"args number": "builtins.TypeError: tapp.echo() argument after * must be an iterable, not int",
		"kwargs":      "{'args': [1], 'kwargs': {}}",
		"kwargs null": "{'args': [1], 'kwargs': {}}",
		"type":        "{'args': ['money 1'], 'kwargs': {}}",
		"eta":         "celery.exceptions.InvalidTaskError: invalid ETA value 5: not a string",
		"no JSON":     "kombu.exceptions.DecodeError: cannot decode body: Expecting value: line 1 column 1 (char 0)",
		"two":         "kombu.exceptions.DecodeError: cannot decode body: expected 3 elements, got 2",
		"limit":       "celery.exceptions.InvalidTaskError: invalid timelimit value ['x', 1]: not a number of seconds",
		"yaml":        "kombu.exceptions.ContentDisallowed: Refusing to deserialize untrusted content of type yaml (application/x-yaml)",
		"text":        "kombu.exceptions.DecodeError: cannot decode body: neither an array nor an object",
		"embed text":  "kombu.exceptions.DecodeError: cannot decode body: its third element is not an object",
		"bad date":    "kombu.exceptions.DecodeError: cannot decode body: bad __value__ for __type__ date: invalid isoformat string",
		"int": "kombu.exceptions.DecodeError: cannot decode body: Exceeds the limit (4300 digits) for integer string conversion: " +
			"value has 4301 digits; use sys.set_int_max_str_digits() to increase the limit",
	} {
		want[name] = text
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRegisteredType sends and gets a type that both sides have registered.
func TestRegisteredType(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	startWorker(t, a)
	var got []string
	a.run(t, &got, `
import json, kombu.utils.json, tapp
class Price:
    def __init__(self, cents, currency):
        self.cents, self.currency = cents, currency
    def __repr__(self):
        return "%d %s" % (self.cents, self.currency)
kombu.utils.json.register_type(Price, "price", lambda p: {"cents": p.cents, "currency": p.currency}, lambda v: Price(**v))
results = [tapp.app.send_task("tapp.typed_price", [Price(150, "EUR")]), tapp.same.delay({"tea": [Price(5, "EUR")]})]
print(json.dumps([repr(r.get(timeout=20)) for r in results]))
`)
	if diff := cmp.Diff([]string{"300 EUR", "{'tea': [5 EUR]}"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
