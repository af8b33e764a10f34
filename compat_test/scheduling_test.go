package compat_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scheduled is a task's times, in seconds since 1970.
type scheduled struct{ Due, Sent float64 }

// possible is when the task could run on time: a busy machine may send it late.
func (s scheduled) possible() float64 { return max(s.Due, s.Sent) }

// schedule publishes n tasks that are due evenly from first to last seconds from now, and
// returns when each is due, and when it was sent.
func schedule(t *testing.T, a app, n int, first, last float64) map[string]scheduled {
	t.Helper()
	var due map[string]scheduled
	a.run(t, &due, `
import datetime, json, sys, time, tapp
n, first, last = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
start, due = time.time() + first, {}
with tapp.app.producer_pool.acquire() as producer:
    for i in range(n):
        # In no order, as real ones are.
        at = start + (last - first) * (i * 7919 % n) / n
        tapp.stamp.apply_async([str(i)], eta=datetime.datetime.fromtimestamp(at, datetime.timezone.utc), producer=producer)
        due[str(i)] = {"due": at, "sent": time.time()}
print(json.dumps(due))
`, strconv.Itoa(n), fmt.Sprint(first), fmt.Sprint(last))
	return due
}

// stamps returns when each task started.
func stamps(t *testing.T, server *redisServer) map[string][]float64 {
	t.Helper()
	at := map[string][]float64{}
	for _, line := range server.journalKeys(t, "stamps") {
		key, text, _ := strings.Cut(line, " ")
		when, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		at[key] = append(at[key], when)
	}
	return at
}

// lateness returns how late the first run of each task was, sorted, and how many ran again.
// A task that is missing or early is an error.
func lateness(t *testing.T, server *redisServer, due map[string]scheduled) (late []time.Duration, again int) {
	t.Helper()
	at := stamps(t, server)
	for key, when := range due {
		if len(at[key]) == 0 {
			t.Errorf("task %s did not run", key)
			continue
		}
		again += len(at[key]) - 1
		after := time.Duration((slices.Min(at[key]) - when.Due) * float64(time.Second))
		if after < -time.Millisecond {
			t.Errorf("task %s ran %v before it was due", key, -after)
		}
		late = append(late, after-time.Duration((when.possible()-when.Due)*float64(time.Second)))
	}
	slices.Sort(late)
	if len(late) == 0 {
		t.Fatal("nothing ran")
	}
	return late, again
}

func summary(late []time.Duration) string {
	at := func(share float64) time.Duration {
		return late[int(share*float64(len(late)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("late by %v at the median, %v at p99, %v at most", at(0.5), at(0.99), at(1))
}

// TestScheduledTasks runs tasks with an ETA, near and parked, each once and on time.
func TestScheduledTasks(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	startWorker(t, a, "-c", "4", "--park-after", "5")
	const n = 2000
	start := time.Now()
	due := schedule(t, a, n, 3, 20)
	if parked := server.int(t, "ZCARD", "apium.parked.celery"); parked < n/4 {
		t.Errorf("only %d of %d tasks are parked", parked, n)
	}
	eventually(t, patience, "all have run", func() bool { return server.journalLen(t, "stamps") >= n && server.idle(t, "celery") })
	late, again := lateness(t, server, due)
	t.Log(summary(late))
	if again > 0 {
		t.Errorf("%d ran again", again)
	}
	if median := late[len(late)/2]; median > allow(100*time.Millisecond, start) || late[len(late)-1] > allow(time.Second, start) {
		t.Error(summary(late))
	}
}

// TestScheduledTasksOutliveAWorker kills one of two workers, with tasks in its memory, parked
// and running. Nothing is lost, only what was running may run again, and what the other
// one does not have to wait for is on time.
func TestScheduledTasksOutliveAWorker(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	victim := startWorker(t, a, "-c", "2", "-n", "victim@host", "--park-after", "5")
	startWorker(t, a, "-c", "2", "-n", "other@host", "--park-after", "5")
	const n = 1000
	start := time.Now()
	due := schedule(t, a, n, 2, 25)
	eventually(t, patience, "work goes on", func() bool { return server.journalLen(t, "stamps") > 50 })
	victim.kill()
	killed := float64(time.Now().UnixNano()) / 1e9
	eventually(t, patience, "all have run", func() bool { return server.journalLen(t, "stamps") >= n && server.idle(t, "celery") })
	late, again := lateness(t, server, due)
	t.Logf("%s; %d ran again", summary(late), again)
	if again > 2 {
		t.Errorf("%d ran again, more than the dead worker was running", again)
	}
	at, most := stamps(t, server), allow(time.Second, start)
	for key, when := range due {
		if after := slices.Min(at[key]) - when.possible(); when.Due > killed+12 && after > most.Seconds() {
			t.Errorf("task %s, due %.1f s after the death, was %.1f s late", key, when.Due-killed, after)
		}
	}
}

// TestScheduledTasksOfBothKinds shares a queue between a Python worker and ours, and kills
// ours: the Python worker runs what was parked and what was held. No task takes longer
// than the visibility timeout to be due, because Python does not renew what it holds.
func TestScheduledTasksOfBothKinds(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: eagerRestore(20)}
	a.startWorker(t)
	ours := startWorker(t, a, "-c", "2", "--visibility-timeout", "20", "--park-after", "6")
	const n = 300
	due := schedule(t, a, n, 2, 14)
	eventually(t, patience, "work goes on", func() bool { return server.journalLen(t, "stamps") > 30 })
	ours.kill()
	eventually(t, patience, "all have run", func() bool { return server.journalLen(t, "stamps") >= n && server.idle(t, "celery") })
	late, again := lateness(t, server, due)
	t.Logf("%s; %d ran again", summary(late), again)
	if again > 2 {
		t.Errorf("%d ran again, more than the dead worker was running", again)
	}
}

// TestClocksApart: a peer whose clock is half a minute ahead brings parked tasks back to
// their queue early. Those whose clocks are right wait for the ETA all the same.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	first := startWorker(t, a, "--park-after", "1")
	const n = 40
	start := time.Now()
	due := schedule(t, a, n, 25, 27)
	eventually(t, patience, "all are parked", func() bool { return server.int(t, "ZCARD", "apium.parked.celery") == n })
	first.kill()
	for _, key := range []string{"apium.parked.celery", "unacked_index"} {
		for _, tag := range server.strings(t, "ZRANGE", key, 0, -1) {
			server.do(t, "ZINCRBY", key, -30, tag) // what is later by our clock is now by its
		}
	}
	a.startWorker(t)
	startWorker(t, a, "--park-after", "1")
	eventually(t, patience, "all have run", func() bool { return server.journalLen(t, "stamps") >= n && server.idle(t, "celery") })
	late, again := lateness(t, server, due)
	t.Logf("%s; %d ran again", summary(late), again)
	if again > 0 || late[len(late)-1] > allow(time.Second, start) {
		t.Errorf("%s; %d ran again", summary(late), again)
	}
}

// TestPriorityOrder runs the same messages here and in Python: the order is the same.
func TestPriorityOrder(t *testing.T) {
	t.Parallel()
	order := func(start func(a app)) []string {
		server := startRedis(t)
		a := app{broker: server.url(0), journal: server.url(1), settings: map[string]any{
			"worker_prefetch_multiplier": 1, "task_default_priority": 4,
		}}
		a.run(t, nil, `
import tapp
for i in range(60):
    p = i * 37 % 11
    options = {} if p == 10 else {"priority": p}
    tapp.work.apply_async(["%s %d" % (options.get("priority", "default"), i), 0], **options)
`)
		start(a)
		eventually(t, patience, "all tasks are done", func() bool { return server.journalLen(t, "done") == 60 })
		return server.journalKeys(t, "done")
	}
	python := order(func(a app) { a.startWorker(t, "-P", "solo") })
	ours := order(func(a app) { startWorker(t, a, "-c", "1", "--prefetch-multiplier", "1") })
	if diff := cmp.Diff(python, ours); diff != "" {
		t.Errorf("order (-Python +ours):\n%s", diff)
	}
}

// TestInheritedPriority looks at the priority of the message that follows a task with one.
func TestInheritedPriority(t *testing.T) {
	t.Parallel()
	for _, inherit := range []bool{false, true} {
		t.Run(strconv.FormatBool(inherit), func(t *testing.T) {
			t.Parallel()
			lists := func(start func(a app)) []int {
				server := startRedis(t)
				a := app{broker: server.url(0), journal: server.url(1), settings: map[string]any{
					"task_inherit_parent_priority": inherit,
				}}
				a.run(t, nil, `
import tapp
s = tapp.add.s(1, 2).set(priority=6)
s.apply_async(link=tapp.add.s(3).set(queue="next"))
(tapp.add.s(1, 2).set(priority=9) | tapp.add.s(3).set(queue="next")).apply_async()
(tapp.add.s(1, 2).set(priority=9) | tapp.add.s(3).set(queue="next", priority=3)).apply_async()
`)
				start(a)
				var lengths []int
				eventually(t, patience, "all that follows is published", func() bool {
					lengths = nil
					sum := 0
					for _, step := range []string{"", "\x06\x163", "\x06\x166", "\x06\x169"} {
						n := server.int(t, "LLEN", "next"+step)
						lengths, sum = append(lengths, n), sum+n
					}
					return sum == 3
				})
				return lengths
			}
			python := lists(func(a app) { a.startWorker(t) })
			ours := lists(func(a app) { startWorker(t, a, "task_inherit_parent_priority="+strconv.FormatBool(inherit)) })
			if diff := cmp.Diff(python, ours); diff != "" {
				t.Errorf("messages by priority step (-Python +ours):\n%s", diff)
			}
		})
	}
}

// TestRateLimit runs the same limited tasks here and in Python, at the same pace.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	const n = 12
	began := time.Now()
	offsets := func(start func(a app) *process) []float64 {
		server := startRedis(t)
		a := app{broker: server.url(0), journal: server.url(1)}
		a.run(t, nil, `
import tapp
for i in range(12): tapp.limited.delay(str(i))
`)
		w := start(a)
		eventually(t, patience, "all tasks are done", func() bool { return server.journalLen(t, "stamps") == n })
		w.signal(t, syscall.SIGTERM)
		at := stamps(t, server)
		var after []float64
		for i := range n {
			after = append(after, at[strconv.Itoa(i)][0]-at["0"][0])
		}
		return after
	}
	python := offsets(func(a app) *process { return a.startWorker(t) })
	ours := offsets(func(a app) *process { return startWorker(t, a) })
	t.Logf("seconds after the first: Python %.3f, ours %.3f", python, ours)
	slack := allow(0, began).Seconds()
	for i := range n {
		// A busy machine stamps the first task late, which brings the others
		// nearer to it, or any other late; no limit or half of it is further off.
		if want := float64(i) / 4; ours[i] < want-0.4-slack || ours[i] > want+2+slack {
			t.Errorf("task %d ran %.3f s after the first, want %.2f; Python %.3f", i, ours[i], want, python[i])
		}
	}
}
