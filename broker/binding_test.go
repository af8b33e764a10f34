package broker_test

import (
	"testing"

	"github.com/apium/apium/broker"
)

// The patterns are those of kombu's TopicExchange.key_to_pattern.
func TestTopicPattern(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"a.*.#":     `^a\.[^\.]+\..*?$`,
		"celery":    `^celery$`,
		"a-b_c.d@h": `^a\-b\_c\.d\@h$`,
		"#":         `^.*?$`,
		"*":         `^[^\.]+$`,
		"":          `^$`,
		"x.#y":      `^x\.#y$`,
		"ü.*":       `^ü\.[^\.]+$`,
	} {
		exchange, b := broker.Queue{Name: "q", Exchange: "ex", ExchangeType: broker.Topic, RoutingKey: key}.Binding()
		if exchange != "ex" || b != (broker.Binding{RoutingKey: key, Pattern: want, Queue: "q"}) {
			t.Errorf("binding of %q to %q: %+v, want pattern %s", key, exchange, b, want)
		}
	}
}

func TestBinding(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		queue    broker.Queue
		exchange string
		key      string
		matches  string
		not      []string
	}{
		{broker.Queue{Name: "q"}, "q", "q", "q", []string{"", "p"}},
		{broker.Queue{Name: "q", Exchange: "ex"}, "ex", "", "", []string{"q"}},
		{broker.Queue{Name: "q", RoutingKey: "k"}, "q", "k", "k", []string{"q"}},
		{broker.Queue{Name: "q", Exchange: "ex", RoutingKey: "a.*", ExchangeType: broker.Topic}, "ex", "a.*", "a.b", []string{"a.", "a.b.c", "xa.b"}},
		{broker.Queue{Name: "q", Exchange: "ex", RoutingKey: "a.#", ExchangeType: broker.Topic}, "ex", "a.#", "a.b.c", []string{"b", "a"}},
	} {
		exchange, b := test.queue.Binding()
		if exchange != test.exchange || b.RoutingKey != test.key || b.Queue != "q" {
			t.Errorf("%+v: exchange %q, binding %+v", test.queue, exchange, b)
		}
		if !b.Matches(test.matches) {
			t.Errorf("%+v does not match %q", b, test.matches)
		}
		for _, key := range test.not {
			if b.Matches(key) {
				t.Errorf("%+v matches %q", b, key)
			}
		}
	}
	if (broker.Binding{Pattern: "("}).Matches("(") {
		t.Error("a broken pattern matches")
	}
}
