package compat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
)

const (
	siegeBatch   = 120 // tasks for each fault that are acknowledged early, and as many late ones
	siegeFlow    = 15  // with one of so many go a retry, a chain, a chord, and tasks that are due soon and later
	siegeSeconds = 0.02
)

// load sends tasks of all kinds, which are done in a few seconds: early ones; as many late ones, half of which send a second one;
// ones that are due in half a second, and in three, for which ours park them; ones that are retried twice, in one of
// four ways; chains and chords.
func (s *siege) load(n int) {
	s.t.Helper()
	var b batch
	queues, modules := strings.Split(s.queues(), ","), s.modules()
	for range n {
		s.loaded++
		b.to, b.n, b.module = canvas.Queue(queues[s.loaded%len(queues)]), s.loaded, modules[s.loaded%len(modules)]
		b.early()
		b.late(s.loaded%4 < 2)
		if s.loaded%siegeFlow == 0 {
			b.due("soon", 500*time.Millisecond)
			b.due("later", 3*time.Second)
			way := s.loaded / siegeFlow
			if s.kind == "mixed" {
				way = latest // Celery's worker publishes a retry before it stores RETRY: ours may have stored SUCCESS by then
			}
			b.again(way)
			b.chain()
			b.chord()
		}
	}
	s.note(b.sent...)
	s.publish(b.sigs...)
}

// sentTask is a task that is to be done once.
type sentTask struct {
	key    string
	by     []string // the keys of those that publish it; nil: the test itself
	parked bool     // who receives it may publish it once more, to have it wait in the broker
	id     string   // it is acknowledged when its success is stored under this id; "": that is not looked for
	python bool     // it runs in Python, beside others in Go
	body   string   // of the chord that it is a part of: whoever completes that is acknowledged when the body is published
}

// batch is what a load sends.
type batch struct {
	n      int // number of the tasks that are made
	module string
	to     canvas.Option
	sigs   []canvas.Signature
	sent   []sentTask
}

func (b *batch) key(format string) string { return fmt.Sprintf(format, b.n) }

// expect notes a task that some others publish.
func (b *batch) expect(key string, by ...string) *sentTask {
	b.sent = append(b.sent, sentTask{key: key, by: by, python: b.module == tortured})
	return &b.sent[len(b.sent)-1]
}

// call makes a task.
func (b *batch) call(name string, args ...any) canvas.Signature {
	return canvas.Sig(b.module+"."+name, args...).Set(b.to)
}

// work makes a late task and notes it.
func (b *batch) work(key string, seconds float64, by ...string) canvas.Signature {
	if task := b.expect(key, by...); len(by) == 0 { // whoever publishes the others may give them other ids
		task.id = key
	}
	return b.call("work_late", key, seconds).Set(canvas.Opt("task_id", key)).Immutable()
}

func (b *batch) send(sigs ...canvas.Signature) { b.sigs = append(b.sigs, sigs...) }

func (b *batch) early() {
	key := b.key("early-%d")
	b.expect(key)
	b.send(b.call("work", key, siegeSeconds).Set(canvas.Opt("task_id", key)))
}

func (b *batch) late(linked bool) {
	key := b.key("late-%d")
	sig := b.work(key, siegeSeconds)
	if linked {
		sig = sig.Link(b.work(key+".2", siegeSeconds/4, key))
	}
	b.send(sig)
}

func (b *batch) due(kind string, in time.Duration) {
	key := b.key(kind + "-%d")
	task := b.expect(key)
	task.parked, task.id = true, key
	due := time.Now().Add(in)
	b.send(b.call("work_due", key, float64(due.UnixMicro())/1e6).Set(canvas.Countdown(in), canvas.Opt("task_id", key)))
}

// againIn are options of retries: at once, soon, and so late that ours park the next attempt.
var againIn = []map[string]any{{"countdown": 0}, {"countdown": 0.3, "priority": 3}, {"countdown": 1.5}}

// latest is the place of the last of them.
const latest = 2

// again makes a task that is retried in one way, or because it fails.
func (b *batch) again(way int) {
	key := b.key("again-%d")
	way %= len(againIn) + 1
	last := ""
	for attempt := range 3 {
		var by []string
		if last != "" {
			by = []string{last}
		}
		last = fmt.Sprintf("%s.%d", key, attempt+1)
		b.expect(last, by...).parked = attempt > 0 && way == latest
	}
	b.sent[len(b.sent)-1].id = key
	sig := b.call("work_auto", key)
	if way < len(againIn) {
		sig = b.call("work_again", key, againIn[way])
	}
	b.send(sig.Set(canvas.Opt("task_id", key)))
}

func (b *batch) chain() {
	key := b.key("chain-%d")
	b.send(canvas.Chain(b.work(key+".1", 0), b.work(key+".2", 0, key+".1"), b.work(key+".3", 0, key+".2")))
}

func (b *batch) chord() {
	key := b.key("chord-%d")
	parts := []string{key + ".1", key + ".2", key + ".3"}
	header := make([]canvas.Signature, len(parts))
	for i, part := range parts {
		header[i] = b.work(part, 0)
		b.sent[len(b.sent)-1].body = key + ".body"
	}
	b.send(canvas.Chord(header, b.work(key+".body", 0, parts...)))
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
