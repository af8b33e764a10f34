package compat_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol"
)

// writes are the commands a Redis was sent that store, publish or acknowledge.
type writes struct {
	mu    sync.Mutex
	steps []string
	marks []string // what was echoed
}

// watchWrites reads what MONITOR tells until the end of the test.
func watchWrites(t *testing.T, s *redisServer) *writes {
	t.Helper()
	conn, err := redis.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Do("MONITOR"); err != nil {
		t.Fatal(err)
	}
	w := &writes{}
	ended := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-ended })
	go func() {
		defer close(ended)
		for tags := map[string]string{}; ; {
			line, err := redis.String(conn.Receive())
			if err != nil {
				return
			}
			step, mark := stepOf(line, tags), echoed.FindStringSubmatch(line)
			w.mu.Lock()
			if step != "" {
				w.steps = append(w.steps, step)
			}
			if mark != nil {
				w.marks = append(w.marks, mark[1])
			}
			w.mu.Unlock()
		}
	}()
	return w
}

var echoed = regexp.MustCompile(`(?i)"echo" "([^"]*)"`)

// upToDate waits until all that the server was sent before has been read.
func (w *writes) upToDate(t *testing.T, s *redisServer) {
	t.Helper()
	mark := protocol.NewID()
	s.do(t, "ECHO", mark)
	eventually(t, patience, "MONITOR tells of a mark", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Contains(w.marks, mark)
	})
}

// of returns the steps that name a task, each once.
func (w *writes) of(name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var steps []string
	for _, step := range w.steps {
		if strings.Contains(step, name) && !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	return steps
}

var (
	monitored  = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	messageID  = regexp.MustCompile(`"task": "[^"]*", "id": "([^"]*)"`)
	recordID   = regexp.MustCompile(`^celery-task-meta-(.*)$`)
	recordInfo = regexp.MustCompile(`"status": "([A-Z]+)"`)
)

// stepOf reads a line of MONITOR. tags are the tasks of the messages in unacked.
func stepOf(line string, tags map[string]string) string {
	var words []string
	for _, match := range monitored.FindAllStringSubmatch(line, -1) {
		var word string
		escaped := regexp.MustCompile(`\\x[0-9a-f]{2}`).ReplaceAllString(match[1], "?")
		if json.Unmarshal([]byte(`"`+escaped+`"`), &word) != nil {
			word = escaped
		}
		words = append(words, word)
	}
	if len(words) < 3 {
		return ""
	}
	id := func(raw string) string {
		if match := messageID.FindStringSubmatch(raw); match != nil {
			return match[1]
		}
		return ""
	}
	switch strings.ToUpper(words[0]) {
	case "HSET", "HMSET":
		for i := 2; words[1] == "unacked" && i+1 < len(words); i += 2 {
			tags[words[i]] = id(words[i+1])
		}
	case "HDEL":
		for _, tag := range words[2:] {
			// Celery's main process acknowledges early while the child runs the task already.
			if task := tags[tag]; words[1] == "unacked" && strings.HasPrefix(task, "late") {
				return "acknowledge " + task
			}
		}
	case "LPUSH":
		if task := id(words[2]); task != "" {
			return "publish " + task
		}
	case "SET", "SETEX":
		if key := recordID.FindStringSubmatch(words[1]); key != nil {
			state := recordInfo.FindStringSubmatch(words[len(words)-1])
			if state == nil { // SETEX key seconds value; SET key value EX seconds
				state = recordInfo.FindStringSubmatch(words[2])
			}
			if state != nil {
				return fmt.Sprintf("store %s of %s", state[1], key[1])
			}
		}
	}
	return ""
}

// concluded is Celery's order for a task as ours is where the acknowledgement is late: what
// follows a success is published in one step with it, after the result.
func concluded(steps []string) []string {
	follows := func(step string) bool {
		return strings.HasPrefix(step, "publish link of late") || strings.HasPrefix(step, "publish step of late")
	}
	acknowledged := slices.IndexFunc(steps, func(step string) bool { return strings.HasPrefix(step, "acknowledge late") })
	var first, last []string
	for i, step := range steps {
		if follows(step) || i == acknowledged {
			last = append(last, step)
		} else {
			first = append(first, step)
		}
	}
	return append(first, last...)
}

// orderRun is one worker, with what it writes.
type orderRun struct {
	*redisServer
	worker *process
	seen   *writes
}

// newOrderRun starts a worker with one slot, Celery's or ours.
func newOrderRun(t *testing.T, celery bool) *orderRun {
	t.Helper()
	server := startRedis(t)
	run := &orderRun{redisServer: server, seen: watchWrites(t, server)}
	a := app{broker: run.url(0), journal: run.url(1)}
	if celery {
		a.module = "features"
		run.worker = a.startWorker(t, "-n", "w1@host", "-c", "1")
	} else {
		run.worker = startWorker(t, a, append(servesMetrics, "-n", "w1@host", "-c", "1")...)
	}
	return run
}

// settles has the worker run one call after the other.
func (r *orderRun) settles(t *testing.T, calls []call, patience time.Duration) error {
	t.Helper()
	for _, call := range calls {
		r.do(t, "LPUSH", call.Key, call.Raw)
		if !comesTrue(patience, func() bool { return r.idle(t, "celery") }) {
			return fmt.Errorf("after %s %s is not settled", patience, call.Name)
		}
	}
	return nil
}

// orders are the writes of each call.
func (r *orderRun) orders(t *testing.T, calls []call) map[string][]string {
	t.Helper()
	r.seen.upToDate(t, r.redisServer)
	orders := map[string][]string{}
	for _, call := range calls {
		orders[call.Name] = r.seen.of(call.Name)
	}
	return orders
}

// TestOrderOfWrites compares the order in which both workers write what belongs to a task:
// callbacks and the next step before the result, errbacks after it, the late
// acknowledgement at the end. STARTED is left out: what a task publishes at once may come
// before it in ours, which writes both in one group.
func TestOrderOfWrites(t *testing.T) {
	t.Parallel()
	c := publishFeatures(t, "ordered")
	theirs := startMeasure(func() *orderRun { return newOrderRun(t, true) }, func(run *orderRun) error {
		if err := run.settles(t, c.Calls, stall); err != nil {
			return &hangError{run.worker, err}
		}
		return celeryDone(t, run.redisServer, run.worker)
	}).ran(t)
	run := newOrderRun(t, false)
	if err := run.settles(t, c.Calls, patience); err != nil {
		t.Fatal(err)
	}
	finished(t, run.redisServer, 0, run.worker)
	orders := [2]map[string][]string{theirs.orders(t, c.Calls), run.orders(t, c.Calls)}
	run.worker.signal(t, syscall.SIGTERM)
	run.worker.exitCode(t)
	for name, steps := range orders[0] {
		orders[0][name] = concluded(steps)
	}
	if diff := cmp.Diff(orders[0], orders[1]); diff != "" {
		t.Errorf("order of writes (-Python +ours):\n%s", diff)
	}
	if len(orders[1]) < 5 {
		t.Errorf("only %d tasks: %v", len(orders[1]), orders[1])
	}
}
