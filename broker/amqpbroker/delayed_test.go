package amqpbroker

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

func TestDelayKey(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("0.", 24)
	for seconds, want := range map[int64]string{
		3: zeros + "0.0.1.1.qq.key", 12: zeros + "1.1.0.0.qq.key", 0: zeros + "0.0.0.0.qq.key", -5: zeros + "0.0.0.0.qq.key",
		1<<28 - 1: strings.Repeat("1.", 28) + "qq.key", 1 << 28: strings.Repeat("1.", 28) + "qq.key", math.MaxInt64: strings.Repeat("1.", 28) + "qq.key",
	} {
		key := delayKey(seconds, "qq.key")
		if key != want {
			t.Errorf("%d s: %s, want %s", seconds, key, want)
		}
		if to, was := undelayed(key); to != "qq.key" || !was {
			t.Errorf("%s without digits: %q, %v", key, to, was)
		}
		if to, _ := undelayed(delayKey(7, key)); to != "qq.key" { // as by Celery 5.5
			t.Errorf("%s after a retry: %q", key, to)
		}
	}
	digits := strings.TrimSuffix(strings.Repeat("1.", 28), ".")
	for _, key := range []string{"", "qq.key", digits, digits + ".", strings.Repeat("1.", 27) + "2.qq", strings.Repeat("1.", 27) + "qq"} {
		if to, was := undelayed(key); to != key || was {
			t.Errorf("%q without digits: %q, %v", key, to, was)
		}
	}
}

func TestDelaySeconds(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]int64{
		-time.Hour: 0, 0: 0, time.Nanosecond: 1, time.Second: 1, 1999 * time.Millisecond: 1, 2 * time.Second: 2, math.MaxInt64: 9223372036,
	} {
		if got := delaySeconds(wait); got != want {
			t.Errorf("due in %v: %d s, want %d", wait, got, want)
		}
	}
}

// What is parked for a queue matches no binding but its own.
func TestParkedWord(t *testing.T) {
	t.Parallel()
	queues := []string{"b", "a.b", "a%2Eb", "#", "*", "parked:b", strings.Repeat("q", 255), strings.Repeat("q", 254) + "r"}
	words := map[string]string{}
	for _, queue := range queues {
		word := parkedWord(queue)
		if other, has := words[word]; has {
			t.Errorf("queues %q and %q are both %s", queue, other, word)
		}
		words[word] = queue
		if strings.ContainsAny(word, ".") || word == "#" || word == "*" || len(delayKey(1, word)) > rabbitconn.LongestText {
			t.Errorf("queue %q: %s is not a plain word, or too long", queue, word)
		}
		if !wasParked(queue, delayKey(5, word)) || !wasParked(queue, delayKey(9, delayKey(5, word))) {
			t.Errorf("queue %q: what was parked is not known again", queue)
		}
		if wasParked(queue, delayKey(5, queue)) || wasParked(queue, word) || wasParked("other", delayKey(5, word)) {
			t.Errorf("queue %q: what was not parked is taken for it", queue)
		}
	}
}

// declarations notes what is declared, as the frames of Celery were captured.
type declarations [][2]any

func (d *declarations) note(method string, args map[string]any) {
	*d = append(*d, [2]any{method, args})
}

// typed is an argument table with the type letters of values.
func typed(args amqp.Table) map[string]any {
	all := map[string]any{}
	for name, value := range args {
		switch v := value.(type) {
		case string:
			all[name] = map[string]any{"S": v}
		case int32:
			all[name] = map[string]any{"I": float64(v)}
		case int64: // kombu says L, and RabbitMQ takes both alike
			all[name] = map[string]any{"L": float64(v)}
		}
	}
	return all
}

func (d *declarations) ExchangeDeclare(name, kind string, durable, autoDelete, internal, _ bool, args amqp.Table) error {
	d.note("exchange.declare", map[string]any{
		"exchange": name, "type": kind, "passive": false, "durable": durable, "auto_delete": autoDelete, "internal": internal, "arguments": typed(args),
	})
	return nil
}

func (d *declarations) ExchangeDeclarePassive(name, kind string, _, _, _, _ bool, _ amqp.Table) error {
	d.note("exchange.find", map[string]any{"exchange": name, "type": kind})
	return nil
}

func (d *declarations) ExchangeBind(destination, key, source string, _ bool, args amqp.Table) error {
	d.note("exchange.bind", map[string]any{"destination": destination, "routing_key": key, "source": source, "arguments": typed(args)})
	return nil
}

func (d *declarations) QueueDeclare(name string, durable, autoDelete, exclusive, _ bool, args amqp.Table) (amqp.Queue, error) {
	d.note("queue.declare", map[string]any{
		"queue": name, "passive": false, "durable": durable, "exclusive": exclusive, "auto_delete": autoDelete, "arguments": typed(args),
	})
	return amqp.Queue{}, nil
}

func (d *declarations) QueueDeclarePassive(name string, _, _, _, _ bool, _ amqp.Table) (amqp.Queue, error) {
	d.note("queue.find", map[string]any{"queue": name})
	return amqp.Queue{}, nil
}

func (d *declarations) QueueBind(name, key, exchange string, _ bool, args amqp.Table) error {
	d.note("queue.bind", map[string]any{"queue": name, "routing_key": key, "exchange": exchange, "arguments": typed(args)})
	return nil
}

// What is declared is what a worker of Celery 5.7 has declared for the queue qq, and a binding
// of our own.
func TestDelayTopology(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/delayed_delivery.json")
	if err != nil {
		t.Fatal(err)
	}
	var want declarations
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, frame := range want {
		delete(frame[1].(map[string]any), "nowait")
	}
	want.note("queue.bind", map[string]any{
		"queue": "qq", "exchange": delayDelivery, "routing_key": strings.Repeat("*.", 28) + "parked:qq", "arguments": map[string]any{},
	})
	var got declarations
	if err := declareDelays(&got, "quorum"); err != nil {
		t.Fatal(err)
	}
	if err := bindDelayed(&got, broker.Queue{Name: "qq", Exchange: "qx", ExchangeType: broker.Topic, RoutingKey: "qq.key"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("declared (-Celery +ours):\n%s", diff)
	}
}

func TestDelayedBindings(t *testing.T) {
	t.Parallel()
	own := strings.Repeat("*.", 28)
	for _, test := range []struct {
		queue broker.Queue
		want  []string
	}{
		{broker.Queue{Name: "q"}, []string{"q<" + own + "parked:q<celery_delayed_delivery"}},
		{broker.Queue{Name: "q", Exchange: "x", ExchangeType: broker.Topic, RoutingKey: "#.all"}, []string{
			"x<#.all<celery_delayed_delivery", "q<#.all<x", "q<" + own + "parked:q<celery_delayed_delivery",
		}},
		{broker.Queue{Name: "q", Bindings: []broker.Source{{Exchange: "d", RoutingKey: "k"}, {Exchange: "t", ExchangeType: broker.Topic, RoutingKey: "k"}}}, []string{
			"t<#.k<celery_delayed_delivery", "q<#.k<t", "q<" + own + "parked:q<celery_delayed_delivery",
		}},
	} {
		var noted declarations
		if err := bindDelayed(&noted, test.queue); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, frame := range noted {
			args := frame[1].(map[string]any)
			to, from := args["queue"], args["exchange"]
			if frame[0] == "exchange.bind" {
				to, from = args["destination"], args["source"]
			}
			got = append(got, to.(string)+"<"+args["routing_key"].(string)+"<"+from.(string))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.queue, diff)
		}
	}
}

func TestRepublication(t *testing.T) {
	t.Parallel()
	headers := amqp.Table{"task": "t", "retries": int32(1), "x-mine": "kept", "x-deathly": "kept", "stamps": amqp.Table{"x-death": "kept"}}
	d := amqp.Delivery{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 3, CorrelationId: "c", ReplyTo: "r",
		Expiration: "60000", MessageId: "m", Timestamp: time.Unix(1, 0), Type: "t", AppId: "a", UserId: "u", Body: []byte("body"),
		DeliveryTag: 7, Redelivered: true, Exchange: "x", RoutingKey: "k",
	}
	want := amqp.Publishing{
		Headers: headers, ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 3, CorrelationId: "c",
		ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: time.Unix(1, 0), Type: "t", AppId: "a", Body: []byte("body"),
	}
	for _, notes := range []amqp.Table{nil, {
		"x-death": []any{amqp.Table{"count": int64(1)}}, "x-first-death-exchange": "e", "x-first-death-queue": "q", "x-first-death-reason": "expired",
		"x-last-death-exchange": "e", "x-last-death-queue": "q", "x-last-death-reason": "expired", "x-delivery-count": int64(2), "x-acquired-count": int64(2),
	}} {
		d.Headers = amqp.Table{}
		for _, some := range []amqp.Table{headers, notes} {
			for name, value := range some {
				d.Headers[name] = value
			}
		}
		if diff := cmp.Diff(want, republication(&d)); diff != "" {
			t.Errorf("with the notes %v (-want +got):\n%s", notes, diff)
		}
	}
}

// refuser refuses everything from a step on. What is sent after that does not come while the channel is open.
type refuser struct{ steps, late int }

func (r *refuser) step(noWait bool) error {
	r.steps--
	switch {
	case r.steps >= 0:
		return nil
	case r.steps < -1:
		r.late++
	}
	if noWait {
		return nil
	}
	return amqp.ErrClosed
}

func (r *refuser) ExchangeDeclare(_, _ string, _, _, _, noWait bool, _ amqp.Table) error {
	return r.step(noWait)
}

func (r *refuser) ExchangeDeclarePassive(_, _ string, _, _, _, noWait bool, _ amqp.Table) error {
	return r.step(noWait)
}

func (r *refuser) ExchangeBind(_, _, _ string, noWait bool, _ amqp.Table) error {
	return r.step(noWait)
}

func (r *refuser) QueueDeclare(_ string, _, _, _, noWait bool, _ amqp.Table) (amqp.Queue, error) {
	return amqp.Queue{}, r.step(noWait)
}

func (r *refuser) QueueDeclarePassive(_ string, _, _, _, noWait bool, _ amqp.Table) (amqp.Queue, error) {
	return amqp.Queue{}, r.step(noWait)
}

func (r *refuser) QueueBind(_, _, _ string, noWait bool, _ amqp.Table) error { return r.step(noWait) }

// Where native delayed delivery is missing, of the other type or forbidden, nothing is sent any more once that is known: what comes to RabbitMQ
// just after it has closed a channel costs the connection (once in 2,000 times, without this).
func TestNothingIsSentAfterARefusal(t *testing.T) {
	t.Parallel()
	q := broker.Queue{Name: "q", Exchange: "x", ExchangeType: broker.Topic, RoutingKey: "key"}
	for name, c := range map[string]struct {
		steps int // that can be refused
		do    func(ch declarer) error
	}{
		"declared": {2, func(ch declarer) error { return declareDelays(ch, "quorum") }},
		"found":    {2, findDelays},
		"bound":    {3, func(ch declarer) error { return bindDelayed(ch, q) }},
	} {
		for step := range c.steps {
			r := &refuser{steps: step}
			if err := c.do(r); err == nil || r.late > 0 {
				t.Errorf("%s, step %d is refused: %v, and %d more", name, step, err, r.late)
			}
		}
	}
}
