package amqpbroker

import (
	"strings"
	"testing"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
)

// A link that is lost leaves no queue for notes behind, and the next one goes on with that for copies, as often as that happens. Notes that tell something stay: TestLeftBesideItsCopy,
// TestLosesConnectionBeforeAcknowledgingWhatIsParked.
func TestLostLinksLeaveNoQueues(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	c := s.open(broker.Queue{Name: "q"})
	noted := func() (n int) {
		for _, name := range transfers(t, vhost) {
			if strings.HasSuffix(name, ".notes") {
				n++
			}
		}
		return n
	}
	for _, id := range []string{"1", "2"} {
		s.publish("q", id, id+" is parked")
		ds := s.want(c, id, id+" is parked")
		if !c.Begin(ds[0].Tag) {
			t.Fatal("it is lost")
		}
		if err := c.Started(s.context(), ds[0].Tag); err != nil {
			t.Fatal(err)
		}
		if lost, err := s.parks(s.context(), c, ds[1:]); err != nil || len(lost) > 0 {
			t.Fatal(lost, err)
		}
		if n := noted(); n != 2 {
			t.Fatalf("%d queues for notes", n)
		}
		before := c.link
		_ = c.holder.Current().Close()
		s.await("it is connected again", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.link != nil && c.link != before
		})
		s.await("the queues for notes are deleted", func() bool { return noted() == 0 })
		if names := transfers(t, vhost); len(names) != 1 {
			t.Errorf("left: %q", names)
		}
		s.ack(c, ds[0])
	}
}
