package redisbroker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

// What several workers report adds up to what there is.
func TestQueueLengthsAreReportedOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	workers := []*redisbroker.Consumer{
		s.open(t, redisbroker.Config{Queues: broker.Named("a", "b")}),
		s.open(t, redisbroker.Config{Queues: broker.Named("b", "c")}),
		s.open(t, redisbroker.Config{Queues: broker.Named("a", "b", "c")}),
	}
	s.Do(t, "LPUSH", "a", envelopetest.New("a", "1", 0))
	s.Do(t, "LPUSH", "b", envelopetest.New("b", "2", 0), envelopetest.New("b", "3", 0))
	s.Do(t, "LPUSH", "b\x06\x169", envelopetest.New("b", "4", 9))
	sum := map[string]int{}
	reports := 0
	for _, w := range workers {
		lengths, err := w.QueueLengths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for q, n := range lengths {
			sum[q] += n
			reports++
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 3, "c": 0}, sum); diff != "" || reports != 3 {
		t.Errorf("%d reports (-want +got):\n%s", reports, diff)
	}
}
