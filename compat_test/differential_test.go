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

// accepted are the differences that stay, with the reason. call, field and our
// value are regular expressions.
var accepted = []struct{ call, field, apium, reason string }{
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

// ownKeys belong to parts of a Python worker, or of ours, that the other one has
// no use for.
var ownKeys = regexp.MustCompile(`^(_kombu\.binding(_permanent)?\.(celery\.pidbox|celeryev)|_kombu\.binding_deadlines|apium\..*)$`)

// TestDifferential gives the same messages, byte for byte, to a Python worker and
// to ours, and compares everything that is in Redis afterwards.
func TestDifferential(t *testing.T) {
	t.Parallel()
	calls := append(publishCases(t), malformedCalls(t)...)
	if len(calls) < 300 {
		t.Fatalf("only %d calls", len(calls))
	}
	for i, used := range compareWorkers(t, calls, nil) {
		if !used {
			t.Errorf("no call differs any more in the way accepted for %q: %s", accepted[i].call, accepted[i].reason)
		}
	}
}

// compareWorkers runs the calls on both workers, ours with flags that correspond to
// the Python settings, and judges what they leave. It returns which of the accepted
// differences were met.
func compareWorkers(t *testing.T, calls []call, settings map[string]any, flags ...string) []bool {
	t.Helper()
	python, apium := startRedis(t), startRedis(t)
	for _, server := range []*redisServer{python, apium} {
		for _, c := range calls {
			server.do(t, "LPUSH", c.Key, c.Raw)
		}
	}
	workers := []*process{
		app{broker: python.url(0), journal: python.url(1), settings: settings}.startWorker(t, "-n", "w1@host"),
		startWorker(t, app{broker: apium.url(0), journal: apium.url(1)}, append(append(flags, servesMetrics...), "-n", "w1@host")...),
	}
	for i, server := range []*redisServer{python, apium} {
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
	var diffs []difference
	app{}.run(t, &diffs, "compare.py", python.url(0), apium.url(0))
	return judge(t, calls, diffs)
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

// judge reports every difference that is not accepted and returns which acceptances
// were needed.
func judge(t *testing.T, calls []call, diffs []difference) (used []bool) {
	t.Helper()
	names := map[string]string{}
	for _, c := range calls {
		names[c.ID] = c.Name
	}
	used = make([]bool, len(accepted))
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
			t.Errorf("%s: %s:\n  Python %s\n  Apium  %s", name, d.Field, d.Python, d.Apium)
		}
	}
	if reported > 30 {
		t.Errorf("and %d more differences", reported-30)
	}
	return used
}

func matches(pattern, s string) bool {
	return regexp.MustCompile("^(?s:" + strings.TrimSpace(pattern) + ")$").MatchString(s)
}
