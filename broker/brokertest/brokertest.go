// Package brokertest holds the tests that every broker passes.
package brokertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// Fixture is one fresh broker under test.
type Fixture struct {
	// Open returns a consumer, which the test may close.
	Open func(t *testing.T, queues ...string) broker.Consumer
	// Publisher publishes to the same broker.
	Publisher broker.Publisher
	// TakeAway ends a lease as another worker would: the message goes back to
	// its queue, marked as redelivered, to be served next.
	TakeAway func(t *testing.T, tag string)
	// Leased counts the messages claimed and not settled.
	Leased func(t *testing.T) int
	// CutOff breaks the connections of all consumers, which make them again. It comes with
	// Features.Connected.
	CutOff func(t *testing.T)
	// DeadLetters returns what was buried, the oldest first. It comes with Features.Moves.
	DeadLetters func(t *testing.T) []broker.DeadLetter
}

// Run runs the tests that concern what an implementation promises, each on a broker of its
// own, and one that it promises what it can do.
func Run(t *testing.T, promised Features, fresh func(t *testing.T) Fixture) {
	for _, test := range tests {
		if test.needs != nil && !test.needs(promised) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{Fixture: fresh(t), t: t, promised: promised}
			f.broadcaster = broker.PublisherAbilitiesOf(f.Publisher).Broadcaster
			test.run(t, f)
		})
	}
}

// Message returns a message as Celery makes it, with a correct body.
func Message(id string, priority int) protocol.Message {
	return protocol.Message{
		Headers:     fmt.Appendf(nil, `{"lang": "py", "task": "t", "id": %q}`, id),
		ContentType: protocol.ContentTypeJSON, ContentEncoding: "utf-8",
		Body:       []byte(`[[], {}, {"callbacks": null}]`),
		Properties: protocol.Properties{CorrelationID: id, ReplyTo: "r", DeliveryMode: 2, Priority: priority},
	}
}

type fixture struct {
	Fixture
	t           *testing.T
	promised    Features
	broadcaster broker.Broadcaster
}

func (f *fixture) context() context.Context {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *fixture) open(queues ...string) *consumer {
	f.t.Helper()
	c := f.Open(f.t, queues...)
	f.t.Cleanup(func() { c.Close() })
	return &consumer{Consumer: c, able: broker.AbilitiesOf(c), f: f}
}

// publish publishes one message per id, of priority 0.
func (f *fixture) publish(queue string, ids ...string) {
	f.t.Helper()
	var messages []protocol.Message
	for _, id := range ids {
		messages = append(messages, Message(id, 0))
	}
	f.send(queue, messages...)
}

func (f *fixture) send(queue string, messages ...protocol.Message) {
	f.t.Helper()
	if err := f.Publisher.Publish(f.context(), publications(queue, messages...)...); err != nil {
		f.t.Fatal(err)
	}
}

func publications(queue string, messages ...protocol.Message) []broker.Publication {
	all := make([]broker.Publication, len(messages))
	for i, m := range messages {
		all[i] = broker.Publication{RoutingKey: queue, Message: m}
	}
	return all
}

func (f *fixture) wantLeased(n int) {
	f.t.Helper()
	if got := f.Leased(f.t); got != n {
		f.t.Errorf("%d messages leased, want %d", got, n)
	}
}

// consumer fails the test on every error.
type consumer struct {
	broker.Consumer
	able broker.Abilities
	f    *fixture
}

func (c *consumer) claim(limit int) []broker.Delivery {
	c.f.t.Helper()
	ds, err := c.Claim(c.f.context(), limit)
	if err != nil {
		c.f.t.Fatalf("Claim(%d): %v", limit, err)
	}
	if len(ds) < 1 || len(ds) > limit {
		c.f.t.Fatalf("Claim(%d) returned %d deliveries", limit, len(ds))
	}
	return ds
}

// collect claims until it has n deliveries.
func (c *consumer) collect(n, limit int) []broker.Delivery {
	c.f.t.Helper()
	var all []broker.Delivery
	for len(all) < n {
		all = append(all, c.claim(min(limit, n-len(all)))...)
	}
	return all
}

func (c *consumer) ack(ds ...broker.Delivery) (lost []string) {
	c.f.t.Helper()
	lost, err := c.Ack(c.f.context(), tags(ds)...)
	if err != nil {
		c.f.t.Fatalf("Ack: %v", err)
	}
	return lost
}

func (c *consumer) requeue(place broker.Place, ds ...broker.Delivery) {
	c.f.t.Helper()
	if err := c.Requeue(c.f.context(), place, ds...); err != nil {
		c.f.t.Fatalf("Requeue: %v", err)
	}
}

func tags(ds []broker.Delivery) []string {
	all := make([]string, len(ds))
	for i, d := range ds {
		all[i] = d.Tag
	}
	return all
}

// read reads a message.
func read(t *testing.T, c broker.Content) *protocol.Received {
	t.Helper()
	m := new(protocol.Received)
	if c.Read(m); m.Err != nil {
		t.Fatalf("got %q: %v", c.Text(), m.Err)
	}
	return m
}

// wantMessage compares a message with the one that was published.
func wantMessage(t *testing.T, c broker.Content, want protocol.Message) {
	t.Helper()
	got, err := read(t, c).Message()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

// ids returns the messages' ids, with "+" if marked as redelivered.
func ids(t *testing.T, ds []broker.Delivery) []string {
	t.Helper()
	all := make([]string, len(ds))
	for i, d := range ds {
		m := read(t, d.Content)
		all[i] = string(m.CorrelationID)
		if m.Redelivered {
			all[i] += "+"
		}
	}
	return all
}

func wantIDs(t *testing.T, ds []broker.Delivery, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, ids(t, ds)); diff != "" {
		t.Errorf("claimed messages (-want +got):\n%s", diff)
	}
}
