package worker_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

func TestParseUnknownPolicy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]tasks.UnknownPolicy{
		"fail": {}, "leave": {Action: tasks.UnknownLeave}, "park": {Action: tasks.UnknownPark},
		"forward:python": {Action: tasks.UnknownForward, Queue: "python"},
		"forward:a:b":    {Action: tasks.UnknownForward, Queue: "a:b"},
	} {
		if got, err := tasks.ParseUnknownPolicy(text); err != nil || got != want {
			t.Errorf("%q = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "drop", "forward", "forward:", "leave:x", "fail:x", "Leave"} {
		if got, err := tasks.ParseUnknownPolicy(text); err == nil {
			t.Errorf("%q = %+v, want an error", text, got)
		}
	}
}

func TestForwardUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Unknown = tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"}
		b.start()
		id := b.send(canvas.Sig("no.such", 1).Set(canvas.Countdown(time.Hour), canvas.ExpiresAt(time.Now().Add(time.Minute))))
		b.wantResult(id, "")
		b.wantQueued(0, 0)
		b.wantEvents("forwarded")
		if n := b.broker.Len("python"); n != 1 {
			t.Errorf("%d messages in the other queue", n)
		}
	})
}

// A message that comes back to the queue it is forwarded to is known to nobody.
func TestForwardToItself(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Unknown = tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"}
		b.cfg.Consumer = b.broker.Consumer(queue, "python")
		b.start()
		id := b.send(canvas.Sig("no.such"))
		b.wantResult(id, `FAILURE {"exc_type": "NotRegistered", "exc_message": ["no.such"], "exc_module": "celery.exceptions"}`)
		b.wantEvents("forwarded", "failed NotRegistered")
	})
}

// Two policies that forward to each other keep a message for longer and longer.
func TestForwardInCircles(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.UnknownByQueue = map[string]tasks.UnknownPolicy{
			"a": {Action: tasks.UnknownForward, Queue: "b"}, "b": {Action: tasks.UnknownForward, Queue: "a"},
		}
		b.cfg.Consumer = b.broker.Consumer("a", "b")
		b.start()
		b.send(canvas.Sig("no.such").Set(canvas.Queue("a")))
		b.sleep(10 * time.Minute)
		if n := b.countEvents("forwarded"); n < 100 || n > 350 {
			t.Errorf("forwarded %d times in ten minutes", n)
		}
		if n := b.broker.Leased() + b.broker.Len("a") + b.broker.Len("b"); n != 1 {
			t.Errorf("%d messages are left of one", n)
		}
	})
}

func TestParkUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.UnknownByQueue = map[string]tasks.UnknownPolicy{queue: {Action: tasks.UnknownPark}}
		b.start()
		id := b.send(canvas.Sig("no.such"))
		b.wantResult(id, "")
		b.wantQueued(0, 0)
		b.wantEvents("buried unregistered")
		b.wantLetters("unregistered: no.such")
	})
}

func (b *bench) wantLetters(reasons ...string) {
	b.t.Helper()
	var got []string
	for _, l := range b.broker.DeadLetters() {
		got = append(got, l.Reason)
	}
	if !slices.Equal(got, reasons) {
		b.t.Errorf("dead letters %q, want %q", got, reasons)
	}
}

// What cannot be read goes to the dead letters, just as it is.
func TestRefusedMessagesAreDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Consumer = nil
		b.start()
		const raw = `{"body": "e30=", "headers": {}, "content-type": "application/json", "content-encoding": "utf-8", ` +
			`"properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}}`
		b.publish(raw)
		b.wantQueued(0, 0)
		letters := b.broker.DeadLetters()
		if len(letters) != 1 || letters[0].Queue != queue || letters[0].At.IsZero() {
			t.Fatalf("dead letters: %+v", letters)
		}
		var received protocol.Received
		letters[0].Read(&received)
		if m, err := received.Message(); err != nil || !reflect.DeepEqual(m, envelopetest.Message([]byte(raw))) {
			t.Errorf("dead letter: %+v, %v", m, err)
		}
		reason, _, _ := strings.Cut(letters[0].Reason, ": ")
		b.wantEvents("refused "+reason, "buried "+reason)
	})
}

// A message that cannot be run and says which task it was fails that task, so that nobody
// waits for it: with the exceptions that a Python worker only logs.
func TestRefusedTasksFail(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Consumer, b.cfg.Concurrency = nil, 1
		b.noteRuns(tasks.AcksLate(true))
		b.start()
		const chord = `{"chord": {"task": "app.note", "args": ["body"], "kwargs": {}, "options": {"task_id": "body"}, ` +
			`"subtask_type": null, "immutable": false, "chord_size": 1}}`
		for i, c := range []struct{ headers, contentType, body, want string }{
			{`"eta": "soon"`, "json", `[[], {}, {}]`, `"InvalidTaskError", "exc_message": ["invalid ETA value 'soon': invalid number \"soon\""], "exc_module": "celery.exceptions"`},
			{`"eta": null`, "json", `[[], {}`, `"DecodeError", "exc_message": ["cannot decode body: Expecting ',' delimiter: line 1 column 8 (char 7)"], "exc_module": "kombu.exceptions"`},
			{`"eta": null`, "json", `[null, {}, {}]`, `"TypeError", "exc_message": ["app.note() argument after * must be an iterable, not NoneType"], "exc_module": "builtins"`},
			{`"eta": null`, "x-yaml", `[[], {}, {}]`, `"ContentDisallowed", "exc_message": ["Refusing to deserialize untrusted content of type yaml (application/x-yaml)"], "exc_module": "kombu.exceptions"`},
			{`"group": "g", "timelimit": [1]`, "json", `[[], {}, ` + chord + `]`, `"InvalidTaskError", "exc_message": ["invalid timelimit value [1]: expected two values"], "exc_module": "celery.exceptions"`},
			{`"ignore_result": true`, "json", `[]`, ""},
		} {
			id := fmt.Sprint("refused ", i)
			raw := fmt.Sprintf(`{"body": %q, "headers": {"task": "app.note", "id": %q, %s}, "content-type": "application/%s", "content-encoding": "utf-8", `+
				`"properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "celery"}}}`, c.body, id, c.headers, c.contentType)
			b.publish(raw)
			b.wantQueued(0, 0)
			if c.want != "" {
				c.want = `FAILURE {"exc_type": ` + c.want + "}"
			}
			b.wantResult(id, c.want)
			if letters := b.broker.DeadLetters(); len(letters) != i+1 {
				t.Errorf("%s: %d dead letters", c.body, len(letters))
			}
		}
		if got := b.result("body"); !strings.Contains(got, "ChordError") || !strings.Contains(got, "Dependency refused 4 raised InvalidTaskError") {
			t.Errorf("the body of the chord: %s", got)
		}
	})
}

// A message that kills its workers is buried after so many; what they held besides runs.
func TestPoisonedMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const most = 3
		ran := b.noteRuns(tasks.AcksLate(true))
		deaths := 0
		var mortal *mortal
		b.reg.Register("app.kill", func() { deaths++; mortal.die(); time.Sleep(time.Minute) }, tasks.AcksLate(true))
		b.cfg.MaxRedeliveries, b.cfg.Concurrency = most, 1
		poison := canvas.Sig("app.kill").Set(canvas.TaskID("poison"))
		body := b.send(canvas.Chord([]canvas.Signature{poison}, note("body", 0)))
		for i := range 5 {
			b.send(note(fmt.Sprint(i), 0))
		}
		for died := true; died; {
			before := deaths
			mortal = newMortal(b)
			b.cfg.Consumer = mortal
			b.start()
			b.sleep(time.Second)
			if died = deaths > before; died {
				b.w.Abort()
				<-b.ended
				b.sleep(time.Hour)
			}
		}
		if deaths != 1+most {
			t.Errorf("%d workers died, want %d", deaths, 1+most)
		}
		b.wantLetters("redelivered: given back 4 times because a worker died")
		if l := b.broker.DeadLetters(); len(l) == 1 && l[0].Redeliveries != most+1 {
			t.Errorf("the dead letter says %d redeliveries", l[0].Redeliveries)
		}
		b.wantResult("poison", `FAILURE {"exc_type": "WorkerLostError", "exc_message": `+
			`["Worker exited prematurely: given back 4 times because a worker died"], "exc_module": "billiard.exceptions"}`)
		if got := b.result(body); !strings.Contains(got, "ChordError") || !strings.Contains(got, "Dependency poison raised WorkerLostError") {
			t.Errorf("the result of its chord is %s", got)
		}
		for i := range 5 {
			if n := len(ran.at[fmt.Sprint(i)]); n != 1 {
				t.Errorf("task %d ran %d times", i, n)
			}
		}
		b.wantQueued(0, 0)
	})
}

// mortal is the consumer of a worker that may die: then what it holds goes back, and
// nothing it says is heard any more.
type mortal struct {
	broker.Consumer
	broker.Starter
	broker.Mover
	b    *bench
	mu   sync.Mutex
	tags []string
	dead bool
}

func newMortal(b *bench) *mortal {
	c := b.broker.Consumer(queue)
	return &mortal{Consumer: c, Starter: c.(broker.Starter), Mover: c.(broker.Mover), b: b}
}

func (m *mortal) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := m.Consumer.Claim(ctx, limit)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range ds {
		m.tags = append(m.tags, d.Tag)
	}
	return ds, err
}

func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	_ = m.Close() // no more claims
	for _, tag := range slices.Backward(m.tags) {
		m.b.broker.Expire(tag)
	}
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) Ack(ctx context.Context, tags ...string) ([]string, error) {
	if m.isDead() {
		return nil, nil
	}
	return m.Consumer.Ack(ctx, tags...)
}

func (m *mortal) Requeue(ctx context.Context, place broker.Place, ds ...broker.Delivery) error {
	if m.isDead() {
		return nil
	}
	return m.Consumer.Requeue(ctx, place, ds...)
}

// Messages that others shall have go back without a busy loop, however many there are,
// and known tasks behind them have their turn.
func TestLeaveUnknown(t *testing.T) {
	for _, tt := range []struct{ messages, perSecond, wait int }{{1, 1, 1}, {100, 100, 1}, {20_000, 2600, 15}} {
		t.Run(fmt.Sprint(tt.messages), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				ran := b.noteRuns()
				spy := &spy{Consumer: b.broker.Consumer(queue)}
				b.cfg.Consumer = spy
				b.cfg.Unknown = tasks.UnknownPolicy{Action: tasks.UnknownLeave}
				for i := range tt.messages {
					b.publish(unknownMessage(i))
				}
				b.start()
				const seconds = 20
				b.sleep(seconds * time.Second)
				if _, n, _ := spy.claimed(); n/seconds > tt.perSecond {
					t.Errorf("%d messages were claimed a second, want at most %d", n/seconds, tt.perSecond)
				}
				if n := b.broker.Leased(); n > 1600 {
					t.Errorf("%d messages are kept", n)
				}
				ran.start = time.Now()
				b.send(note("behind", 0))
				b.sleep(time.Duration(tt.wait) * time.Second)
				ran.wantOnce(t, "behind", 0, time.Duration(tt.wait)*time.Second)
				if n := b.broker.Leased() + b.broker.Len(queue); n != tt.messages {
					t.Errorf("%d messages of %d are left", n, tt.messages)
				}
				if n := b.broker.Parked(); n != 0 {
					t.Errorf("%d messages are out of the reach of others", n)
				}
			})
		})
	}
}

func unknownMessage(i int) string {
	return fmt.Sprintf(`{"body": "W1tdLCB7fSwge31d", "headers": {"task": "no.such", "id": "%[1]d"}, "content-type": "application/json", `+
		`"content-encoding": "utf-8", "properties": {"delivery_tag": "t%[1]d", "delivery_info": {"exchange": "", "routing_key": "celery"}, `+
		`"body_encoding": "base64"}}`, i)
}

// A message is left at once when it is met for the first time.
func TestLeftForAnotherWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Unknown = tasks.UnknownPolicy{Action: tasks.UnknownLeave}
		b.start()
		b.publish(unknownMessage(1))
		b.wantEvents("left") // and kept when it came back
		b.wantQueued(0, 1)
		b.sleep(250 * time.Millisecond)
		b.wantEvents("left", "left")
		b.wantQueued(1, 0) // others have it for a moment
		b.sleep(10 * time.Millisecond)
		b.wantQueued(0, 1)
	})
}
