package compat_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// call is one message as Celery put it on the queue.
type call struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	Key  string `json:"key"` // the Redis list it was put on
	Raw  string `json:"raw"`
}

// difference is a field in which the two workers' Redis differ.
type difference struct{ Key, Field, Python, Apium string }

// tolerance is a difference that stays, with the reason. call, field and our value are regular
// expressions.
type tolerance struct{ call, field, apium, reason string }

// accepted are those of Go handlers.
var accepted = []tolerance{
	{
		"string (lone|reversed).*", "result", ".*\\\\ufffd.*",
		"a Go string has no place for half a surrogate pair, unless that stands for a byte: it becomes U+FFFD",
	},
	{
		"malformed .*|serializer .*", "\\(key\\)", ".*exc_type.*",
		"Celery drops a message that it cannot run, and stores nothing; ours fails the task, so that nobody waits for it",
	},
	{
		"throw hidden", "result\\.exc_.*", ".*(unseen|nowhere|Hidden).*",
		"Python wraps an exception that it cannot import; ours names the class as it was raised",
	},
}

// acceptedOfChildren are those of Python tasks that run in our children.
var acceptedOfChildren = []tolerance{accepted[1]}

// ownKeys belong to parts of a Python worker, or of ours, that the other one has
// no use for.
var ownKeys = regexp.MustCompile(`^(_kombu\.binding(_permanent)?\.(celery\.pidbox|celeryev)|_kombu\.binding_deadlines|apium\..*)$`)

// TestDifferential gives the same messages, byte for byte, to a Python worker, to ours and to ours
// with the Python tasks, and compares everything that is in Redis afterwards.
func TestDifferential(t *testing.T) {
	t.Parallel()
	calls := append(publishCases(t), malformedCalls(t)...)
	if len(calls) < 300 {
		t.Fatalf("only %d calls", len(calls))
	}
	for _, unused := range compareWorkers(t, calls, nil) {
		t.Errorf("no call differs any more in the way accepted for %q: %s", unused.call, unused.reason)
	}
}

// compareWorkers runs the calls on all workers, ours with flags that correspond to
// the Python settings, and judges what they leave. It returns the accepted differences that
// were not met.
func compareWorkers(t *testing.T, calls []call, settings map[string]any, flags ...string) (unused []tolerance) {
	t.Helper()
	return compareWorkersOn(t, startRedis, calls, settings, flags...)
}

// compareWorkersOn does so on another broker.
func compareWorkersOn(t *testing.T, on brokerKind, calls []call, settings map[string]any, flags ...string) (unused []tolerance) {
	t.Helper()
	given := func() *redisServer {
		server := on(t)
		server.give(t, calls)
		return server
	}
	in := func(server *redisServer) app {
		a := server.app()
		a.settings = settings
		return a
	}
	theirs := startMeasure(func() *featureRun {
		server := given()
		return &featureRun{redisServer: server, worker: in(server).startWorker(t, "-n", "w1@host")}
	}, func(run *featureRun) error {
		return celeryDone(t, run.redisServer, run.worker)
	})
	apium, children := given(), given()
	servers := []*redisServer{apium, children}
	workers := []*process{
		startWorker(t, apium.app(), append(append(flags, servesMetrics...), "-n", "w1@host")...),
		in(children).startChildren(t, append(servesMetrics, "-n", "w1@host")...),
	}
	python := theirs.ran(t)
	for i, server := range servers {
		finished(t, server, 0, workers[i])
	}
	for _, w := range workers {
		w.signal(t, syscall.SIGTERM)
	}
	for _, w := range workers {
		if code := w.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d", w.name, code)
		}
	}
	var ofGo, ofChildren []difference
	app{}.run(t, &ofGo, "compare.py", python.url(0), apium.url(0))
	app{}.run(t, &ofChildren, "compare.py", python.url(0), children.url(0))
	return append(judge(t, "Go", calls, ofGo, accepted), judge(t, "children", calls, ofChildren, acceptedOfChildren)...)
}

// publishCases lets Celery publish the calls of testdata/app/cases.py.
func publishCases(t *testing.T) []call {
	t.Helper()
	server := startRedis(t)
	var calls []call
	app{broker: server.url(0)}.run(t, &calls, "publish.py")
	return calls
}

// malformed is a broken queue entry and what a Python worker makes of it.
type malformed struct {
	Name        string
	Raw         string
	KillsPython bool `json:"kills_python"`
}

func malformedMessages(t *testing.T) []malformed {
	t.Helper()
	data, err := os.ReadFile("testdata/malformed-messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []malformed
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// malformedCalls are the malformed messages that a Python worker survives.
func malformedCalls(t *testing.T) []call {
	t.Helper()
	var calls []call
	for _, m := range malformedMessages(t) {
		if m.KillsPython {
			continue
		}
		var envelope struct {
			Properties struct {
				CorrelationID string `json:"correlation_id"`
			}
		}
		if err := json.Unmarshal([]byte(m.Raw), &envelope); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call{Name: "malformed " + m.Name, ID: envelope.Properties.CorrelationID, Key: "celery", Raw: m.Raw})
	}
	return calls
}

// judge reports every difference that is not accepted and returns the acceptances that
// were not needed.
func judge(t *testing.T, column string, calls []call, diffs []difference, accepted []tolerance) (unused []tolerance) {
	t.Helper()
	names := map[string]string{}
	for _, c := range calls {
		names[c.ID] = c.Name
	}
	used := make([]bool, len(accepted))
	reported := 0
	for _, d := range diffs {
		if ownKeys.MatchString(d.Key) {
			continue
		}
		name := "key " + d.Key
		if _, id, ok := strings.Cut(d.Key, "celery-task-meta-"); ok && names[id] != "" {
			name = names[id]
		}
		tolerated := false
		for i, a := range accepted {
			if matches(a.call, name) && matches(a.field, d.Field) && matches(a.apium, d.Apium) {
				tolerated, used[i] = true, true
			}
		}
		if tolerated {
			continue
		}
		if reported++; reported <= 30 {
			t.Errorf("%s: %s: %s:\n  Python %s\n  Apium  %s", column, name, d.Field, d.Python, d.Apium)
		}
	}
	if reported > 30 {
		t.Errorf("%s: and %d more differences", column, reported-30)
	}
	for i, a := range accepted {
		if !used[i] {
			unused = append(unused, a)
		}
	}
	return unused
}

func matches(pattern, s string) bool {
	return regexp.MustCompile("^(?s:" + strings.TrimSpace(pattern) + ")$").MatchString(s)
}
