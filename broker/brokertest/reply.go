package brokertest

import (
	"testing"
	"time"

	"github.com/apium/apium/broker"
)

func testReply(t *testing.T, f *fixture) {
	replier, ok := f.Broadcaster.(broker.Replier)
	if !ok {
		t.Fatalf("%T is no Replier", f.Broadcaster)
	}
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
