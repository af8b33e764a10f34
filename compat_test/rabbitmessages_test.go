package compat_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
)

// TestMessagesOfGoOnRabbitMQ compares what Go's client publishes with what Celery does, as Python sees it: the
// properties, and the types of headers.
func TestMessagesOfGoOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server := startRabbit(t)
	a := server.app()
	a.run(t, nil, `import tapp
tapp.app.send_task("t", (1,), task_id="1")
tapp.app.send_task("t", (1,), task_id="2", queue="other")
tapp.app.send_task("t", (1,), task_id="3", queue="other", priority=0, expires=1000, headers={"own": [1, 2.5, None, "x", 3000000000]})`)
	const look = `import json, tapp
def types(v):
    if isinstance(v, dict): return {k: types(v[k]) for k in sorted(v)}
    if isinstance(v, list): return [types(x) for x in v]
    return type(v).__name__
seen = {}
with tapp.app.connection() as c:
    ch = c.channel()
    for queue in ("celery", "other"):
        while (m := ch.basic_get(queue, no_ack=True)):
            p = dict(m.properties)
            headers = p.pop("application_headers")
            del p["reply_to"]
            p["expiration"] = "expiration" in p
            seen[p["correlation_id"]] = [p, types(headers), m.delivery_info["exchange"], m.delivery_info["routing_key"], m.body.decode() if isinstance(m.body, bytes) else m.body]
print(json.dumps(seen))`
	var celery, apium map[string]any
	a.run(t, &celery, look)
	if len(celery) != 3 {
		t.Fatalf("Celery published %v", celery)
	}
	publisher, err := amqpbroker.OpenPublisher(t.Context(), amqpbroker.PublisherConfig{URL: server.vhost.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	c, err := client.New(client.Config{Publisher: publisher})
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]any{"own": []any{1, 2.5, nil, "x", 3000000000}}
	for id, options := range map[string][]canvas.Option{
		"1": nil,
		"2": {canvas.Queue("other")},
		"3": {canvas.Queue("other"), canvas.Priority(0), canvas.Expires(1000 * time.Second), canvas.Opt("headers", own)},
	} {
		if _, err := c.Send(t.Context(), canvas.Sig("t", 1), append(options, canvas.Opt("task_id", id))...); err != nil {
			t.Fatal(err)
		}
	}
	a.run(t, &apium, look)
	if diff := cmp.Diff(celery, apium); diff != "" {
		t.Errorf("(-Celery +Go):\n%s", diff)
	}
}
