package redisbroker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
)

// calls counts the scripts and SMEMBERS a server has run.
func calls(t *testing.T, s *server) (scripts, lookups int) {
	t.Helper()
	for line := range lines(fmt.Sprintf("%s", s.Do(t, "INFO", "commandstats"))) {
		for name, count := range map[string]*int{"evalsha": &scripts, "eval": &scripts, "smembers": &lookups} {
			var n int
			if _, err := fmt.Sscanf(line, "cmdstat_"+name+":calls=%d,", &n); err == nil {
				*count += n
			}
		}
	}
	return scripts, lookups
}

// Everything of a call goes out in one script, whatever queues and exchanges it names.
func TestPublishInOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	const sep = "\x06\x16"
	s.Do(t, "SADD", "_kombu.binding.ex", "k"+sep+sep+"one", "k"+sep+sep+"two", "broken", "x"+sep+sep+"three")
	m := func(id string, priority int) []byte { return brokertest.Envelope("q", id, priority) }
	err := p.Publish(t.Context(),
		broker.Publication{RoutingKey: "a", Message: m("1", 0)},
		broker.Publication{RoutingKey: "a", Message: m("2", 5)},
		broker.Publication{RoutingKey: "b", Message: m("3", 0)},
		broker.Publication{Exchange: "ex", RoutingKey: "k", Message: m("4", 9)},
		broker.Publication{Exchange: "ex", RoutingKey: "x", Message: m("5", 0)},
		broker.Publication{Exchange: "ev", ExchangeType: broker.Fanout, RoutingKey: "r", Message: m("6", 0)},
		broker.Publication{RoutingKey: "a", Message: m("7", 0)})
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string][]string{
		"a": {string(m("7", 0)), string(m("1", 0))}, "a" + sep + "3": {string(m("2", 5))}, "b": {string(m("3", 0))},
		"one" + sep + "9": {string(m("4", 9))}, "two" + sep + "9": {string(m("4", 9))}, "three": {string(m("5", 0))},
	} {
		if diff := cmp.Diff(want, s.strings(t, "LRANGE", list, 0, -1)); diff != "" {
			t.Errorf("list %q (-want +got):\n%s", list, diff)
		}
	}
	for _, set := range []string{"_kombu.binding.b", "_kombu.binding_permanent.b"} {
		if diff := cmp.Diff([]string{"b" + sep + sep + "b"}, s.strings(t, "SMEMBERS", set)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", set, diff)
		}
	}
	if scripts, lookups := calls(t, s); scripts > 2 || lookups > 5 {
		t.Errorf("%d scripts and %d lookups", scripts, lookups)
	}
	if err := p.Publish(t.Context()); err != nil {
		t.Errorf("publishing nothing: %v", err)
	}
	err = p.Publish(t.Context(), broker.Publication{Exchange: "ex", RoutingKey: "nobody's", Message: m("8", 0)})
	if err == nil || !strings.Contains(err.Error(), `exchange "ex" with routing key "nobody's": no queue is bound`) {
		t.Errorf("unroutable message: %v", err)
	}
}

func TestDeadletterQueue(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, err := redisbroker.OpenPublisher(context.Background(), redisbroker.PublisherConfig{URL: s.URL(0), DeadletterQueue: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Publish(t.Context(),
		broker.Publication{Exchange: "ex", RoutingKey: "k", Message: brokertest.Envelope("q", "1", 0)},
		broker.Publication{Message: brokertest.Envelope("q", "2", 0)}); err != nil {
		t.Fatal(err)
	}
	if n := s.int(t, "LLEN", "dead"); n != 2 {
		t.Errorf("%d messages in the dead letter queue, want 2", n)
	}
}

// TestPublishInPortions publishes more than one script should get.
func TestPublishInPortions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	const messages = 40
	var all []broker.Publication
	var want []string
	for i := range messages {
		message := brokertest.Envelope(strings.Repeat("q", 1<<20), fmt.Sprint(i), 0)
		all = append(all, broker.Publication{RoutingKey: fmt.Sprint("q", i%2), Message: message})
		if i%2 == 1 {
			want = append([]string{string(message)}, want...)
		}
	}
	if err := p.Publish(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	if got := s.strings(t, "LRANGE", "q1", 0, -1); !slices.Equal(got, want) {
		t.Errorf("%d messages in q1, want %d in order", len(got), len(want))
	}
	if n := s.int(t, "LLEN", "q0"); n != messages/2 {
		t.Errorf("%d messages in q0", n)
	}
	if scripts, _ := calls(t, s); scripts < 3 || scripts > 6 {
		t.Errorf("published with %d scripts", scripts)
	}
}
