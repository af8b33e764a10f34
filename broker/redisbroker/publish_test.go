package redisbroker_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
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

var anyTag = regexp.MustCompile(`"delivery_tag": "[0-9a-f-]{36}"`)

// tagged returns envelopes, all with the same tag.
func tagged(raws []string) []string {
	for i := range raws {
		raws[i] = anyTag.ReplaceAllString(raws[i], `"delivery_tag": "tag"`)
	}
	return raws
}

// Everything of a call goes out in one script, whatever queues and exchanges it names.
func TestPublishInOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	const sep = "\x06\x16"
	s.Do(t, "SADD", "_kombu.binding.ex", "k"+sep+sep+"one", "k"+sep+sep+"two", "broken", "x"+sep+sep+"three")
	m := brokertest.Message
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
	raw := func(exchange, routingKey, id string, priority int) string {
		return string(envelopetest.Encode(m(id, priority), exchange, routingKey, "tag"))
	}
	for list, want := range map[string][]string{
		"a": {raw("", "a", "7", 0), raw("", "a", "1", 0)}, "a" + sep + "3": {raw("", "a", "2", 5)}, "b": {raw("", "b", "3", 0)},
		"one" + sep + "9": {raw("ex", "k", "4", 9)}, "two" + sep + "9": {raw("ex", "k", "4", 9)}, "three": {raw("ex", "x", "5", 0)},
	} {
		if diff := cmp.Diff(want, tagged(s.strings(t, "LRANGE", list, 0, -1))); diff != "" {
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
		broker.Publication{Exchange: "ex", RoutingKey: "k", Message: brokertest.Message("1", 0)},
		broker.Publication{Message: brokertest.Message("2", 0)}); err != nil {
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
		message := brokertest.Message(fmt.Sprint(i), 0)
		message.Body = bytes.Repeat([]byte("q"), 1<<20)
		all = append(all, broker.Publication{RoutingKey: fmt.Sprint("q", i%2), Message: message})
		if i%2 == 1 {
			want = append([]string{string(envelopetest.Encode(message, "", "q1", "tag"))}, want...)
		}
	}
	if err := p.Publish(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	if got := tagged(s.strings(t, "LRANGE", "q1", 0, -1)); !slices.Equal(got, want) {
		t.Errorf("%d messages in q1, want %d in order", len(got), len(want))
	}
	if n := s.int(t, "LLEN", "q0"); n != messages/2 {
		t.Errorf("%d messages in q0", n)
	}
	if scripts, _ := calls(t, s); scripts < 3 || scripts > 6 {
		t.Errorf("published with %d scripts", scripts)
	}
}
