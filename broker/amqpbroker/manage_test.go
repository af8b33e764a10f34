package amqpbroker

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/settings/connection"
)

// onChannel does something on a channel of a connection of its own, where publications are confirmed.
func onChannel(t *testing.T, url string, do func(ch *amqp.Channel) error) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err == nil {
		err = do(ch)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// send publishes messages to a queue, and waits until they are there.
func send(t *testing.T, url, queue string, messages ...amqp.Publishing) {
	t.Helper()
	onChannel(t, url, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "classic"}); err != nil {
			return err
		}
		for _, m := range messages {
			confirm, err := ch.PublishWithDeferredConfirm("", queue, true, false, m)
			if err != nil {
				return err
			}
			confirm.Wait()
		}
		return nil
	})
}

// nobody is a management plugin that does not answer.
var nobody = connection.Manager{Hostname: "127.0.0.1", Port: 1}

// Without the management plugin, queues that are named are known, and no bindings. What there is not is empty.
func TestManagementWithoutPlugin(t *testing.T) {
	t.Parallel()
	url := rabbittest.New(t).URL()
	send(t, url, "a", amqp.Publishing{Body: []byte("1")}, amqp.Publishing{Body: []byte("2")})
	m, err := OpenManagement(t.Context(), ManagementConfig{URL: url, Manager: nobody})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	states, err := m.Queues(t.Context(), []string{"b", "a", "a"}, nil)
	if err != nil || len(states) != 2 || states[0].Name != "a" || states[0].Ready[0] != 2 || states[1].Name != "b" || states[1].Ready[0] != 0 {
		t.Errorf("queues: %+v, %v", states, err)
	}
	if figures := m.Figures(); figures != (broker.Figures{Consumers: true}) {
		t.Errorf("figures: %+v", figures)
	}
	if _, err := m.Bindings(t.Context(), "celery"); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1") ||
		!strings.Contains(err.Error(), "rabbitmq-plugins enable rabbitmq_management") {
		t.Errorf("bindings: %v", err)
	}
	for queue, want := range map[string]int{"a": 2, "none": 0} {
		if n, err := m.Purge(t.Context(), queue); n != want || err != nil {
			t.Errorf("purged of %s: %d, %v", queue, n, err)
		}
	}
	if states, err := m.Queues(t.Context(), []string{"a"}, nil); err != nil || states[0].Ready[0] != 0 {
		t.Errorf("after a purge: %+v, %v", states, err)
	}
}

// With the management plugin all queues are known that outlive who made them, what workers hold, and bindings. Who may not ask it is told
// what AMQP tells.
func TestManagementWithPlugin(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t, rabbittest.Managed)
	v := server.VHost(t)
	at := connection.Manager{Port: server.ManagerPort()}
	bound := broker.Queue{Name: "other", Exchange: "e", ExchangeType: broker.Topic, RoutingKey: "k.#"}
	bound.Declaration.SetArgument("x-queue-type", "quorum")
	c, err := Open(t.Context(), Config{URL: v.URL(), Queues: []broker.Queue{{Name: "q"}, bound, {Name: "own", Declaration: broker.Declaration{Exclusive: true}}}, Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, v.URL(), "q", amqp.Publishing{Body: []byte("1")}, amqp.Publishing{Body: []byte("2")}, amqp.Publishing{Body: []byte("3")})
	m, err := OpenManagement(t.Context(), ManagementConfig{URL: v.URL(), Manager: at})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := []broker.QueueState{
		{Name: "none", Ready: []int{0}},
		{Name: "other", Type: "quorum", Ready: []int{0}, Consumers: 1},
		{Name: "q", Type: "classic", Ready: []int{2}, Unacked: 1, Consumers: 1},
	}
	var states []broker.QueueState
	for deadline := time.Now().Add(time.Minute); !cmp.Equal(states, want); time.Sleep(50 * time.Millisecond) { // it counts from time to time
		if states, err = m.Queues(t.Context(), []string{"none"}, nil); err != nil || time.Now().After(deadline) {
			t.Fatalf("%v, (-want +got):\n%s", err, cmp.Diff(want, states))
		}
	}
	if figures := m.Figures(); figures != (broker.Figures{Consumers: true, Unacked: true}) {
		t.Errorf("figures: %+v", figures)
	}
	bindings, err := m.Bindings(t.Context(), "e")
	if err != nil || !slices.Equal(bindings, []broker.Binding{{Queue: "other", RoutingKey: "k.#"}}) {
		t.Errorf("bindings: %+v, %v", bindings, err)
	}
	if exchanges, err := m.Exchanges(t.Context()); err != nil || !slices.Equal(exchanges, []string{"e", "own", "q"}) {
		t.Errorf("exchanges: %q, %v", exchanges, err)
	}
	poor, err := OpenManagement(t.Context(), ManagementConfig{URL: v.User(t, "poor", ".*", ".*", ".*"), Manager: at})
	if err != nil {
		t.Fatal(err)
	}
	defer poor.Close()
	if states, err := poor.Queues(t.Context(), []string{"q"}, nil); err != nil || len(states) != 1 || states[0].Ready[0] != 2 || poor.Figures().Unacked {
		t.Errorf("of one who may not ask the plugin: %+v, %v", states, err)
	}
	if _, err := poor.Bindings(t.Context(), "e"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("of one who may not ask the plugin: %v", err)
	}
}

// Dead letters are looked at without being taken, replayed to the queues they are from, and dropped.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	url := rabbittest.New(t).URL()
	d, err := OpenDeadLetters(t.Context(), ManagementConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("without a queue of them: %d, %v", n, err)
	}
	if letters, err := d.List(t.Context(), 0, -1); len(letters) != 0 || err != nil {
		t.Errorf("without a queue of them: %v, %v", letters, err)
	}
	at := time.UnixMilli(1700000000123)
	buried := func(id, queue string) amqp.Publishing {
		headers := amqp.Table{"task": "t", "id": "of " + id, "n": int64(7)}
		headers = withLetter(headers, &broker.DeadLetter{Delivery: broker.Delivery{Queue: queue, Redeliveries: 3}, Reason: "why", At: at}, "celery@h")
		headers[letterHeader].(amqp.Table)["id"] = id
		return amqp.Publishing{Headers: headers, ContentType: "application/json", Body: []byte(`[[], {}, {}]`), DeliveryMode: amqp.Persistent}
	}
	send(t, url, "a")
	send(t, url, lettersQueue, buried("1", "a"), buried("2", "a"), buried("3", "gone"), amqp.Publishing{Body: []byte("foreign")}, buried("4", "a"))

	ids, err := d.IDs(t.Context(), 0, -1)
	if err != nil || len(ids) != 5 || !slices.Equal(ids[:3], []string{"1", "2", "3"}) || ids[3] == "" || ids[4] != "4" {
		t.Fatalf("ids: %q, %v", ids, err)
	}
	if some, err := d.IDs(t.Context(), 1, 2); err != nil || !slices.Equal(some, []string{"2", "3"}) {
		t.Errorf("some ids: %q, %v", some, err)
	}
	l, err := d.Get(t.Context(), "2")
	want := broker.Letter{ID: "2", Queue: "a", Reason: "why", Time: at.UTC(), Hostname: "celery@h", Task: "t", TaskID: "of 2", Redeliveries: 3, Raw: l.Raw}
	if err != nil || l.Time != want.Time || l.ID != "2" || l.Queue != want.Queue || l.Reason != want.Reason || l.Hostname != want.Hostname ||
		l.Task != want.Task || l.TaskID != want.TaskID || l.Redeliveries != 3 || !strings.Contains(string(l.Raw), `[[], {}, {}]`) || strings.Contains(string(l.Raw), letterHeader) {
		t.Errorf("letter: %+v\n%s\n%v", l, l.Raw, err)
	}
	if _, err := d.Get(t.Context(), "none"); !errors.Is(err, broker.ErrNoLetter) {
		t.Errorf("of what there is not: %v", err)
	}
	if again, err := d.IDs(t.Context(), 0, -1); err != nil || !slices.Equal(again, ids) {
		t.Errorf("after looking: %q, %v", again, err)
	}

	replayed, err := d.Replay(t.Context(), "4", "3", "none", "1")
	if !slices.Equal(replayed, []string{"1", "4"}) || err == nil || !strings.Contains(err.Error(), `no queue "gone"`) {
		t.Errorf("replayed: %q, %v", replayed, err)
	}
	if _, err := d.Replay(t.Context(), ids[3]); err == nil || !strings.Contains(err.Error(), "it is not known which queue it is from") {
		t.Errorf("replayed what is from elsewhere: %v", err)
	}
	dropped, err := d.Drop(t.Context(), "2", ids[3], "1")
	if !slices.Equal(dropped, []string{"2", ids[3]}) || err != nil {
		t.Errorf("dropped: %q, %v", dropped, err)
	}
	if left, err := d.IDs(t.Context(), 0, -1); err != nil || !slices.Equal(left, []string{"3"}) {
		t.Errorf("left: %q, %v", left, err)
	}
	onChannel(t, url, func(ch *amqp.Channel) error {
		for _, id := range []string{"of 1", "of 4"} {
			m, ok, err := ch.Get("a", true)
			if err != nil {
				return err
			}
			if _, marked := m.Headers[letterHeader]; !ok || marked || m.Headers["id"] != id || m.Headers["n"] != int64(7) || m.DeliveryMode != amqp.Persistent {
				t.Errorf("replayed: %v %+v, want %s", ok, m.Headers, id)
			}
		}
		return nil
	})
}

// What a worker consumes is counted; a queue that is gone is left out.
func TestQueueLengths(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t)
	send(t, v.URL(), "a")
	c, err := Open(t.Context(), Config{URL: v.URL(), Queues: broker.Named("b"), Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	onChannel(t, v.URL(), func(ch *amqp.Channel) error {
		for range 3 {
			confirm, err := ch.PublishWithDeferredConfirm("", "b", true, false, amqp.Publishing{Body: []byte("x")})
			if err != nil {
				return err
			}
			confirm.Wait()
		}
		return nil
	})
	deadline := time.Now().Add(20 * time.Second) // one of the three is delivered, or about to be
	for {
		lengths, err := c.QueueLengths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, there := lengths["b"]; there && n == 2 && len(lengths) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("lengths: %v", lengths)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
