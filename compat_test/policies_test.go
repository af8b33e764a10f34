package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sendUnknown publishes n calls of the task that only Python has, of all priorities, and
// returns their ids.
func sendUnknown(t *testing.T, a app, n int) (ids []string) {
	t.Helper()
	a.run(t, &ids, `
import json, sys, tapp
print(json.dumps([tapp.python_only.apply_async([str(i)], priority=i % 10, expires=600).id for i in range(int(sys.argv[1]))]))
`, strconv.Itoa(n))
	return ids
}

func wantResults(t *testing.T, a app, ids []string) {
	t.Helper()
	var results []string
	a.run(t, &results, `
import json, sys, tapp
from celery.result import AsyncResult
print(json.dumps([AsyncResult(id, app=tapp.app).get(timeout=tapp.PATIENCE) for id in sys.argv[1:]]))
`, ids...)
	for i, result := range results {
		if result != strconv.Itoa(i) {
			t.Errorf("result %d is %q", i, result)
		}
	}
}

// TestForward moves tasks that we do not know to the queue of a Python worker, byte for byte.
func TestForward(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	const n = 20
	ids := sendUnknown(t, a, n)
	lists := func(queue string) (messages [][]string) {
		for _, step := range []string{"", "\x06\x163", "\x06\x166", "\x06\x169"} {
			messages = append(messages, server.strings(t, "LRANGE", queue+step, 0, -1))
		}
		return messages
	}
	sent := lists("celery")
	load(t, a, "tapp.work", 5, 0, nil)
	startWorker(t, a, "--unknown-task", "forward:python")
	eventually(t, patience, "ours are done and the others forwarded", func() bool {
		return server.journalLen(t, "done") == 5 && server.idle(t, "celery")
	})
	if diff := cmp.Diff(sent, lists("python")); diff != "" {
		t.Errorf("messages (-sent +forwarded):\n%s", diff)
	}
	a.startWorker(t, "-Q", "python")
	wantResults(t, a, ids)
	ids = sendUnknown(t, a, n) // while both are there
	wantResults(t, a, ids)
}

// TestForwardOnRabbitMQ moves tasks that we do not know to a queue which a Python worker consumes, on classic and quorum queues.
func TestForwardOnRabbitMQ(t *testing.T) {
	t.Parallel()
	onQueuesOfBothKinds(t, func(t *testing.T, server *redisServer, a app, kind string) {
		a.backend = server.url(2)
		a.settings = map[string]any{"task_default_queue_type": kind, "task_create_missing_queue_type": kind}
		ids := sendUnknown(t, a, 5)
		load(t, a, "tapp.work", 5, 0, nil)
		startWorker(t, a, "-n", "go@h", "--unknown-task", "forward:python", "task_default_queue_type="+kind, "task_create_missing_queue_type="+kind)
		eventually(t, patience, "ours are done and the others forwarded", func() bool {
			return server.journalLen(t, "done") == 5 && server.messages(t, "celery") == 0 && server.messages(t, "python") == 5
		})
		a.startWorker(t, "-n", "py@h", "-Q", "python")
		wantResults(t, a, ids)
	})
}

// TestForwardToNobody has our worker find out that a Python worker consumes one of the queues
// it forwards to, and nobody the other.
func TestForwardToNobody(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	a.startWorker(t, "-Q", "python")
	w := startWorker(t, a, "-Q", "celery,mail", "--unknown-task", "forward:python,mail=forward:pyton")
	w.waitLog(t, "forwarded to queue pyton, and no other worker")
	if w.log.contains("forwarded to queue python,") {
		t.Errorf("a Python worker consumes queue python:\n%s", w.log.String())
	}
}

// TestLeave shares a queue with a Python worker: each task ends up where it is known.
func TestLeave(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	ours := startWorker(t, a, "--unknown-task", "leave")
	python := a.startWorker(t)
	const n = 200
	load(t, a, "tapp.work", n, 0.01, nil)
	ids := sendUnknown(t, a, n)
	wantResults(t, a, ids)
	eventually(t, patience, "all tasks are done", func() bool { return server.journalLen(t, "done") == 2*n && server.idle(t, "celery") })
	if ours.log.contains("Task tapp.python_only") || ours.log.contains("unregistered") { // it may well say that nobody takes one
		t.Error("our worker ran a task it does not know, or failed it")
	}
	if ours.log.count("tapp.work[") == 0 || python.log.count("tapp.python_only[") == 0 {
		t.Error("the queue was not shared")
	}
}

// TestLeaveIsNoBusyLoop leaves many messages that nobody knows: known tasks behind them
// run soon, and the processor has little to do.
func TestLeaveIsNoBusyLoop(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	const n = 5000
	sendUnknown(t, a, 10)
	one := server.strings(t, "LRANGE", "celery", 0, 0)[0]
	id := between(one, `"id": "`, `"`)
	for i := range n {
		server.do(t, "LPUSH", "celery", strings.ReplaceAll(one, id, strconv.Itoa(i)))
	}
	w := startWorker(t, a, "--unknown-task", "leave")
	time.Sleep(3 * time.Second) // what it does at first is not what it does on and on
	before, began := cpuTime(t, w), time.Now()
	load(t, a, "tapp.work", 1, 0, nil)
	eventually(t, patience, "the task behind has run", func() bool { return server.journalLen(t, "done") == 1 })
	waited := time.Since(began)
	time.Sleep(max(0, 5*time.Second-waited))
	load := float64(cpuTime(t, w)-before) / float64(time.Since(began))
	if waited > allow(15*time.Second, began) {
		t.Errorf("the task behind %d others ran after %v", n, waited)
	}
	t.Logf("the task behind %d others ran after %v; the worker uses %.0f%% of a processor", n, waited, 100*load)
	if load > 0.5 {
		t.Errorf("the worker uses %.0f%% of a processor", 100*load)
	}
	if left := server.messages(t, "celery"); left < n {
		t.Errorf("%d messages of %d are left", left, n)
	}
}

func between(text, start, end string) string {
	_, rest, _ := strings.Cut(text, start)
	inner, _, _ := strings.Cut(rest, end)
	return inner
}

// cpuTime is the processor time a process has used.
func cpuTime(t *testing.T, p *process) time.Duration {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	ticks := 0
	for _, field := range fields[12:14] { // utime, stime, of 1/100 s
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// letter is a dead letter as apium dlq prints it.
type letter struct {
	ID, Queue, Reason, Task string
	TaskID                  string `json:"task_id"`
	Redeliveries            int
	Raw                     []byte
}

// dlq runs apium dlq.
func dlq(t *testing.T, a app, args ...string) string {
	t.Helper()
	cmd := exec.Command(apiumBinary, append([]string{"-b", a.broker, "dlq"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("apium dlq %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func deadLetters(t *testing.T, a app) (letters []letter) {
	t.Helper()
	for line := range strings.Lines(dlq(t, a, "list", "--json", "--limit", "0")) {
		var l letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		letters = append(letters, l)
	}
	return letters
}

// TestDeadLetters finds every message again that no task could be read from, byte for
// byte, and drops them.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	var sent []string
	for _, m := range malformedMessages(t) {
		sent = append(sent, m.Raw)
		server.do(t, "LPUSH", "celery", m.Raw)
	}
	w := startWorker(t, a)
	eventually(t, patience, "nothing waits", func() bool { return server.idle(t, "celery") })
	letters := deadLetters(t, a)
	for _, l := range letters {
		if l.Queue != "celery" || l.Reason == "" || !slices.Contains(sent, string(l.Raw)) {
			t.Errorf("letter %+v", l)
		}
	}
	// The others name a task: one that is not registered, or that could run.
	others := w.log.count("Received unregistered task of type") + w.log.count("] received")
	if len(letters)+others != len(sent) {
		t.Errorf("%d dead letters and %d tasks of %d messages", len(letters), others, len(sent))
	}
	if len(letters) == 0 {
		t.Fatal("no dead letters")
	}
	t.Logf("%d malformed messages, %d dead letters", len(sent), len(letters))
	if shown := dlq(t, a, "show", letters[0].ID); !strings.Contains(shown, letters[0].Reason) {
		t.Errorf("dlq show:\n%s", shown)
	}
	dlq(t, a, "drop", letters[0].ID)
	if rest := deadLetters(t, a); len(rest) != len(letters)-1 {
		t.Errorf("%d letters after one of %d was dropped", len(rest), len(letters))
	}
	dlq(t, a, "drop", "--all", "--force")
	if rest := deadLetters(t, a); len(rest) > 0 {
		t.Errorf("%d letters after all were dropped", len(rest))
	}
}

// TestParkUnknown puts tasks that we do not know among the dead letters; replayed, a Python
// worker runs them.
func TestParkUnknown(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	ours := startWorker(t, a, "--unknown-task", "celery=park")
	ids := sendUnknown(t, a, 5)
	eventually(t, patience, "nothing waits", func() bool { return server.idle(t, "celery") })
	var parked []string
	for _, l := range deadLetters(t, a) {
		if l.Reason != "unregistered: tapp.python_only" || l.Task != "tapp.python_only" {
			t.Errorf("letter %+v", l)
		}
		parked = append(parked, l.TaskID)
	}
	slices.Sort(parked)
	if diff := cmp.Diff(slices.Sorted(slices.Values(ids)), parked); diff != "" {
		t.Errorf("dead letters (-sent +parked):\n%s", diff)
	}
	ours.kill()
	dlq(t, a, "replay", "--all")
	a.startWorker(t)
	wantResults(t, a, ids)
}

// TestPoison kills a worker with every run of a task. After so many deaths it is a dead
// letter, and what those workers held besides has run.
func TestPoison(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	poisoned(t, server, server.app(), 5)
}

// TestPoisonOnRabbitMQ is TestPoison on classic and quorum queues.
func TestPoisonOnRabbitMQ(t *testing.T) {
	t.Parallel()
	onQueuesOfBothKinds(t, func(t *testing.T, server *redisServer, a app, kind string) {
		a.settings = map[string]any{"task_default_queue_type": kind}
		poisoned(t, server, a, 3)
	})
}

// onQueuesOfBothKinds runs a test on a RabbitMQ whose queues are to be classic ones, and one with quorum queues.
func onQueuesOfBothKinds(t *testing.T, test func(t *testing.T, server *redisServer, a app, kind string)) {
	t.Helper()
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			test(t, server, server.app(), kind)
		})
	}
}

func poisoned(t *testing.T, server *redisServer, a app, neighbors int) {
	t.Helper()
	a.backend = server.url(2)
	a.run(t, nil, fmt.Sprintf(`
import tapp
tapp.app.send_task("tapp.die", ["poison"], task_id="poison", link_error=tapp.work.si("told", 0))
for i in range(%d): tapp.work_late.delay(str(i), 0)
`, neighbors))
	const most = 2
	for deaths := 0; ; deaths++ {
		w := launchWorker(t, a, "-c", "1", "--max-redeliveries", strconv.Itoa(most))
		eventually(t, patience, "the worker has died, or all is done", func() bool {
			return w.ended() || server.journalLen(t, "done") > neighbors && server.idle(t, "celery")
		})
		if !w.ended() {
			break
		}
		if deaths > most+1 {
			t.Fatalf("the task killed %d workers", deaths)
		}
	}
	if n := server.journalLen(t, "started") - server.journalLen(t, "done"); n != most+1 {
		t.Errorf("the task ran %d times, want %d", n, most+1)
	}
	letters := deadLetters(t, a)
	if len(letters) != 1 || letters[0].Task != "tapp.die" || !strings.HasPrefix(letters[0].Reason, "redelivered: ") || letters[0].Redeliveries != most+1 {
		t.Errorf("dead letters: %+v", letters)
	}
	var got []string
	a.run(t, &got, `
import json, tapp
try: tapp.app.AsyncResult("poison").get(timeout=tapp.PATIENCE)
except Exception as exc: print(json.dumps([type(exc).__module__, type(exc).__name__, str(exc)]))
`)
	if want := []string{"billiard.exceptions", "WorkerLostError", "Worker exited prematurely: given back 3 times because a worker died"}; !slices.Equal(got, want) {
		t.Errorf("its caller gets %q, want %q", got, want)
	}
	if done := server.journalKeys(t, "done"); !slices.Contains(done, "told") {
		t.Errorf("its errback has not run; done: %v", done)
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// TestQueuesOfSettings consumes from direct, topic and broadcast queues and the worker's
// own, which Python producers address in their ways.
func TestQueuesOfSettings(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	path := t.TempDir() + "/settings.json"
	err := os.WriteFile(path, []byte(`{"worker_direct": true, "task_queues": [
		{"name": "celery"}, {"name": "shop", "exchange": "sales", "exchange_type": "direct", "routing_key": "order"},
		{"name": "feeds", "exchange": "feeds", "exchange_type": "topic", "routing_key": "feed.#", "alias": "f"},
		{"name": "news", "broadcast": true}, {"name": "unwanted"}]}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one@host", "two@host"} {
		startWorker(t, a, "--config", path, "-n", name, "-X", "unwanted")
	}
	eventually(t, patience, "both hear broadcasts, and remote control", func() bool {
		return strings.Count(fmt.Sprintf("%s", server.do(t, "CLIENT", "LIST")), " psub=1 ") == 4
	})
	a.run(t, nil, `
import tapp
from celery.utils.nodenames import worker_direct
from kombu import Exchange, Queue
send = lambda key, **options: tapp.work.apply_async([key, 0], **options)
send("default")
send("direct", exchange=Exchange("sales", "direct"), routing_key="order")
with tapp.app.producer_pool.acquire() as producer:
    exchange = Exchange("feeds", "topic")
    exchange.declare(channel=producer.channel)
    send("topic", exchange=exchange, routing_key="feed.sport.tennis", producer=producer)
    # Celery's producers do not declare a Broadcast's exchange: without that nobody gets it.
    news = Exchange("news", type="fanout")
    send("broadcast", exchange=news, exchange_type="fanout", routing_key="celery", producer=producer, declare=[news])
send("worker", queue=worker_direct("two@host"))
send("unwanted", queue=Queue("unwanted"))
`)
	want := []string{"broadcast", "broadcast", "default", "direct", "topic", "worker"}
	eventually(t, patience, "all have run", func() bool { return server.journalLen(t, "done") >= len(want) })
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(server.journalKeys(t, "done")))); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if n := server.int(t, "LLEN", "unwanted"); n != 1 {
		t.Errorf("%d messages in the queue that -X excludes", n)
	}
}
