package brokertest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

// concluder returns the consumer's ability to publish along with acknowledgements.
func (c *consumer) concluder() broker.Concluder {
	c.f.t.Helper()
	concluder := c.able.Concluders.Concluder(c.f.Publisher)
	if concluder == nil {
		c.f.t.Fatal("the consumer cannot publish to its own broker")
	}
	return concluder
}

// What follows from a delivery is published if it is acknowledged, and only then.
func testConclude(t *testing.T, f *fixture) {
	c, other := f.open("q"), f.open("a", "b")
	f.publish("q", "1", "2", "3", "4")
	ds := c.collect(4, 4)
	f.TakeAway(t, ds[1].Tag)
	conclude := func() (lost []string) {
		t.Helper()
		lost, err := c.concluder().Conclude(f.context(),
			broker.Conclusion{Tag: ds[0].Tag, Publish: publications("a", Message("1a", 0), Message("1b", 0))},
			broker.Conclusion{Tag: ds[1].Tag, Publish: publications("a", Message("2a", 0))},
			broker.Conclusion{Tag: ds[2].Tag, Publish: publications("b", Message("3a", 9))},
			broker.Conclusion{Tag: ds[3].Tag},
		)
		if err != nil {
			t.Fatalf("Conclude: %v", err)
		}
		return lost
	}
	if diff := cmp.Diff([]string{ds[1].Tag}, conclude()); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	if lost := conclude(); len(lost) != 4 {
		t.Errorf("repeated: lost %v, want all", lost)
	}
	f.wantLeased(0)
	wantIDs(t, other.collect(3, 3), "1a", "1b", "3a")
	wantIDs(t, c.claim(4), "2+") // was not ours any more
}

// With one message that cannot be published nothing is done.
func testConcludeRefused(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2")
	ds := c.collect(2, 2)
	_, err := c.concluder().Conclude(f.context(),
		broker.Conclusion{Tag: ds[0].Tag, Publish: publications("a", Message("1a", 0))},
		broker.Conclusion{Tag: ds[1].Tag, Publish: publications("", Message("2a", 0))},
	)
	var refused *broker.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, broker.ErrUnroutable) {
		t.Errorf("Conclude: %v", err)
	}
	f.wantLeased(2)
	f.publish("a", "only")
	wantIDs(t, f.open("a").claim(2), "only")
	if lost := c.ack(ds...); len(lost) > 0 {
		t.Errorf("ack: lost %v", lost)
	}
}
