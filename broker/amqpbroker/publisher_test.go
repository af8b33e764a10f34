package amqpbroker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol"
)

func openPublisher(t *testing.T, cfg amqpbroker.PublisherConfig) *amqpbroker.Publisher {
	t.Helper()
	p, err := amqpbroker.OpenPublisher(patient(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func to(queue, id string) broker.Publication {
	return broker.Publication{RoutingKey: queue, Message: brokertest.Message(id, 0)}
}

// drain returns the correlation ids of what is in a queue.
func drain(t *testing.T, ch *amqp.Channel, queue string) (ids []string) {
	t.Helper()
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return ids
		}
		ids = append(ids, d.CorrelationId)
	}
}

// TestQueuesAreDeclaredBeforePublishing compares with what Celery's sender declares.
func TestQueuesAreDeclaredBeforePublishing(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	prio := broker.Queue{Name: "prio", Declaration: broker.Declaration{Arguments: map[string]any{"x-max-priority": 10}}}
	p := openPublisher(t, amqpbroker.PublisherConfig{
		URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler),
		Queue: func(name string) (broker.Queue, error) {
			if name == "prio" {
				return prio, nil
			}
			return broker.Queue{Name: name}, nil
		},
		Bound: []broker.Queue{{Name: "tq", Exchange: "tasks", ExchangeType: broker.Topic, RoutingKey: "task.#"}},
	})
	by := to("task.#", "3")
	by.Exchange = "tasks"
	if err := p.Publish(patient(t), to("plain", "1"), to("prio", "2"), by); err != nil {
		t.Fatal(err)
	}
	want := []rabbittest.Binding{
		{Source: "plain", Destination: "plain", Kind: "queue", Key: "plain"},
		{Source: "prio", Destination: "prio", Kind: "queue", Key: "prio"},
		{Source: "tasks", Destination: "tq", Kind: "queue", Key: "task.#"},
	}
	got := map[rabbittest.Binding]bool{}
	for _, b := range vhost.Bindings(t) {
		got[b] = true
	}
	for _, b := range want {
		if !got[b] {
			t.Errorf("no binding %v", b)
		}
	}
	queues := vhost.Queues(t)
	if len(got) != len(want) || len(queues) != 3 || !queues["plain"].Durable || queues["prio"].Arguments["x-max-priority"] == nil || queues["tq"].Ready != 1 {
		t.Errorf("bindings %v, queues %v", got, queues)
	}
}

// TestPriorityIsAsInCelery tells a priority of 0 from none, for Python and for us.
func TestPriorityIsAsInCelery(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)})
	messages := []broker.Publication{to("q", "0"), to("q", "none"), to("q", "7")}
	messages[1].Message.Properties.NoPriority = true
	messages[2].Message.Properties.Priority = 7
	if err := p.Publish(patient(t), messages...); err != nil {
		t.Fatal(err)
	}
	c, err := amqpbroker.Open(patient(t), amqpbroker.Config{URL: vhost.URL(), Queues: broker.Named("q"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := 0; i < len(messages); {
		ds, err := c.Claim(patient(t), 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			var r protocol.Received
			d.Read(&r)
			got, err := r.Message()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(messages[i].Message, got); diff != "" {
				t.Errorf("message %d (-want +got):\n%s", i, diff)
			}
			i++
		}
	}
}

// TestRefusedMessagesDoNotDisturbOthers publishes at the same time what cannot be routed, what the broker
// closes the channel for, and what is fine.
func TestRefusedMessagesDoNotDisturbOthers(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	ch := rabbittest.Channel(t, vhost.URL())
	if err := ch.ExchangeDeclare("internal", broker.Direct, true, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("empty", broker.Direct, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5 {
				id := func(n int) string { return fmt.Sprintf("%d.%d.%d", g, i, n) }
				missing, internal, empty := to("k", id(1)), to("k", id(3)), to("k", id(4))
				missing.Exchange, internal.Exchange, empty.Exchange = "missing", "internal", "empty"
				err := p.Publish(patient(t), to("fine", id(0)), missing, to("fine", id(2)), internal, empty, to("fine", id(5)))
				refused := broker.Refusals(err)
				if len(refused) != 3 || refused[0].Index != 1 || refused[1].Index != 3 || refused[2].Index != 4 || !refused[0].OthersSent ||
					!errors.Is(refused[0], broker.ErrUnroutable) || !strings.Contains(refused[1].Error(), "ACCESS_REFUSED") || !errors.Is(refused[2], broker.ErrUnroutable) {
					t.Errorf("Publish: %v", err)
				}
			}
		})
	}
	wg.Wait()
	got := map[string]int{}
	for _, id := range drain(t, ch, "fine") {
		got[id]++
	}
	if len(got) != 4*5*3 {
		t.Errorf("%d messages arrived, want %d: %v", len(got), 4*5*3, got)
	}
}

// TestDeletedQueueIsDeclaredAgain publishes to a queue that somebody has deleted meanwhile: a Python sender
// loses the message.
func TestDeletedQueueIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p, ch := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)}), rabbittest.Channel(t, vhost.URL())
	for i := range 3 {
		if err := p.Publish(patient(t), to("q", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if got := drain(t, ch, "q"); len(got) != 1 {
			t.Errorf("%v arrived", got)
		}
		if _, err := ch.QueueDelete("q", false, false, false); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOtherArgumentsAreNoObstacle publishes to a queue that was declared with other arguments.
func TestOtherArgumentsAreNoObstacle(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	ch := rabbittest.Channel(t, vhost.URL())
	if _, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-max-priority": int32(3)}); err != nil {
		t.Fatal(err)
	}
	var log logtest.Buffer
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		if err := p.Publish(patient(t), to("q", "1")); err != nil {
			t.Fatal(err)
		}
	}
	if got := drain(t, ch, "q"); len(got) != 2 {
		t.Errorf("%v arrived", got)
	}
	if n := log.Count("They are published nevertheless"); n != 1 || log.Count("x-max-priority") == 0 {
		t.Errorf("it was logged %d times which argument differs", n)
	}
}

// TestNothingIsLostWhenConnectionsAre cuts the connection again and again while many publish.
func TestNothingIsLostWhenConnectionsAre(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p, ch := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)}), rabbittest.Channel(t, vhost.URLFor("guest", "guest"))
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	const publishers, each = 4, 40
	published := make(chan struct{}, publishers*each)
	var wg sync.WaitGroup
	for g := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := p.Publish(patient(t), to("q", fmt.Sprintf("%d.%d.a", g, i)), to("q", fmt.Sprintf("%d.%d.b", g, i))); err != nil {
					t.Errorf("Publish: %v", err)
				}
				published <- struct{}{}
			}
		})
	}
	for range 3 {
		for range publishers * each / 4 {
			<-published
		}
		vhost.CloseConnections(t)
	}
	wg.Wait()
	got := map[string]bool{}
	for _, id := range drain(t, rabbittest.Channel(t, vhost.URL()), "q") {
		got[id] = true
	}
	if len(got) != 2*publishers*each {
		t.Errorf("%d of %d messages arrived", len(got), 2*publishers*each)
	}
	if p.Reconnects() == 0 {
		t.Error("no connection was lost")
	}
}

// TestBlockedConnectionWaits publishes while memory is short.
func TestBlockedConnectionWaits(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	vhost := server.VHost(t)
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)})
	publish := func(ctx context.Context) error { return p.Publish(ctx, to("q", "1")) }
	if err := publish(patient(t)); err != nil {
		t.Fatal(err)
	}
	server.Alarm(t)
	for blocked := false; !blocked; _, blocked = p.Blocked() { // the broker says so at the first message
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := publish(short); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := publish(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "low on memory") {
		t.Errorf("Publish: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- publish(patient(t)) }()
	server.Calm(t)
	if err := <-done; err != nil {
		t.Errorf("Publish: %v", err)
	}
	if reason, blocked := p.Blocked(); blocked {
		t.Errorf("still blocked: %s", reason)
	}
}

// TestLockedMailbox listens at a queue that belongs to another connection, until that has gone.
func TestLockedMailbox(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	var log logtest.Buffer
	first, second := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)}), openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	subscribe := func(p *amqpbroker.Publisher) <-chan struct{} {
		heard := make(chan struct{}, 1)
		go func() {
			_ = p.Subscribe(context.Background(), broker.Subscription{
				Exchange: "celery.pidbox", Queue: "w@h.celery.pidbox", Handle: func(string, broker.Content) {},
				OnState: func(subscribed bool, err error) {
					if subscribed {
						heard <- struct{}{}
					}
				},
			})
		}()
		return heard
	}
	<-subscribe(first)
	heard := subscribe(second)
	for log.Count("A node named w@h is already using this process mailbox") == 0 {
		time.Sleep(time.Millisecond)
	}
	if len(heard) > 0 {
		t.Error("both have it")
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-heard:
	case <-time.After(time.Minute):
		t.Error("it is never heard")
	}
}

// A lost connection, channel or queue that is soon there again is not told to who listens.
func TestSoonHeardAgain(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: vhost.URL(), Logger: slog.New(slog.DiscardHandler)})
	states := make(chan error, 100)
	go func() {
		_ = p.Subscribe(t.Context(), broker.Subscription{
			Exchange: "celery.pidbox", Queue: "w@h.celery.pidbox", Handle: func(string, broker.Content) {},
			OnState: func(_ bool, err error) { states <- err },
		})
	}()
	if err := <-states; err != nil {
		t.Fatal(err)
	}
	for _, lose := range []func(){
		func() { vhost.CloseConnections(t) }, func() { vhost.CloseChannels(t) }, func() { vhost.DeleteQueue(t, "w@h.celery.pidbox") }, func() { vhost.CloseConnections(t) },
	} {
		began := time.Now()
		lose()
		switch err := <-states; {
		case err == nil: // it is heard again
		case time.Since(began) < 2*time.Second:
			t.Fatalf("after %v: %v", time.Since(began), err)
		default: // the machine is busy
			<-states
		}
	}
}

// TestClosesWithoutAnAnswer: what is confirmed was sent, also if the broker does not answer any more when its connection is closed.
func TestClosesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mute atomic.Bool
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", vhost.Server().Addr())
				if err != nil {
					return
				}
				defer out.Close()
				go io.Copy(muted{in, &mute}, out)
				_, _ = io.Copy(out, in)
			}()
		}
	}()
	url := vhost.URLAt(l.Addr().String())
	p, err := amqpbroker.OpenPublisher(patient(t), amqpbroker.PublisherConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	m, err := amqpbroker.OpenManagement(patient(t), amqpbroker.ManagementConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(patient(t), to("celery", "1")); err != nil {
		t.Fatal(err)
	}
	mute.Store(true)
	for name, c := range map[string]io.Closer{"publisher": p, "management": m} {
		begun := time.Now()
		if err := c.Close(); err != nil || time.Since(begun) > 30*time.Second {
			t.Errorf("%s: %v, after %v", name, err, time.Since(begun))
		}
	}
}

// muted throws away what is written while it is mute.
type muted struct {
	io.Writer
	mute *atomic.Bool
}

func (m muted) Write(b []byte) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.Writer.Write(b)
}
