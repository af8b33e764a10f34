package events_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

// wire takes the place of a broker and keeps what is broadcast.
type wire struct {
	broker.Broadcaster
	mu   sync.Mutex
	sent []broker.Publication
	gave []given
	err  error // of the next calls
	n    int   // calls since fail
}

// given is a body that was to be sent, and what it was then: it may be on its way for longer.
type given struct {
	body []byte
	was  string
}

func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.n = err, 0
}

func (w *wire) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func (w *wire) Broadcast(_ context.Context, messages ...broker.Publication) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	for _, m := range messages {
		w.gave = append(w.gave, given{m.Message.Body, string(m.Message.Body)})
	}
	if w.err == nil {
		w.sent = append(w.sent, messages...)
	}
	return w.err
}

// wantUnchanged checks that nothing was changed that may be on its way.
func (w *wire) wantUnchanged(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.gave {
		if string(g.body) != g.was {
			t.Errorf("%.200s… has become %.200s…", g.was, g.body)
		}
	}
}

// take returns what has been sent as "routing key: body".
func (w *wire) take(t *testing.T) (list []string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.sent {
		list = append(list, m.RoutingKey+": "+body(t, m))
	}
	w.sent = nil
	return list
}

func body(t *testing.T, m broker.Publication) string {
	t.Helper()
	return string(m.Message.Body)
}

// load is a worker as heartbeats see it.
type load struct{}

func (load) Stats() worker.Stats               { return worker.Stats{Active: 1} }
func (load) Totals() (map[string]int64, int64) { return nil, 29 }

// bench is a dispatcher that runs, in virtual time.
type bench struct {
	*events.Dispatcher
	wire  wire
	log   strings.Builder
	stop  func()
	drain func()
	ended chan struct{}
}

func inBubble(t *testing.T, cfg events.Config, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		drained := make(chan struct{})
		b := &bench{drain: sync.OnceFunc(func() { close(drained) }), ended: make(chan struct{})}
		cfg := cfg
		cfg.Broadcaster, cfg.Hostname, cfg.Clock, cfg.Version = &b.wire, "w1@vm", new(worker.Clock), "5.6.2"
		cfg.Logger = slog.New(slog.NewTextHandler(&b.log, nil))
		var err error
		if b.Dispatcher, err = events.New(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		b.stop = cancel
		go func() {
			defer close(b.ended)
			b.Run(ctx, load{}, drained)
		}()
		b.sleep(10 * time.Millisecond)
		test(t, b)
		cancel()
		b.drain()
		<-b.ended
	})
}

func (b *bench) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

// kinds returns the types of the events that were sent, message by message.
func (b *bench) kinds(t *testing.T) string {
	t.Helper()
	var list []string
	for _, sent := range b.wire.take(t) {
		key, _, _ := strings.Cut(sent, ": ")
		var kinds []string
		for _, match := range regexp.MustCompile(`"type": "([a-z-]+)"`).FindAllStringSubmatch(sent, -1) {
			kinds = append(kinds, match[1])
		}
		list = append(list, key+"="+strings.Join(kinds, ","))
	}
	return strings.Join(list, " ")
}

func (b *bench) want(t *testing.T, want string) {
	t.Helper()
	if got := b.kinds(t); got != want {
		t.Errorf("sent  %s\nwant  %s", got, want)
	}
}

func task(id string) *protocol.Task {
	return &protocol.Task{
		Name: "tapp.add", ID: id, RootID: id, Args: []byte(`[2, 3]`), Kwargs: []byte(`{}`), ArgsRepr: "(2, 3)", KwargsRepr: "{}",
		RoutingKey: "celery",
	}
}

func TestEnvelope(t *testing.T) {
	inBubble(t, events.Config{Exchange: "ev", Heartbeat: -1}, func(t *testing.T, b *bench) {
		b.AckElection("x")
		b.sleep(10 * time.Millisecond)
		m := b.wire.sent[0]
		if m.Exchange != "ev" || m.ExchangeType != broker.Fanout || m.RoutingKey != "worker.elect.ack" {
			t.Errorf("published to %+v", m)
		}
		id := regexp.MustCompile(`"delivery_tag": "[0-9a-f-]{36}"`)
		want := `{"body": "` + base64.StdEncoding.EncodeToString([]byte(body(t, m))) + `", "content-encoding": "utf-8", ` +
			`"content-type": "application/json", "headers": {"hostname": "w1@vm"}, "properties": {"delivery_mode": 1, ` +
			`"delivery_info": {"exchange": "ev", "routing_key": "worker.elect.ack"}, "priority": 0, "body_encoding": "base64", TAG}}`
		if diff := cmp.Diff(want, id.ReplaceAllString(string(envelopetest.Encode(m.Message, m.Exchange, m.RoutingKey, protocol.NewID())), "TAG")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	inBubble(t, events.Config{}, func(t *testing.T, b *bench) {
		b.want(t, "worker.online=worker-online")
		b.sleep(4 * time.Second)
		b.want(t, "worker.heartbeat=worker-heartbeat worker.heartbeat=worker-heartbeat")
		b.Heartbeat()
		b.sleep(10 * time.Millisecond)
		if got := b.wire.take(t); len(got) != 1 || !strings.Contains(got[0], `"freq": 5, "sw_ident": "apium"`) || strings.Contains(got[0], "loadavg") {
			t.Errorf("asked for a heartbeat, got %q", got)
		}
		b.stop()
		b.sleep(10 * time.Second)
		b.want(t, "worker.offline=worker-offline")
	})
	inBubble(t, events.Config{Heartbeat: 10 * time.Second}, func(t *testing.T, b *bench) {
		b.sleep(20 * time.Second)
		b.want(t, "worker.online=worker-online worker.heartbeat=worker-heartbeat worker.heartbeat=worker-heartbeat")
	})
	inBubble(t, events.Config{Heartbeat: -1}, func(t *testing.T, b *bench) {
		b.sleep(time.Minute)
		b.stop()
		b.sleep(time.Minute)
		b.want(t, "")
	})
}

func TestSwitchedOnAndOff(t *testing.T) {
	started := worker.Event{Kind: worker.Started, Task: task("a")}
	try := func(t *testing.T, b *bench, change func() bool, changed bool, want string) {
		t.Helper()
		if got := change(); got != changed {
			t.Errorf("changed is %v, want %v", got, changed)
		}
		b.Observe(started)
		b.sleep(10 * time.Millisecond)
		b.want(t, want)
	}
	const sent = "task.multi=task-started"
	inBubble(t, events.Config{Heartbeat: -1}, func(t *testing.T, b *bench) {
		try(t, b, func() bool { return true }, true, "")
		try(t, b, b.EnableTasks, true, sent)
		try(t, b, b.EnableTasks, false, sent)
		try(t, b, b.DisableTasks, true, "")
		try(t, b, b.DisableTasks, false, "")
	})
	inBubble(t, events.Config{Heartbeat: -1, TaskEvents: true}, func(t *testing.T, b *bench) {
		try(t, b, b.DisableTasks, false, sent)
		try(t, b, b.EnableTasks, false, sent)
	})
}

func TestNoEvent(t *testing.T) {
	inBubble(t, events.Config{Heartbeat: -1, TaskEvents: true}, func(t *testing.T, b *bench) {
		b.Observe(worker.Event{Kind: worker.Started, Task: task("a"), Silent: true})
		b.Observe(worker.Event{Kind: worker.Refused})
		for _, kind := range []worker.Kind{worker.Refused, worker.LeaseLost, worker.Ignored, worker.Forwarded, worker.Left, worker.Buried} {
			b.Observe(worker.Event{Kind: kind, Task: task("a")})
		}
		b.sleep(time.Second)
		b.want(t, "")
	})
}

// TestBatches: events of tasks share a message until something else comes between, and
// clocks go up in the order of sending.
func TestBatches(t *testing.T) {
	inBubble(t, events.Config{Heartbeat: -1, TaskEvents: true}, func(t *testing.T, b *bench) {
		for i := range 101 {
			b.Observe(worker.Event{Kind: worker.Started, Task: task(fmt.Sprint(i))})
		}
		b.AckElection("x")
		b.TaskSent(task("sent"))
		b.Observe(worker.Event{Kind: worker.Succeeded, Task: task("a")})
		b.sleep(10 * time.Millisecond)
		sent := b.wire.take(t)
		if len(sent) != 5 {
			t.Errorf("%d messages, want 5", len(sent))
		}
		last := 0
		for _, match := range regexp.MustCompile(`"clock": (\d+)`).FindAllStringSubmatch(strings.Join(sent, ""), -1) {
			var clock int
			fmt.Sscan(match[1], &clock)
			if clock != last+1 {
				t.Errorf("clock %d after %d", clock, last)
			}
			last = clock
		}
		if last != 104 {
			t.Errorf("%d events, want 104", last)
		}
		var list []map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(sent[0], "task.multi: ")), &list); err != nil || len(list) != 100 {
			t.Errorf("%d events in the first message, want 100: %v", len(list), err)
		}
	})
}

func TestDraining(t *testing.T) {
	inBubble(t, events.Config{TaskEvents: true}, func(t *testing.T, b *bench) {
		b.stop()
		b.sleep(time.Second)
		b.want(t, "worker.online=worker-online worker.offline=worker-offline")
		b.Observe(worker.Event{Kind: worker.Succeeded, Task: task("a")})
		b.sleep(time.Second)
		b.want(t, "task.multi=task-succeeded")
		b.Observe(worker.Event{Kind: worker.Failed, Task: task("b")})
		synctest.Wait() // not sent yet: it is the last call that does it
		b.drain()
		<-b.ended
		b.want(t, "task.multi=task-failed")
	})
}

// TestOutage: what happens while the broker is away is sent afterwards, in order, with
// its own time; heartbeats are not.
func TestOutage(t *testing.T) {
	inBubble(t, events.Config{TaskEvents: true}, func(t *testing.T, b *bench) {
		b.want(t, "worker.online=worker-online")
		b.wire.fail(errors.New("connection refused"))
		for i := range 150 {
			b.Observe(worker.Event{Kind: worker.Started, Task: task(fmt.Sprint(i))})
		}
		b.sleep(time.Minute)
		b.Observe(worker.Event{Kind: worker.Succeeded, Task: task("a")})
		b.sleep(time.Minute)
		b.wire.fail(nil)
		b.sleep(1100 * time.Millisecond)
		sent := b.wire.take(t)
		if len(sent) != 3 || strings.Count(strings.Join(sent, ""), "task-started") != 150 ||
			!strings.Contains(sent[1], "task-succeeded") || !strings.HasPrefix(sent[2], "worker.online: ") {
			t.Errorf("after the outage: %q", sent)
		}
		if got := b.log.String(); strings.Count(got, "Cannot send events: connection refused") != 1 || strings.Count(got, "Events are sent again") != 1 {
			t.Errorf("log:\n%s", got)
		}
		if b.Dropped() != 0 {
			t.Errorf("%d events dropped", b.Dropped())
		}
		b.wire.wantUnchanged(t)
	})
}

// TestRefused: a broker that refuses events is asked again, ever more rarely, and what it
// does is logged once each.
func TestRefused(t *testing.T) {
	inBubble(t, events.Config{TaskEvents: true}, func(t *testing.T, b *bench) {
		b.want(t, "worker.online=worker-online")
		refusal := &broker.RefusedError{Err: errors.New("NOPERM")}
		b.wire.fail(refusal)
		b.sleep(10 * time.Minute)
		if tries := b.wire.calls(); tries < 10 || tries > 20 {
			t.Errorf("%d attempts in ten minutes", tries)
		}
		if got := b.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "Cannot send events") {
			t.Errorf("log:\n%s", got)
		}
		b.wire.fail(nil)
		b.sleep(time.Minute)
		if got := b.kinds(t); !strings.HasPrefix(got, "worker.online=worker-online worker.heartbeat=") {
			t.Errorf("afterwards %s", got)
		}
		if got := b.log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "Events are sent again") {
			t.Errorf("log:\n%s", got)
		}
	})
}

// TestBounded: events that find no room are dropped and counted, the others are kept.
func TestBounded(t *testing.T) {
	inBubble(t, events.Config{TaskEvents: true, Heartbeat: -1}, func(t *testing.T, b *bench) {
		b.wire.fail(errors.New("connection refused"))
		failed := worker.Event{Kind: worker.Failed, Task: task("a"), Registered: true, Traceback: strings.Repeat("x", 1<<20)}
		for range 20 {
			b.Observe(failed)
		}
		b.sleep(time.Second)
		if b.Dropped() != 4 {
			t.Errorf("%d events dropped, want 4", b.Dropped())
		}
		b.AckElection("x") // is no event of a task
		b.wire.fail(nil)
		b.sleep(2 * time.Second)
		if got := b.kinds(t); strings.Count(got, "task-failed") != 16 || !strings.HasSuffix(got, "worker.elect.ack=worker-elect-ack") {
			t.Errorf("sent %s", got)
		}
		b.Observe(failed)
		b.sleep(10 * time.Millisecond)
		b.want(t, "task.multi=task-failed")
		b.wire.fail(&broker.RefusedError{Err: errors.New("no")}) // will not work next time either
		b.Observe(failed)
		b.sleep(10 * time.Millisecond)
		b.wire.fail(nil)
		b.sleep(2 * time.Second)
		b.want(t, "")
		if n := strings.Count(b.log.String(), "Events are sent again"); n != 1 { // that nothing is left to send says nothing
			t.Errorf("said %d times that events are sent again", n)
		}
		if b.Dropped() != 5 {
			t.Errorf("%d events dropped, want 5", b.Dropped())
		}
	})
}

func TestProducer(t *testing.T) {
	sent := task("a")
	sent.Exchange, sent.RoutingKey = "news", "news.eu"
	m := events.NewProducer("").TaskSent(sent)
	if m.RoutingKey != "task.sent" || !strings.Contains(body(t, m), `"queue": null, "exchange": "news", "routing_key": "news.eu"`) {
		t.Errorf("%s: %s", m.RoutingKey, body(t, m))
	}
}

func TestWithoutTexts(t *testing.T) {
	m := events.NewProducer("").TaskSent(&protocol.Task{Name: "x", ID: "a"})
	if got := body(t, m); !strings.Contains(got, `"root_id": "a", "parent_id": null, "name": "x", "args": "()", "kwargs": "{}"`) {
		t.Error(got)
	}
	m = events.NewProducer("").TaskSent(&protocol.Task{Name: "x", ID: "a", Args: []byte("[1]"), Kwargs: []byte(`{"y": 2}`)})
	if got := body(t, m); !strings.Contains(got, `"args": "(1,)", "kwargs": "{'y': 2}"`) {
		t.Error(got)
	}
}

// TestReject: the repr of a Reject is not like that of other exceptions.
func TestReject(t *testing.T) {
	inBubble(t, events.Config{TaskEvents: true, Heartbeat: -1}, func(t *testing.T, b *bench) {
		for args, want := range map[string]string{
			`["it's so", false]`: `reject requeue=False: it's so`,
			`[null, true]`:       `reject requeue=True: None`,
			`["odd"]`:            `Reject('odd')`,
		} {
			exc := &protocol.Exception{Type: "Reject", Module: "celery.exceptions", Message: []byte(args)}
			b.Observe(worker.Event{Kind: worker.Failed, Task: task("a"), Raised: exc})
			b.sleep(10 * time.Millisecond)
			if got := b.wire.take(t); len(got) != 1 || !strings.Contains(got[0], `"exception": "`+want+`"`) {
				t.Errorf("%s: %q, want %s", args, got, want)
			}
		}
	})
}

func TestNew(t *testing.T) {
	if _, err := events.New(events.Config{}); err == nil {
		t.Error("no error without a broadcaster")
	}
}

// As in Celery, the texts of arguments and results are those that came with the message, and
// from whoever ran the task.
func TestTextsOfArgumentsAndResults(t *testing.T) {
	bare := &protocol.Task{Protocol: 2, Name: "tapp.add", ID: "a", Args: []byte(`[2]`), Kwargs: []byte(`{}`)}
	old := *bare
	old.Protocol = 1
	tests := []struct {
		event worker.Event
		want  string
	}{
		{worker.Event{Kind: worker.Received, Task: task("a")}, `"args": "(2, 3)", "kwargs": "{}"`},
		{worker.Event{Kind: worker.Received, Task: bare}, `"args": "", "kwargs": ""`},
		{worker.Event{Kind: worker.Received, Task: &old}, `"args": "(2,)", "kwargs": "{}"`},
		{worker.Event{Kind: worker.Succeeded, Task: bare, Result: []byte(`"x"`), Runtime: time.Second}, `"result": "'x'", "runtime": 1.0`},
		{worker.Event{Kind: worker.Succeeded, Task: bare, Repr: "<Order 7>", Runtime: time.Second}, `"result": "<Order 7>", "runtime": 1.0`},
		{worker.Event{Kind: worker.Succeeded, Task: bare}, `"result": null, "runtime": null`},
	}
	inBubble(t, events.Config{Heartbeat: -1, TaskEvents: true}, func(t *testing.T, b *bench) {
		b.sleep(10 * time.Millisecond)
		b.wire.take(t)
		for _, tt := range tests {
			b.Observe(tt.event)
			b.sleep(time.Second)
			if got := strings.Join(b.wire.take(t), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		}
	})
}
