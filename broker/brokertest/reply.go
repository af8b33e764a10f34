package brokertest

import (
	"testing"
	"time"

	"github.com/apium/apium/broker"
)

// testAsk waits for a reply in a queue of its own.
func testAsk(t *testing.T, f *fixture) {
	able := broker.PublisherAbilitiesOf(f.Publisher)
	reply := func() bool {
		t.Helper()
		m := broker.Publication{Exchange: "reply", RoutingKey: "me", Message: Message("yes", 0)}
		delivered, err := able.Replier.Reply(f.context(), m, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return delivered
	}
	replies, err := able.Asker.AwaitReplies(f.context(), broker.Queue{Name: "mine", Exchange: "reply", RoutingKey: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if !reply() {
		t.Error("nobody waits")
	}
	if m, err := replies.Next(f.context()); err != nil {
		t.Error(err)
	} else {
		wantMessage(t, m, Message("yes", 0))
	}
	if err := replies.Close(f.context()); err != nil {
		t.Error(err)
	}
	if reply() {
		t.Error("delivered to who has gone")
	}
}

func testReply(t *testing.T, f *fixture) {
	replier := broker.PublisherAbilitiesOf(f.Publisher).Replier
	reply := func(routingKey, id string) bool {
		t.Helper()
		delivered, err := replier.Reply(f.context(), broker.Publication{
			Exchange: "reply", RoutingKey: routingKey, Message: Message(id, 0),
		}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return delivered
	}
	if reply("me", "too early") {
		t.Error("delivered to nobody")
	}
	c := f.open("other")
	c.addQueue(broker.Queue{Name: "mine", Exchange: "reply", RoutingKey: "me"})
	if !reply("me", "1") || !reply("me", "2") || reply("m", "prefix") || reply("me2", "longer") {
		t.Error("delivered to others than those who are bound")
	}
	wantIDs(t, c.claim(2), "1", "2")
}
