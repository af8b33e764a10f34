package compat_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestDifferentialOnRabbitMQ is TestDifferential with RabbitMQ as the broker.
func TestDifferentialOnRabbitMQ(t *testing.T) {
	t.Parallel()
	compareWorkersOn(t, startRabbit, publishCases(t), nil)
}

// TestFeaturesOnRabbitMQ is TestFeatures with RabbitMQ as the broker: retries, outcomes, time limits.
func TestFeaturesOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for name, group := range map[string]featureGroup{
		"retries": {cases: []string{"retries", "automatic", "arguments"}, accepted: []featureDifference{
			{"message in .*", "header lang", "string py", "string go", "a message that a Go task has sent says so"},
		}, without: `"2099-`}, // RabbitMQ refuses so long a time to live, and Celery's task fails, or another one
		"outcomes": {cases: []string{"outcomes"}},
		"late":     {cases: []string{"outcomes"}, settings: map[string]any{"task_acks_late": true, "task_track_started": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group.run(t, startRabbit)
		})
	}
}

// TestEventsOnRabbitMQ is TestEvents with RabbitMQ as the broker.
func TestEventsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	hard := func(d eventDifference) bool { return strings.Contains(d.id, "hard") }
	compareEvents(t, startRabbit, slices.DeleteFunc(slices.Clone(eventDifferences), hard), slices.DeleteFunc(slices.Clone(childEventDifferences), hard))
}

// TestControlRepliesOnRabbitMQ is TestControlReplies with RabbitMQ as the broker.
func TestControlRepliesOnRabbitMQ(t *testing.T) {
	t.Parallel()
	compareReplies(t, startControlledOn(t, startRabbit))
}

// TestDjangoOnRabbitMQ is TestDjango with RabbitMQ as the broker.
func TestDjangoOnRabbitMQ(t *testing.T) {
	t.Parallel()
	djangoStory(t, startRabbit(t))
}

// TestFlowerOnRabbitMQ is TestFlower with RabbitMQ as the broker.
func TestFlowerOnRabbitMQ(t *testing.T) {
	t.Parallel()
	flowerWatches(t, startRabbit(t))
}

// TestVersionsOnRabbitMQ has a Python worker of each version and ours share a queue, and asks both by
// remote control.
func TestVersionsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := startRabbit(t).app()
			a.venv = venv
			a.startWorker(t, "-n", "py@h", "--prefetch-multiplier", "1")
			startWorker(t, a, "-n", "go@h", "--prefetch-multiplier", "1")
			var got any
			a.run(t, &got, `
import json
import tapp
from celery import chain
from tapp import PATIENCE, app

naps = [tapp.nap.delay(0.05) for _ in range(40)]
plain = [tapp.same.delay(x).get(timeout=PATIENCE) for x in ("\u4f60", 2**50, None, [1.5, {"a": True}])]
later = tapp.add.apply_async((1, 2), countdown=1, expires=600)
steps = chain(tapp.add.s(1, 2), tapp.add.s(10), tapp.add.s(100))()
try:
    tapp.fail.delay("bad", 7).get(timeout=PATIENCE)
except ValueError as exc:
    failure = list(exc.args)
app.control.revoke("revoked", reply=True, limit=2, timeout=PATIENCE)
revoked = tapp.add.apply_async((1, 2), task_id="revoked")
try:
    revoked.get(timeout=PATIENCE)
except Exception as exc:
    why = type(exc).__name__
print(json.dumps({
    "plain": plain, "later": later.get(timeout=PATIENCE), "chain": steps.get(timeout=PATIENCE), "failure": failure, "revoked": why,
    "naps": sum(r.get(timeout=PATIENCE) for r in naps) > 1,
    "pong": sorted(node for reply in app.control.broadcast("ping", reply=True, limit=2, timeout=PATIENCE) for node in reply),
    "queues": sorted(q["name"] for reply in app.control.broadcast("active_queues", reply=True, limit=2, timeout=PATIENCE) for qs in reply.values() for q in qs),
}))
`)
			want := `{"chain":113,"failure":["bad",7],"later":3,"naps":true,"plain":["你",1125899906842624,null,[1.5,{"a":true}]],` +
				`"pong":["go@h","py@h"],"queues":["celery","celery"],"revoked":"TaskRevokedError"}`
			if text := toJSON(t, got); text != want {
				t.Errorf("outcomes:\n%s\nwant\n%s", text, want)
			}
		})
	}
}

// TestCanvasOnRabbitMQ is TestCanvas with RabbitMQ as the broker, for those cases in which nothing is delivered twice.
func TestCanvasOnRabbitMQ(t *testing.T) {
	t.Parallel()
	cases := slices.DeleteFunc(slices.Concat(plainCases(), randomCases(20261125, 60)), func(kase canvasCase) bool { return kase.Redeliver })
	left := map[string]map[string]map[string]remains{}
	var mu sync.Mutex
	t.Run("run", func(t *testing.T) {
		for _, kind := range []string{"python", "apium", "mixed", "both"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				got := canvasRun{cases: cases, fromGo: fromGo(cases, kind), rabbit: true}.run(t, kind)
				mu.Lock()
				defer mu.Unlock()
				left[kind] = got
			})
		}
	})
	if t.Failed() {
		return
	}
	want := left["python"]["python"]
	compareCases(t, "Go producer, Python worker", fromGo(cases, "python"), want, left["python"]["go"], false)
	compareCases(t, "Go producer, our worker", fromGo(cases, "apium"), want, left["apium"]["go"], true)
	compareCases(t, "Python producer, our worker", cases, want, left["apium"]["python"], true)
	compareCases(t, "Python producer, both workers", cases, want, left["mixed"]["python"], true)
	compareCases(t, "Python producer, children and Go handlers", cases, want, left["both"]["python"], true)
	t.Logf("%d cases", len(cases))
}
