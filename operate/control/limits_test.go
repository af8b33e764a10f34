package control_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func TestRateLimitTakesEffect(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := 0
		b.reg.Register("app.count", func() { ran++ })
		b.start()
		send := func() {
			for range 5 {
				b.send(call{Task: "app.count"})
			}
		}
		want := func(n int) {
			t.Helper()
			if ran != n {
				t.Errorf("%d have run, want %d", ran, n)
			}
		}
		b.call("rate_limit", `{"task_name": "app.count", "rate_limit": "1/m"}`)
		send()
		want(1)
		b.want("registered", "", `["app.count [rate_limit=1/m]"]`)
		b.sleep(time.Minute + time.Millisecond) // the limiter rounds up
		want(2)
		b.call("rate_limit", `{"task_name": "app.count", "rate_limit": "1/s"}`)
		b.sleep(time.Second + time.Millisecond)
		want(4)
		b.call("rate_limit", `{"task_name": "app.count", "rate_limit": null}`)
		want(5)
		send()
		want(10)
		b.want("registered", "", `["app.count"]`)
	})
}

// What has no Python task beside it has no shadow; what workers with one answer is tested there and beside Python.
func TestShadowIsRefused(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.reg.Register("app.add", func(x, y int) int { return x + y })
		b.start()
		b.want("shadows", "", `{}`)
		b.want("shadow", `{"task_name": "app.ad", "share": 1}`, `{"error": "unknown task"}`)
		b.want("shadow", `{"task_name": "app.add", "share": "x"}`, `{"error": "'x' is no percentage from 0 to 100"}`)
		b.want("shadow", `{"task_name": "app.add", "share": "10%"}`, `{"error": "worker: task app.add cannot have a shadow: its handler would run twice and does `+
			`not say that it may: if it changes nothing, or leaves that out where tasks.Shadowed(ctx) is true, register it with tasks.Shadowable()"}`)
	})
}

func TestShareTakesEffect(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.reg.Register("app.add", func(x, y int) int { return x + y })
		b.cfg.Shares = map[string]tasks.Share{"app.add": 250}
		b.start()
		b.want("shares", "", `{"app.add": "2.5%"}`)
		b.want("share", `{"task_name": "app.add", "share": "0%"}`, `{"ok": "takes 0%, leaves the others to other workers"}`)
		b.want("shares", "", `{"app.add": "0%"}`)
		id := b.send(call{Task: "app.add", Args: []any{1, 2}})
		b.sleep(time.Second)
		b.wantState(id, "")
		b.want("share", `{"task_name": "app.add", "share": 100}`, `{"ok": "takes 100%, leaves the others to other workers"}`)
		b.sleep(time.Minute)
		b.wantState(id, "SUCCESS 3")
		b.want("share", `{"task_name": "app.ad", "share": 1}`, `{"error": "unknown task"}`)
		for _, share := range []string{`"x"`, "101", "null", "[1]"} {
			b.want("share", `{"task_name": "app.add", "share": `+share+`}`, `{"error": "'`+strings.Trim(share, `"`)+`' is no percentage from 0 to 100"}`)
		}
	})
}

func TestTimeLimitTakesEffect(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		b.call("time_limit", `{"task_name": "app.sleep", "soft": 1}`)
		b.call("time_limit", `{"task_name": "app.stubborn", "hard": 2}`)
		soft := b.send(call{Task: "app.sleep", Args: []any{60}})
		hard := b.send(call{Task: "app.stubborn", Args: []any{60}})
		b.sleep(3 * time.Second)
		b.wantState(soft, `FAILURE {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`)
		b.wantState(hard, `FAILURE {"exc_type": "TimeLimitExceeded", "exc_message": [2], "exc_module": "billiard.exceptions"}`)
		b.call("time_limit", `{"task_name": "app.sleep"}`)
		free := b.send(call{Task: "app.sleep", Args: []any{60}})
		b.sleep(time.Minute)
		b.wantState(free, "SUCCESS null")
	})
}

func (b *bench) wantActive(n int) {
	b.t.Helper()
	if s := b.w.Stats(); s.Active != n {
		b.t.Errorf("%d handlers run, want %d", s.Active, n)
	}
}

func TestPool(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		for range 6 {
			b.send(call{Task: "app.sleep", Args: []any{60}})
		}
		b.wantActive(2)
		b.want("pool_grow", `{"n": 2}`, `{"ok": "pool will grow"}`)
		b.want("pool_grow", `{"n": 1099511627776}`, `{"error": "ValueError('a pool of 1099511627780 is too large: apium_max_concurrency is 1000')"}`)
		b.sleep(0)
		b.wantActive(4)
		if n := b.w.Operations().Prefetch(); n != 16 {
			t.Errorf("prefetch count %d, want 16", n)
		}
		b.want("pool_shrink", `{"n": 3}`, `{"ok": "pool will shrink"}`)
		b.wantActive(4) // those that run are not disturbed
		b.sleep(time.Minute)
		b.wantActive(1)
		b.want("pool_shrink", "", `{"error": "ValueError(\"Can't shrink pool. All processes busy!\")"}`)
	})
}

func TestAutoscale(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.registerSleepers()
		b.cfg.Autoscale = worker.Autoscale{Max: 3, Min: 1}
		b.start()
		autoscaler := func() string {
			return fmt.Sprint(get[struct{ Autoscaler map[string]int }](b, "stats", "").Autoscaler)
		}
		want := func(state string) {
			t.Helper()
			if got := autoscaler(); got != state {
				t.Errorf("autoscaler: %s, want %s", got, state)
			}
		}
		want("map[current:1 max:3 min:1 qty:0]")
		b.want("pool_grow", "", `{"error": "pool_grow is not supported with autoscale. Adjust autoscale range instead."}`)
		b.want("pool_shrink", "", `{"error": "pool_shrink is not supported with autoscale. Adjust autoscale range instead."}`)
		for range 5 {
			b.send(call{Task: "app.sleep", Args: []any{60}})
		}
		want("map[current:3 max:3 min:1 qty:5]")
		b.wantActive(3)
		b.want("autoscale", `{"max": 4, "min": 2}`, `{"ok": "autoscale now max=4 min=2"}`)
		if n := b.w.Operations().Prefetch(); n != 16 {
			t.Errorf("prefetch count %d, want 16", n)
		}
		b.sleep(time.Second)
		want("map[current:4 max:4 min:2 qty:5]")
		b.sleep(2 * time.Minute)
		want("map[current:2 max:4 min:2 qty:0]")
		b.want("autoscale", `{"min": 3}`, `{"ok": "autoscale now max=4 min=3"}`)
		want("map[current:3 max:4 min:3 qty:0]")
		b.want("autoscale", `{"max": 1, "min": 1}`, `{"ok": "autoscale now max=1 min=1"}`)
		b.call("autoscale", `{"max": 3}`)
		for range 3 {
			b.send(call{Task: "app.sleep", Args: []any{1}})
		}
		b.sleep(25 * time.Second)
		want("map[current:3 max:3 min:1 qty:0]") // it may not be over
		b.sleep(10 * time.Second)
		want("map[current:1 max:3 min:1 qty:0]")
		b.wantLog("Scaling up 1 processes.")
		b.wantLog("Scaling down 2 processes.")
	})
}

func TestQueues(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := map[string]int{}
		b.reg.Register("app.note", func(ctx context.Context) { ran[tasks.Current(ctx).Queue]++ })
		b.control.Queue = func(name string) (broker.Queue, bool) {
			return broker.Queue{Name: "known", Exchange: "other", RoutingKey: "rk", Alias: "k"}, name == "known" || name == "k"
		}
		b.start()
		send := func(queue string) { b.send(call{Task: "app.note", Queue: queue}) }
		send("q1")
		b.want("add_consumer", `{"queue": "q1"}`, `{"ok": "add consumer q1"}`)
		b.want("add_consumer", `{"queue": "q2", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#", "bogus": 1}`, `{"ok": "add consumer q2"}`)
		b.want("add_consumer", `{"queue": "q3", "exchange": "ex"}`, `{"ok": "add consumer q3"}`)
		b.want("add_consumer", `{"queue": "k"}`, `{"ok": "add consumer k"}`)
		b.wantLog("Started consuming from q1")
		b.sleep(0)
		send("q2")
		if ran["q1"] != 1 || ran["q2"] != 1 {
			t.Errorf("ran %v", ran)
		}
		const rest = `"queue_arguments": null, "binding_arguments": null, "consumer_arguments": null, "durable": true, ` +
			`"exclusive": false, "auto_delete": false, "no_ack": false, "alias": %s, "bindings": [], "no_declare": null, ` +
			`"expires": null, "message_ttl": null, "max_length": null, "max_length_bytes": null, "max_priority": null}`
		queue := func(name, exchange, kind, key, alias string) string {
			return fmt.Sprintf(`{"name": "%s", "exchange": {"name": "%s", "type": "%s", "arguments": null, "durable": true, "passive": false, `+
				`"auto_delete": false, "delivery_mode": null, "no_declare": false}, "routing_key": "%s", `, name, exchange, kind, key) + fmt.Sprintf(rest, alias)
		}
		b.want("active_queues", "", "["+queue("celery", "celery", "direct", "celery", "null")+", "+queue("q1", "q1", "direct", "q1", "null")+", "+
			queue("q2", "ex", "topic", "a.#", "null")+", "+queue("q3", "ex", "direct", "q3", "null")+", "+queue("known", "other", "direct", "rk", `"k"`)+"]")
		for _, name := range []string{"q1", "q2", "q3", "k"} {
			b.want("cancel_consumer", `{"queue": "`+name+`"}`, `{"ok": "no longer consuming from `+name+`"}`)
		}
		b.want("active_queues", "", "["+queue("celery", "celery", "direct", "celery", "null")+"]")
		send("q1")
		send("celery")
		if ran["q1"] != 1 || ran["celery"] != 1 {
			t.Errorf("ran %v", ran)
		}
	})
}

// dispatcher stands in for the sender of events.
type dispatcher struct{ on, beats int }

func (d *dispatcher) EnableTasks() bool  { d.on++; return d.on == 1 }
func (d *dispatcher) DisableTasks() bool { d.on--; return d.on == 0 }
func (d *dispatcher) Heartbeat()         { d.beats++ }

type gossip struct{ held []string }

func (g *gossip) Election(id, topic string, action []byte) {
	g.held = append(g.held, fmt.Sprintf("%s %s %s", id, topic, action))
}

func TestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		d, g := &dispatcher{}, &gossip{}
		b.control.Events, b.control.Gossip = d, g
		b.start()
		b.want("enable_events", "", `{"ok": "task events enabled"}`)
		b.want("enable_events", "", `{"ok": "task events already enabled"}`)
		d.on = 1
		b.want("disable_events", "", `{"ok": "task events disabled"}`)
		b.want("disable_events", "", `{"ok": "task events already disabled"}`)
		b.want("heartbeat", "", `null`)
		b.want("election", `{"id": "i", "topic": "task", "action": {"task": "x"}}`, `null`)
		if d.beats != 1 || fmt.Sprint(g.held) != `[i task {"task": "x"}]` {
			t.Errorf("%d heartbeats, elections %q", d.beats, g.held)
		}
	})
}
