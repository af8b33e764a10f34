package compat_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestKeyPrefix shares a Redis, and a queue in it, with a Python worker when all
// keys have a prefix; a second application without one sees nothing of it.
func TestKeyPrefix(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: map[string]any{
		"broker_transport_options":         map[string]any{"global_keyprefix": "shop:"},
		"result_backend_transport_options": map[string]any{"global_keyprefix": "results"},
	}}
	ours := startWorker(t, a, "--broker-transport-options", `{"global_keyprefix": "shop:"}`,
		"--result-backend-transport-options", "global_keyprefix=results")
	python := a.startWorker(t)
	startWorker(t, app{broker: server.url(0), journal: server.url(1)}, "-n", "stranger@host")

	const n = 200
	sent := 0
	eventually(t, patience, "both have run tasks", func() bool { // one alone may be quick enough for all
		load(t, a, "tapp.work", n, 0.01, nil)
		sent += n
		eventually(t, patience, "all tasks are done", func() bool { return server.journalLen(t, "done") == sent })
		return ours.log.contains("tapp.work[") && python.log.contains("tapp.work[")
	})
	a.run(t, nil, `import tapp; assert tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE) == 3`)
	for _, w := range []*process{ours, python} {
		w.signal(t, syscall.SIGTERM)
		w.exitCode(t)
	}
	known := regexp.MustCompile(`^(shop:(_kombu\.binding.*)|results_celery-task-meta-.*|_kombu\.binding.*|apium\..*)$`)
	for _, key := range server.strings(t, "KEYS", "*") {
		if !known.MatchString(key) {
			t.Errorf("key %q", key)
		}
	}
}

// TestTwoQueues serves both queues of a worker in turn.
func TestTwoQueues(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	a.run(t, nil, `
import tapp
for i in range(100): tapp.work.apply_async(["first %d" % i, 0], queue="first")
for i in range(20): tapp.work.apply_async(["second %d" % i, 0], queue="second")
tapp.work.apply_async(["other", 0], queue="other")
`)
	startWorker(t, a, "-c", "1", "-Q", "first,second")
	eventually(t, patience, "both queues are empty", func() bool { return server.idle(t, "first", "second") })
	done := server.journalKeys(t, "done")
	if len(done) != 120 {
		t.Fatalf("%d tasks done, want 120", len(done))
	}
	// Round robin: the short queue is empty long before the long one.
	last := slices.Index(done, "second 19")
	if last > 60 {
		t.Errorf("the last task of the short queue was number %d of 120", last+1)
	}
	if server.int(t, "LLEN", "other") != 1 {
		t.Error("a queue that was not asked for was consumed from")
	}
}

// TestPurgeAtStart: --purge drops what waits in the queues of the worker, and says so in
// Celery's words.
func TestPurgeAtStart(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	for kind, startWorker := range map[string]func(args ...string) *process{
		"python": func(args ...string) *process { return a.startWorker(t, args...) },
		"apium":  func(args ...string) *process { return startWorker(t, a, args...) },
	} {
		a.run(t, nil, `
import tapp
for i, queue in enumerate(["a", "a", "b", "other"]): tapp.work.apply_async(["purged", 0], queue=queue, priority=3 * i)
`)
		w := startWorker("-Q", "a,b", "--purge")
		if !strings.Contains(w.log.String(), "purge: Erased 3 messages from the queue.\n") {
			t.Errorf("%s does not say what it has purged:\n%s", kind, w.log)
		}
		a.run(t, nil, `import tapp; tapp.work.apply_async(["kept", 0], queue="b")`)
		eventually(t, patience, "the task sent later is done", func() bool { return server.journalLen(t, "done") == 1 })
		if done := server.journalKeys(t, "done"); !slices.Equal(done, []string{"kept"}) {
			t.Errorf("%s ran %v", kind, done)
		}
		if n := server.int(t, "LLEN", "other\x06\x169"); n != 1 {
			t.Errorf("%s left %d messages in a queue that it does not consume", kind, n)
		}
		w.kill()
		server.do(t, "FLUSHALL")
	}
}

// TestPriorities serves kombu's priority lists in its order: 0 first, 9 last.
func TestPriorities(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	a.run(t, nil, `
import tapp
for p in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0):
    for i in range(2): tapp.work.apply_async(["%d %d" % (p, i), 0], priority=p)
`)
	startWorker(t, a, "-c", "1", "--prefetch-multiplier", "1")
	eventually(t, patience, "all tasks are done", func() bool { return server.journalLen(t, "done") == 20 })
	// Within a list messages keep the order in which they were sent.
	var want []string
	for _, list := range [][]int{{2, 1, 0}, {5, 4, 3}, {8, 7, 6}, {9}} {
		for _, p := range list {
			want = append(want, strconv.Itoa(p)+" 0", strconv.Itoa(p)+" 1")
		}
	}
	if diff := cmp.Diff(want, server.journalKeys(t, "done")); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// TestETA keeps tasks until they are due, and runs others meanwhile.
func TestETA(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	startWorker(t, a, "-c", "1", "--prefetch-multiplier", "1")
	var sent float64
	a.run(t, &sent, `
import datetime, json, time, tapp
tapp.app.broker_connection().ensure_connection()
for i in range(20): tapp.work.apply_async(["later %d" % i, 0], countdown=600)
now = datetime.datetime.now(datetime.timezone.utc)
tapp.work.apply_async(["eta", 0], eta=now + datetime.timedelta(seconds=9))
tapp.work.apply_async(["countdown", 0], countdown=6)
tapp.work.apply_async(["zone", 0], eta=(now + datetime.timedelta(seconds=3)).astimezone(datetime.timezone(datetime.timedelta(hours=-8))))
tapp.work.apply_async(["now", 0])
print(json.dumps(now.timestamp()))
`)
	due := map[string]time.Duration{"now": 0, "zone": 3 * time.Second, "countdown": 6 * time.Second, "eta": 9 * time.Second}
	order := []string{"now", "zone", "countdown", "eta"}
	for i, key := range order {
		eventually(t, patience, key+" is done", func() bool { return server.journalLen(t, "done") > i })
		start := time.Unix(0, int64(sent*1e9))
		after := time.Since(start)
		if after < due[key] || after > due[key]+allow(1500*time.Millisecond, start) {
			t.Errorf("%s was done after %s, due after %s", key, after, due[key])
		}
	}
	if diff := cmp.Diff(order, server.journalKeys(t, "done")); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if held := server.int(t, "HLEN", "unacked"); held != 20 {
		t.Errorf("%d of 20 later tasks are held in unacked", held)
	}
}

// TestExpires gives up tasks that expire while they wait: in the queue, and for
// their ETA.
func TestExpires(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	var ids []string
	a.run(t, &ids, `
import json, tapp
print(json.dumps([tapp.work.apply_async(["queued", 0], expires=0.5).id, tapp.work.apply_async(["held", 0], countdown=2, expires=1).id]))
`)
	time.Sleep(600 * time.Millisecond) // the first one expires in the queue
	w := startWorker(t, a)
	var raised []string
	a.run(t, &raised, `
import json, sys, tapp
from celery.result import AsyncResult
out = []
for id in sys.argv[1:]:
    try:
        out.append(repr(AsyncResult(id, app=tapp.app).get(timeout=tapp.PATIENCE)))
    except Exception as exc:
        out.append(type(exc).__module__ + "." + repr(exc))
    out.append(AsyncResult(id, app=tapp.app).state)
print(json.dumps(out))
`, ids...)
	const revoked = "celery.exceptions.TaskRevokedError('expired')"
	if diff := cmp.Diff([]string{revoked, "REVOKED", revoked, "REVOKED"}, raised); diff != "" {
		t.Errorf("get() (-want +got):\n%s", diff)
	}
	for _, id := range ids {
		w.waitLog(t, "Discarding revoked task: tapp.work["+id+"]")
	}
	if started := server.journalKeys(t, "started"); len(started) > 0 {
		t.Errorf("started: %s", strings.Join(started, ", "))
	}
}
