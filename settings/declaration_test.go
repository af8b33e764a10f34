package settings

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

// TestDeclarationsAreKombus compares what kombu's Queue tells RabbitMQ with what ours says of it.
func TestDeclarationsAreKombus(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Settings json.RawMessage
		Answers  map[string]json.RawMessage
	}
	captured(t, "declarations", &cases)
	for _, c := range cases {
		queues := loadJSON(t, c.Settings).Queues()
		for name, answer := range c.Answers {
			q, err := queues.Get(name)
			if err != nil {
				t.Fatal(err)
			}
			var want, got any
			decodeJSON(t, answer, &want)
			told, err := json.Marshal(told(q))
			if err != nil {
				t.Fatal(err)
			}
			decodeJSON(t, told, &got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n%s (-kombu +ours):\n%s", c.Settings, name, diff)
			}
		}
	}
}

// told is what kombu's channel would be asked for a queue.
func told(q Queue) (calls [][2]any) {
	type options map[string]any
	call := func(name string, o options, arguments map[string]any) {
		if len(arguments) > 0 {
			o["arguments"] = arguments
		}
		calls = append(calls, [2]any{name, o})
	}
	d := q.Declaration
	if !d.Skip {
		call("exchange_declare", options{
			"exchange": q.Exchange, "type": q.ExchangeType, "durable": !d.Exchange.Transient, "auto_delete": d.Exchange.AutoDelete,
		}, d.Exchange.Arguments)
		call("queue_declare", options{
			"queue": q.Name, "durable": !d.Transient, "exclusive": d.Exclusive, "auto_delete": d.AutoDelete,
		}, d.Arguments)
		call("queue_bind", options{"queue": q.Name, "exchange": q.Exchange, "routing_key": q.RoutingKey}, d.BindingArguments)
	}
	call("basic_consume", options{"queue": q.Name, "no_ack": false, "consumer_tag": "tag"}, d.ConsumerArguments)
	return calls
}

// TestDeclarationsOfBindings: what is said of a binding's exchange is said of that one, also where it is the queue's only one.
func TestDeclarationsOfBindings(t *testing.T) {
	t.Parallel()
	queues := loadJSON(t, json.RawMessage(`{"task_queues": [
		{"name": "a", "queue_arguments": {"x": 1}, "bindings": [
			{"exchange": "x", "exchange_durable": false, "arguments": {"b": 1}}, {"exchange": "y", "exchange_auto_delete": true}]},
		{"name": "b", "bindings": [{"exchange": "f", "exchange_type": "fanout", "exchange_durable": false, "arguments": {"b": 2}}]},
		{"name": "c", "broadcast": true}, {"name": "d", "broadcast": true, "auto_delete": false}]}`)).Queues().All()
	var got []Queue
	for _, q := range queues {
		got = append(got, q.Bound()...)
	}
	args := func(n int64) map[string]any { return map[string]any{"b": n} }
	transient := broker.ExchangeDeclaration{Transient: true}
	want := []Queue{
		{Name: "a", Exchange: "x", Declaration: broker.Declaration{Arguments: map[string]any{"x": int64(1)}, BindingArguments: args(1), Exchange: transient}},
		{Name: "a", Exchange: "y", Declaration: broker.Declaration{
			Arguments: map[string]any{"x": int64(1)}, Exchange: broker.ExchangeDeclaration{AutoDelete: true},
		}},
		{Name: "b", Exchange: "f", ExchangeType: "fanout", Declaration: broker.Declaration{BindingArguments: args(2), Exchange: transient}},
		{Name: "c", Exchange: "c", ExchangeType: "fanout", RoutingKey: "celery", Broadcast: true, Declaration: broker.Declaration{AutoDelete: true}},
		{Name: "d", Exchange: "d", ExchangeType: "fanout", RoutingKey: "celery", Broadcast: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestQueueTypesAndPriorities: queues that are made up, and a worker's own, have what the settings say of all.
func TestQueueTypesAndPriorities(t *testing.T) {
	t.Parallel()
	queues := loadJSON(t, json.RawMessage(`{"task_queue_max_priority": 4, "task_create_missing_queue_type": "quorum", "task_queues": ["a"]}`)).Queues()
	made, err := queues.Get("made")
	if err != nil {
		t.Fatal(err)
	}
	if made.Declaration.QueueType() != "quorum" || made.Declaration.Arguments["x-max-priority"] != int64(4) {
		t.Errorf("made up: %v", made.Declaration)
	}
	direct := queues.Direct("celery@h")
	if direct.Declaration.QueueType() != "" || direct.Declaration.Arguments["x-max-priority"] != int64(4) {
		t.Errorf("direct: %v", direct.Declaration)
	}
}

// TestBadDeclarations: what cannot be declared is named.
func TestBadDeclarations(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"task_queues": [{"name": "a", "max_length": -1}]}`:                               "max_length: must be a whole number that is not negative, not -1",
		`{"task_queues": [{"name": "a", "queue_arguments": {"n": 99999999999999999999}}]}`: "queue_arguments: n: 99999999999999999999 cannot be sent",
		`{"task_queues": [{"name": "a", "durable": "no"}]}`:                                "durable: must be true or false",
		`{"task_queue_max_priority": 256}`:                                                 "256 is not a number from 0 to 255",
		`{"task_default_queue_type": "qourum"}`:                                            "Did you mean 'quorum'?",
		`{"broker_login_method": "GSSAPI"}`:                                                "Kerberos (GSSAPI) is not spoken here",
		`{"broker_login_method": "plain"}`:                                                 "'plain' is not one of PLAIN, AMQPLAIN, EXTERNAL",
	} {
		o, err := parseJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		e, _ := lookup(o[0].key)
		l := loader{given: map[*entry]given{e: {o[0].value, Origin{Key: o[0].key}}}}
		_, err = l.settings()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
