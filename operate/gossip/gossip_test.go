package gossip_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/operate/gossip"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func logger(to *logtest.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// neighbor is a worker that sends events and listens to those of others.
type neighbor struct {
	*gossip.Node
	name   string
	clock  worker.Clock
	log    logtest.Buffer
	called []string
	heard  atomic.Int64 // events of other workers and its own
	leave  func()       // says goodbye
	vanish func()       // without a word
}

// counting counts what a neighbor hears.
type counting struct {
	broker.Broadcaster
	heard *atomic.Int64
}

func (c counting) Subscribe(ctx context.Context, s broker.Subscription) error {
	handle := s.Handle
	s.Handle = func(key string, message broker.Content) {
		c.heard.Add(1)
		handle(key, message)
	}
	return c.Broadcaster.Subscribe(ctx, s)
}

// hood is workers on one broker.
type hood struct {
	t      *testing.T
	broker membroker.Broker
	ended  sync.WaitGroup
	all    []*neighbor
}

func inHood(t *testing.T, test func(h *hood)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hood{t: t}
		test(h)
		for _, n := range h.all {
			n.leave()
		}
		h.ended.Wait()
	})
}

type idle struct{}

func (idle) Stats() worker.Stats               { return worker.Stats{} }
func (idle) Totals() (map[string]int64, int64) { return nil, 0 }

func (h *hood) enter(name string) *neighbor {
	h.t.Helper()
	n := &neighbor{name: name}
	dispatcher, err := events.New(events.Config{
		Broadcaster: h.broker.Broadcaster(), Hostname: name, Clock: &n.clock, Logger: logger(&n.log),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	n.Node, err = gossip.New(gossip.Config{
		Broadcaster: counting{h.broker.Broadcaster(), &n.heard}, Hostname: name, Clock: &n.clock, Voice: dispatcher, Logger: logger(&n.log),
		Call: func(_ context.Context, signature []byte) error {
			n.called = append(n.called, string(signature))
			return nil
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.t.Context())
	drained := make(chan struct{})
	drain := sync.OnceFunc(func() { close(drained) })
	n.vanish = func() { drain(); stop(); synctest.Wait() }
	n.leave = func() { stop(); synctest.Wait(); drain() }
	h.ended.Go(func() {
		if err := n.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	synctest.Wait()
	h.ended.Go(func() { dispatcher.Run(ctx, idle{}, drained) })
	h.all = append(h.all, n)
	h.sleep(100 * time.Millisecond)
	return n
}

func (h *hood) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (h *hood) want(n *neighbor, peers string, logged ...string) {
	h.t.Helper()
	if got := strings.Join(n.Peers(), " "); got != peers {
		h.t.Errorf("%s knows %q, want %q", n.name, got, peers)
	}
	for _, text := range logged {
		if n.log.Count(text) != 1 {
			h.t.Errorf("%s did not say once %q:\n%s", n.name, text, n.log.String())
		}
	}
}

func TestPeers(t *testing.T) {
	inHood(t, func(h *hood) {
		a := h.enter("a@h")
		h.want(a, "")
		b := h.enter("b@h")
		h.want(a, "b@h", `level=DEBUG msg="b@h joined the party"`)
		h.sleep(3 * time.Second)
		h.want(b, "a@h", `level=DEBUG msg="a@h joined the party"`)
		c := h.enter("c@h")
		h.sleep(3 * time.Second)
		h.want(c, "a@h b@h")
		b.leave()
		h.sleep(100 * time.Millisecond)
		h.want(a, "c@h", `level=DEBUG msg="b@h left"`)
		c.vanish()
		h.sleep(10 * time.Second)
		h.want(a, "", `level=INFO msg="missed heartbeat from c@h"`)
		h.sleep(10 * time.Second)
		h.want(a, "", `level=INFO msg="missed heartbeat from c@h"`)
		if a.log.Count("level=ERROR") > 0 {
			t.Error(a.log.String())
		}
	})
}

func TestClocks(t *testing.T) {
	inHood(t, func(h *hood) {
		a, b := h.enter("a@h"), h.enter("b@h")
		b.clock.Adjust(1000)
		h.sleep(3 * time.Second)
		if got := a.clock.Value(); got < 1000 {
			t.Errorf("the clock is %d after one of 1000 was heard", got)
		}
		before := a.clock.Value()
		h.say("worker.heartbeat", `{"type": "worker-heartbeat", "hostname": "evil@h", "clock": 1e300}`)
		h.say("worker.heartbeat", `{"type": "worker-heartbeat", "hostname": "evil@h", "clock": 9223372036854775807}`)
		if got := a.clock.Value(); got < before || got > before+10 {
			t.Errorf("the clock is %d after %d and nonsense", got, before)
		}
	})
}

// say broadcasts the body of an event.
func (h *hood) say(routingKey, body string) {
	h.t.Helper()
	message := protocol.Message{Body: []byte(body), ContentEncoding: "utf-8", ContentType: "application/json"}
	err := h.broker.Broadcaster().Broadcast(h.t.Context(), broker.Publication{Exchange: "celeryev", RoutingKey: routingKey, Message: message})
	if err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

func TestBadEvents(t *testing.T) {
	inHood(t, func(h *hood) {
		a := h.enter("a@h")
		for _, body := range []string{
			`nonsense`, `[]`, `[1]`, `{}`, `{"type": "worker-online"}`, `{"type": 1, "hostname": {}}`, `{"type": "worker-elect", "id": "x"}`,
			`{"type": "worker-elect-ack"}`, `{"type": "worker-heartbeat", "hostname": "b@h", "freq": "x", "clock": []}`,
		} {
			h.say("worker.heartbeat", body)
		}
		h.say("worker.heartbeat", `nonsense`)
		h.say("task.multi", `nonsense, but not for us`)
		h.want(a, "b@h", "election request missing field", "level=ERROR msg=\"gossip: cannot decode event: not a JSON object\\n")
	})
}

func TestElection(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		inHood(t, func(h *hood) {
			for i := range size {
				h.enter(fmt.Sprintf("%c@h", 'a'+i))
			}
			h.sleep(3 * time.Second)
			for _, n := range h.all {
				n.Election("id", "task", []byte(`{"task": "t"}`))
			}
			h.sleep(time.Second)
			won, heard := 0, 0
			for _, n := range h.all {
				won += len(n.called)
				heard += n.log.Count("elected for 'id'")
				if n.log.Count("I won the election 'id'") != len(n.called) {
					t.Errorf("%s called %q:\n%s", n.name, n.called, n.log.String())
				}
			}
			if won != 1 || heard != size-1 {
				t.Errorf("of %d, %d won and %d heard of it", size, won, heard)
			}
			h.all[0].Election("another", "nosuch", nil)
			h.sleep(time.Second)
			if size == 1 {
				h.want(h.all[0], "", "Unknown election topic 'nosuch'")
			}
		})
	}
}

// TestElectionWithMutes: a worker that lives and does not stand holds up nobody for long.
func TestElectionWithMutes(t *testing.T) {
	inHood(t, func(h *hood) {
		a, b := h.enter("a@h"), h.enter("b@h")
		h.sleep(3 * time.Second)
		h.say("worker.heartbeat", `{"type": "worker-heartbeat", "hostname": "mute@h", "clock": 1, "freq": 60}`)
		a.Election("id", "task", nil) // b is not asked, and stands all the same
		h.sleep(3 * time.Second)
		if len(a.called)+len(b.called) != 1 || a.log.Count("'id'") != 1 || b.log.Count("'id'") != 1 {
			t.Errorf("a:\n%s\nb:\n%s", a.log.String(), b.log.String())
		}
	})
}

// mingler is a worker that answers to remote control.
func (h *hood) mingler(name string) *worker.Worker {
	h.t.Helper()
	w, err := worker.New(worker.Config{
		Registry: tasks.NewRegistry(), Consumer: h.broker.Consumer("q"), Hostname: name, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	mailbox, err := control.New(control.Config{
		Worker: w, Broker: h.broker.Broadcaster().(control.Broker), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.t.Context())
	h.all = append(h.all, &neighbor{leave: stop})
	h.ended.Go(func() { _ = mailbox.Run(ctx) })
	<-mailbox.Listening()
	return w
}

func TestMingle(t *testing.T) {
	inHood(t, func(h *hood) {
		ask := &control.Client{Broadcaster: h.broker.Broadcaster(), Asker: h.broker.Broadcaster().(broker.Asker)}
		mingle := func(w *worker.Worker, lines ...string) {
			t.Helper()
			var log logtest.Buffer
			if err := gossip.Mingle(h.t.Context(), w, ask, logger(&log)); err != nil {
				t.Error(err)
			}
			for _, line := range lines {
				if log.Count(line) != 1 {
					t.Errorf("did not say once %q:\n%s", line, log.String())
				}
			}
		}
		a := h.mingler("a@h")
		a.Operations().MergeRevoked("1", "2")
		a.Clock().Adjust(100)
		mingle(a, "mingle: searching for neighbors", "mingle: all alone")
		b := h.mingler("b@h")
		b.Operations().MergeRevoked("3")
		mingle(b, "mingle: sync with 1 nodes", "mingle: processing reply from a@h", "mingle: sync complete")
		for _, w := range []*worker.Worker{a, b} {
			if got := len(w.Operations().Revoked()); got != 3 || w.Clock().Value() < 100 {
				t.Errorf("%s has revoked %v, and its clock is %d", w.Hostname(), w.Operations().Revoked(), w.Clock().Value())
			}
		}
		h.mingler("c@h").Operations().MergeRevoked("4")
		mingle(a, "mingle: sync with 2 nodes")
		if got := a.Operations().Revoked(); len(got) != 4 {
			t.Errorf("revoked: %v", got)
		}
	})
}

func TestNew(t *testing.T) {
	if _, err := gossip.New(gossip.Config{}); err == nil {
		t.Error("no error without a broadcaster")
	}
}
