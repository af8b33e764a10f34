package worker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
)

// deaf is a broker that takes nothing that is published, for a time.
type deaf struct {
	*ledger
	calm chan struct{}
}

func (d *deaf) Publish(ctx context.Context, messages ...broker.Publication) error {
	<-d.calm
	return d.ledger.Publish(ctx, messages...)
}

// TestWhatIsPublishedHoldsUpNobody: others are stored and acknowledged while a broker takes nothing. What publishes comes after what was written
// for its request before, and a shutdown waits for it.
func TestWhatIsPublishedHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := settlerBench(false)
		d := &deaf{ledger: l, calm: make(chan struct{})}
		s.sender = newSender(d, &hooks{}, s.persister)
		publishes := &flow{}
		publishes.Messages = []publish.Message{to("next")}
		a := requestOf("a")
		s.settle(settlement{req: a, record: []byte("{}")})
		s.settle(settlement{req: a, fate: late, record: []byte("{}"), flow: publishes})
		s.settle(settlement{req: requestOf("b"), fate: late, record: []byte("{}")})
		ended := make(chan struct{})
		go func() { defer close(ended); s.run(t.Context()) }()
		synctest.Wait()
		s.settle(settlement{req: requestOf("c"), fate: late, record: []byte("{}")})
		synctest.Wait()
		l.want(t, "store a b", "ack tag-b", "store c", "ack tag-c")
		close(d.calm)
		s.await(t.Context())
		l.want(t, "store a b", "ack tag-b", "store c", "ack tag-c", "publish next", "store a", "ack tag-a")
		s.close()
		<-ended
	})
}

// TestWhoConfirms: what is moved or published has the broker confirm it, unless that is one step with the acknowledgement.
func TestWhoConfirms(t *testing.T) {
	t.Parallel()
	publishes, counts := &flow{then: []publish.Message{to("errback")}}, &flow{parts: []part{{}}}
	apart, _ := settlerBench(false)
	together, _ := settlerBench(true)
	for _, c := range []struct {
		settlement settlement
		confirms   bool
	}{
		{settlement{}, false},
		{settlement{fate: late}, false},
		{settlement{fate: late, flow: counts}, false},
		{settlement{fate: late, flow: publishes}, true},
		{settlement{flow: publishes}, true},
		{settlement{fate: requeue}, true},
		{settlement{fate: forward}, true},
		{settlement{fate: burial}, true},
		{settlement{fate: park}, true},
	} {
		if apart.confirms(&c.settlement) != c.confirms || together.confirms(&c.settlement) {
			t.Errorf("fate %d: confirms: %v, want %v; %v where that is one step", c.settlement.fate, !c.confirms, c.confirms, together.confirms(&c.settlement))
		}
	}
}
