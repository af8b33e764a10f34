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
	siegeFlows   = 8   // retries, chains, chords, and tasks that are due soon or later
	siegeSeconds = 0.02
)

// load sends tasks of all kinds, which are done in a few seconds: early ones; late ones, half of which send a second one;
// ones that are due in half a second, and in three, for which ours park them; ones that are retried once; chains and chords.
func (s *siege) load() {
	s.t.Helper()
	var b batch
	queues := strings.Split(s.queues(), ",")
	for i := range siegeBatch {
		s.loaded++
		b.to, b.n = canvas.Queue(queues[s.loaded%len(queues)]), s.loaded
		b.early()
		b.late(s.loaded%4 < 2)
		if i%(siegeBatch/siegeFlows) == 0 {
			b.due("soon", 500*time.Millisecond)
			b.due("later", 3*time.Second)
			b.again()
			b.chain()
			b.chord()
		}
	}
	s.ledger.send(b.sent...)
	s.publish(b.sigs...)
}

// sentTask is a task that is to be done once.
type sentTask struct {
	key    string
	by     []string // the keys of those that publish it; nil: the test itself
	parked bool     // who receives it may publish it once more, to have it wait in the broker
	stored bool     // it is acknowledged when its result is stored; its key is its id
	body   string   // of the chord that it is a part of: whoever completes that is acknowledged when the body is published
}

// batch is what a load sends.
type batch struct {
	n    int // number of the tasks that are made
	to   canvas.Option
	sigs []canvas.Signature
	sent []sentTask
}

func (b *batch) key(format string) string { return fmt.Sprintf(format, b.n) }

// expect notes a task that some others publish.
func (b *batch) expect(key string, by ...string) { b.sent = append(b.sent, sentTask{key: key, by: by}) }

// work makes a late task and notes it.
func (b *batch) work(key string, seconds float64, by ...string) canvas.Signature {
	b.expect(key, by...)
	b.sent[len(b.sent)-1].stored = len(by) == 0 // whoever publishes the others may give them other ids
	return canvas.Sig("tapp.work_late", key, seconds).Set(b.to, canvas.Opt("task_id", key)).Immutable()
}

func (b *batch) send(sigs ...canvas.Signature) { b.sigs = append(b.sigs, sigs...) }

func (b *batch) early() {
	key := b.key("early-%d")
	b.expect(key)
	b.send(canvas.Sig("tapp.work", key, siegeSeconds).Set(b.to))
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
	b.sent = append(b.sent, sentTask{key: key, parked: true, stored: true})
	due := time.Now().Add(in)
	b.send(canvas.Sig("tapp.work_due", key, float64(due.UnixMicro())/1e6).Set(b.to, canvas.Countdown(in), canvas.Opt("task_id", key)))
}

func (b *batch) again() {
	key := b.key("again-%d")
	b.expect(key)
	b.expect(key+".2", key)
	b.send(canvas.Sig("tapp.work_again", key).Set(b.to))
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
