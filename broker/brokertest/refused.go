package brokertest

import (
	"errors"
	"testing"

	"github.com/apium/apium/broker"
)

// testRefused publishes a message that no queue is bound for between two others: these are
// published, or none is if all or none was promised.
func testRefused(t *testing.T, f *fixture) {
	c := f.open("q")
	err := f.Publisher.Publish(f.context(),
		broker.Publication{RoutingKey: "q", Message: Message("1", 0)},
		broker.Publication{Exchange: "nowhere", RoutingKey: "k", Message: Message("2", 0)},
		broker.Publication{RoutingKey: "q", Message: Message("3", 0)})
	refused := broker.Refusals(err)
	if len(refused) != 1 || refused[0].Index != 1 || refused[0].OthersSent == f.promised.AllOrNone || refused[0].Exchange != "nowhere" || !errors.Is(err, broker.ErrUnroutable) {
		t.Fatalf("Publish: %v", err)
	}
	if !f.promised.AllOrNone {
		wantIDs(t, c.collect(2, 2), "1", "3")
	}
	f.publish("q", "4")
	wantIDs(t, c.claim(3), "4")
}
