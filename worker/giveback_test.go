package worker

import (
	"slices"
	"testing"

	"github.com/apium/apium/broker"
)

// Messages go back in the order in which they were claimed, each once, and none that is
// somebody else's by now.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	consumer := &deadbroker{}
	g := &givenBack{consumer: consumer, returner: consumer, leases: newLeases(&Config{Consumer: consumer, Logger: noLog.Logger}, broker.Abilities{}), persister: &persister{log: noLog}, log: noLog}
	claimed := func(seq uint64, tag string) *request {
		r := task(tag, nil)
		r.seq, r.tag = seq, tag
		g.leases.add(r)
		return r
	}
	first, second, third, lost := claimed(1, "first"), claimed(2, "second"), claimed(3, "third"), claimed(4, "lost")
	lost.lose()
	g.add(third)
	g.add(first)
	g.giveBack(t.Context(), append(g.take(), second, lost, first))
	g.giveBack(t.Context(), g.take())
	g.takeBack(t.Context(), []*request{second})
	g.takeBack(t.Context(), nil)
	if got, want := consumer.notes.take(), []string{"requeue at 0: first second third", "return: second"}; !slices.Equal(got, want) {
		t.Errorf("the broker was told %q, want %q", got, want)
	}
	if n := g.leases.len(); n != 1 {
		t.Errorf("%d leases are left, want the lost one", n)
	}
}
