package compat_test

import (
	"context"
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// exchangeQueues are the same queues for both sides.
const exchangeQueues = `
import json, sys, tapp
from kombu import Exchange, Queue
queues = [
    Queue("plain", Exchange("plain"), routing_key="plain"),
    Queue("dq", Exchange("dex"), routing_key="key"),
    Queue("tq", Exchange("tex", type="topic"), routing_key="shop.*.#"),
    Queue("odd-na_me", Exchange("tex", type="topic"), routing_key="odd-key_1.#"),
]
`

func goQueues() []broker.Queue {
	return []broker.Queue{
		{Name: "plain"},
		{Name: "dq", Exchange: "dex", RoutingKey: "key"},
		{Name: "tq", Exchange: "tex", ExchangeType: broker.Topic, RoutingKey: "shop.*.#"},
		{Name: "odd-na_me", Exchange: "tex", ExchangeType: broker.Topic, RoutingKey: "odd-key_1.#"},
	}
}

// TestBindings declares the same queues here and in Python: the sets are the same.
func TestBindings(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0)}
	bindings := func() map[string][]string {
		sets := map[string][]string{}
		for _, exchange := range []string{"plain", "dex", "tex"} {
			for _, set := range []string{"_kombu.binding.", "_kombu.binding_permanent."} {
				sets[set+exchange] = server.strings(t, "SORT", set+exchange, "ALPHA")
			}
		}
		return sets
	}
	a.run(t, nil, exchangeQueues+`
with tapp.app.connection() as conn:
    for q in queues: q(conn.default_channel).declare()
`)
	want := bindings()
	server.do(t, "FLUSHDB")
	goConsumer(t, server, redisbroker.Config{Queues: goQueues()})
	if diff := cmp.Diff(want, bindings()); diff != "" {
		t.Errorf("bindings (-Python +ours):\n%s", diff)
	}
}

// TestQueueOfSeveralExchanges: kombu's bindings of a queue are declared as Python does,
// bring their messages, and are told of.
func TestQueueOfSeveralExchanges(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), backend: server.url(1)}
	bindings := func() map[string][]string {
		sets := map[string][]string{}
		for _, exchange := range []string{"media", "news", "fan", "unbound", "celery", "films", "sounds", "all"} {
			sets[exchange] = server.strings(t, "SORT", "_kombu.binding_permanent."+exchange, "ALPHA")
		}
		return sets
	}
	a.module = "bound"
	python := a.startWorker(t, "-P", "solo")
	want := bindings()
	const inspect = `
import json, bound, tapp
queues, = bound.app.control.inspect(timeout=tapp.PATIENCE, limit=1).active_queues().values()
for q in queues:
    q["bindings"].sort(key=lambda b: b["exchange"]["name"])
print(json.dumps({q["name"]: q for q in queues}))`
	var wantQueues, queues map[string]any
	a.run(t, &wantQueues, inspect)
	python.signal(t, syscall.SIGTERM)
	python.exitCode(t)
	server.do(t, "FLUSHALL")
	config := export(t, appDir, a, "bound", "json")
	ours := start(t, "apium worker", "", nil, workerBinary, "worker", "-l", "info", "--config", config,
		"--without-gossip", "--without-mingle", "--without-heartbeat")
	t.Cleanup(ours.kill)
	ours.waitLog(t, " ready.")
	if diff := cmp.Diff(want, bindings()); diff != "" {
		t.Errorf("bindings (-Python +ours):\n%s", diff)
	}
	a.run(t, &queues, inspect)
	all := queues["all"].(map[string]any) // of a fanout exchange; to us that is no special case of bindings
	for _, m := range []map[string]any{wantQueues, queues} {
		delete(m, "all")
	}
	if diff := cmp.Diff(wantQueues, queues); diff != "" {
		t.Errorf("active_queues (-Python +ours):\n%s", diff)
	}
	if exchange := all["exchange"].(map[string]any); exchange["name"] != "fan" || exchange["type"] != "fanout" {
		t.Errorf("the queue 'all' is bound to %v", exchange)
	}
	var sums []int
	a.run(t, &sums, `
import json, bound, tapp
from kombu import Exchange
ways = [("media", "direct", "film"), ("media", "direct", "sound"), ("news", "topic", "film.x.y"), ("fan", "fanout", "")]
print(json.dumps([
    bound.add.apply_async([i, 0], exchange=exchange, exchange_type=type, routing_key=key, declare=[Exchange(exchange, type=type)]).get(timeout=tapp.PATIENCE)
    for i, (exchange, type, key) in enumerate(ways)
] + [bound.add.apply_async([10, 0], queue=queue).get(timeout=tapp.PATIENCE) for queue in ("films", "sounds")]))`)
	if diff := cmp.Diff([]int{0, 1, 2, 3, 10, 10}, sums); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	conf, err := settings.Load(settings.Sources{File: config})
	if err != nil {
		t.Fatal(err)
	}
	c := openApp(t, conf)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, to := range [][]canvas.Option{
		{canvas.Queue("sounds")},
		{canvas.Exchange("media"), canvas.RoutingKey("sound")},
		{canvas.Exchange("news"), canvas.Opt("exchange_type", "topic"), canvas.RoutingKey("film.x")},
	} {
		var sum int
		result, err := c.Send(ctx, canvas.Sig("tapp.add", i, 0), to...)
		if err == nil {
			err = result.Get(ctx, &sum)
		}
		if sum != i || err != nil {
			t.Errorf("sent from here, %v: %d, %v", to, sum, err)
		}
	}
}

// TestExchangesBothWays publishes through exchanges, from Python to our queues and
// from here to Python's.
func TestExchangesBothWays(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0)}
	routes := [][2]string{{"plain", "plain"}, {"dex", "key"}, {"tex", "shop.a.b"}, {"tex", "shop.a."}, {"tex", "odd-key_1.x"}}
	queues := []string{"plain", "dq", "tq", "tq", "odd-na_me"}
	encoded, err := json.Marshal(routes)
	if err != nil {
		t.Fatal(err)
	}
	c := goConsumer(t, server, redisbroker.Config{Queues: goQueues(), QueueOrderStrategy: redisbroker.Priority})
	a.run(t, nil, exchangeQueues+`
with tapp.app.connection() as conn:
    producer = conn.Producer()
    for q in queues: q.exchange(conn.default_channel).declare()
    for exchange, key in json.loads(sys.argv[1]):
        producer.publish({}, exchange=exchange, routing_key=key)
`, string(encoded))
	var got []string
	var raw []protocol.Message
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(got) < len(queues) {
		ds, err := c.Claim(ctx, len(queues))
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		for _, d := range ds {
			got, raw = append(got, d.Queue), append(raw, envelopetest.Message(d.Raw))
			if _, err := c.Ack(t.Context(), d.Tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(queues, got); diff != "" {
		t.Errorf("queues of what Python published (-want +got):\n%s", diff)
	}

	p := goPublisher(t, server)
	for i, route := range routes {
		if err := p.Publish(t.Context(), broker.Publication{Exchange: route[0], RoutingKey: route[1], Message: raw[i]}); err != nil {
			t.Fatal(err)
		}
	}
	var counts map[string]int
	a.run(t, &counts, exchangeQueues+`
with tapp.app.connection() as conn:
    counts = {}
    for q in queues:
        while q(conn.default_channel).get(no_ack=True): counts[q.name] = counts.get(q.name, 0) + 1
print(json.dumps(counts))
`)
	if diff := cmp.Diff(map[string]int{"plain": 1, "dq": 1, "tq": 2, "odd-na_me": 1}, counts); diff != "" {
		t.Errorf("what Python got from its queues (-want +got):\n%s", diff)
	}
}

func goPublisher(t *testing.T, server *redisServer) *redisbroker.Publisher {
	t.Helper()
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: server.url(0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestFanoutBothWays broadcasts from Python to our queues, and from here to a Python
// worker's.
func TestFanoutBothWays(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	var consumers []*redisbroker.Consumer
	for range 2 {
		consumers = append(consumers, goConsumer(t, server, redisbroker.Config{Queues: []broker.Queue{
			{Name: "named", Exchange: "news", ExchangeType: broker.Fanout, RoutingKey: "k", Broadcast: true},
		}}))
	}
	python := start(t, "python worker", appDir, a.env(t), a.python(), "-c", `
import tapp
from kombu.common import Broadcast
tapp.app.conf.task_queues = [Broadcast("news", queue="named", routing_key="k")]
tapp.app.worker_main(["worker", "-c", "1", "-P", "solo", "-l", "info", "--without-gossip", "--without-mingle", "--without-heartbeat"])
`)
	python.waitLog(t, " ready.")
	eventually(t, patience, "all three have subscribed", func() bool { // and the worker's remote control
		return server.int(t, "PUBSUB", "NUMPAT") >= 2 && len(server.strings(t, "SMEMBERS", "_kombu.binding.news")) == 1
	})
	a.run(t, nil, `
import tapp
from kombu import Exchange
news = Exchange("news", type="fanout")
with tapp.app.producer_pool.acquire() as producer:
    tapp.work.apply_async(["from python", 0], exchange=news, exchange_type="fanout", routing_key="k", producer=producer, declare=[news])
`)
	var raw protocol.Message
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, c := range consumers {
		ds, err := c.Claim(ctx, 2)
		if err != nil || len(ds) != 1 || ds[0].Queue != "named" {
			t.Fatalf("consumer %d: %+v, %v", i, ds, err)
		}
		raw = envelopetest.Message(ds[0].Raw)
		if lost, err := c.Ack(t.Context(), ds[0].Tag); len(lost) > 0 || err != nil {
			t.Errorf("Ack: lost %v, %v", lost, err)
		}
	}
	eventually(t, patience, "the Python worker ran it too", func() bool { return server.journalLen(t, "done") == 1 })
	if err := goPublisher(t, server).Broadcast(t.Context(), broker.Publication{Exchange: "news", RoutingKey: "k", Message: raw}); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the Python worker ran what we broadcast", func() bool { return server.journalLen(t, "done") == 2 })
}

// TestPythonEvents listens to a Python worker's events.
func TestPythonEvents(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	keys := make(chan string, 1000)
	ready := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- goPublisher(t, server).Subscribe(ctx, broker.Subscription{
			Exchange: "celeryev", BindingKey: "task.#", Queue: "celeryev.test",
			Handle:  func(key string, _ broker.Content) { keys <- key },
			OnState: func(bool, error) { ready <- struct{}{} },
		})
	}()
	<-ready
	a.startWorker(t, "-E")
	load(t, a, "tapp.work", 1, 0, nil)
	for _, want := range []string{"task.received", "task.started", "task.succeeded"} {
		select {
		case key := <-keys:
			if key != want && key != "task.multi" {
				t.Errorf("heard %q, want %q", key, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event %q", want)
		}
	}
	cancel()
	if err := <-ended; err != context.Canceled { //nolint:errorlint // exactly this one
		t.Errorf("Subscribe: %v", err)
	}
	if n := server.int(t, "EXISTS", "_kombu.binding.celeryev", "_kombu.binding_permanent.celeryev"); n != 0 {
		t.Error("the binding is still there")
	}
}
