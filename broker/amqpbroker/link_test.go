package amqpbroker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
)

// delivered is a delivery of a link.
func delivered(l *link, number uint64, id string, body string) *delivery {
	return &delivery{
		Delivery: amqp.Delivery{DeliveryTag: number, CorrelationId: id, Body: []byte(body), Headers: amqp.Table{"id": id, "retries": int32(0)}},
		link:     l, sub: &subscription{source: &source{Queue: broker.Queue{Name: "q"}, name: "q"}},
	}
}

// One acknowledgement stands for many only if everything up to it was delivered here, and is settled.
func TestSettledThrough(t *testing.T) {
	t.Parallel()
	l := newLink(1, nil, nil)
	arrived := map[uint64]*delivery{}
	for i, step := range []struct {
		arrives, settled, want uint64
	}{
		{1, 0, 0}, {3, 0, 0}, {0, 1, 1}, {0, 3, 1}, // 2 is on its way
		{2, 0, 1}, {0, 2, 3}, {6, 0, 3}, {5, 0, 3}, {0, 5, 3}, {4, 0, 3}, {0, 4, 5}, {0, 6, 6},
	} {
		if n := step.arrives; n > 0 {
			arrived[n] = delivered(l, n, "", "")
			l.add(arrived[n])
		} else {
			l.remove(arrived[step.settled])
		}
		if got := l.settledThrough(); got != step.want {
			t.Errorf("step %d: settled through %d, want %d", i, got, step.want)
		}
	}
}

// Whatever the order in which messages come and are settled, what is settled through is right.
func TestSettledThroughInAnyOrder(t *testing.T) {
	t.Parallel()
	for range 200 {
		const n = 30
		l, open := newLink(1, nil, nil), map[uint64]*delivery{}
		settled, seen := [n + 2]bool{}, [n + 2]bool{}
		order := rand.Perm(n)
		for len(order) > 0 || len(open) > 0 {
			if len(order) > 0 && (len(open) == 0 || rand.IntN(2) == 0) {
				number := uint64(order[0] + 1)
				order = order[1:]
				open[number] = delivered(l, number, "", "")
				seen[number] = true
				l.add(open[number])
			} else {
				for number, d := range open { // in random order
					settled[number] = true
					l.remove(d)
					delete(open, number)
					break
				}
			}
			want := uint64(0)
			for seen[want+1] && settled[want+1] {
				want++
			}
			if got := l.settledThrough(); got != want {
				t.Fatalf("settled through %d, want %d", got, want)
			}
		}
		if l.oldest != nil || l.newest != nil || len(l.open) > 0 || len(l.seen) > 0 {
			t.Fatal("something is left of what was settled")
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	d := delivered(newLink(12, nil, nil), 345, "", "")
	if term, number, ok := parseTag(d.tag()); d.tag() != "12:345" || term != 12 || number != 345 || !ok {
		t.Errorf("%s: %d, %d, %v", d.tag(), term, number, ok)
	}
	for _, bad := range []string{"", "12", ":", "x:1", "1:x", "nobody's"} {
		if _, _, ok := parseTag(bad); ok {
			t.Errorf("%q is a tag", bad)
		}
	}
}

// As many messages are taken for those that run as run, and no others.
func TestHeirs(t *testing.T) {
	t.Parallel()
	l := newLink(1, nil, nil)
	for i, id := range []string{"runs", "runs", "ended", "waits", "went back"} {
		d := delivered(l, uint64(i+1), id, "body")
		d.running = id != "waits"
		l.add(d)
	}
	var os orphans
	os.adopt(l)
	settle := func(tag string, ack, known bool, heir *delivery) {
		t.Helper()
		if k, h := os.settle(tag, ack); k != known || h != heir {
			t.Errorf("%s: known %v, heir %v; want %v, %v", tag, k, h, known, heir)
		}
	}
	settle("1:3", true, true, nil)
	settle("1:3", true, false, nil) // it was
	settle("1:4", true, false, nil)
	settle("1:5", false, true, nil)
	next := newLink(2, nil, nil)
	heirs := 0
	for i, m := range []struct {
		id, body string
		heir     bool
	}{
		{"runs", "other", false},
		{"runs", "body", true},
		{"waits", "body", false},
		{"runs", "body", true},
		{"runs", "body", false},
		{"ended", "body", true},
		{"ended", "body", false},
		{"went back", "body", false},
	} {
		d := delivered(next, uint64(i+1), m.id, m.body)
		next.add(d)
		o := os.match(d)
		if (o != nil) != m.heir {
			t.Errorf("%+v: an heir %v", m, o != nil)
		}
		if o != nil {
			heirs++
			if o.done != (m.id == "ended") {
				t.Errorf("%+v: is done %v", m, o.done)
			}
		}
	}
	first := next.open[2]
	settle("1:1", true, true, first)
	os.adopt(next) // lost as well
	again := delivered(newLink(3, nil, nil), 1, "runs", "body")
	if o := os.match(again); o == nil || o.tag != "1:2" {
		t.Errorf("comes once more: %+v", o)
	}
	settle("1:2", false, true, again)
	if o := os.byTag; len(o) > 0 {
		t.Errorf("left: %v", o)
	}
}

// What has ended is remembered, but not for ever.
func TestEndedIsForgotten(t *testing.T) {
	t.Parallel()
	l := newLink(1, nil, nil)
	for i := range uint64(doneMost + 5) {
		d := delivered(l, i+1, fmt.Sprint(i), "")
		d.running = true
		l.add(d)
	}
	var os orphans
	os.adopt(l)
	for i := range doneMost + 5 {
		os.settle(fmt.Sprint("1:", i+1), true)
	}
	if len(os.byTag) != 0 || len(os.done) != doneMost || len(os.byID) != doneMost {
		t.Errorf("remembered: %d, %d, %d", len(os.byTag), len(os.done), len(os.byID))
	}
	next := newLink(2, nil, nil)
	if os.match(delivered(next, 1, "4", "")) != nil || os.match(delivered(next, 1, "5", "")) == nil {
		t.Error("another than the oldest was forgotten")
	}
}

// What overtook others on its way from the broker is claimed in the broker's order all the same.
func TestBufferKeepsTheOrder(t *testing.T) {
	t.Parallel()
	var b buffer
	put := func(numbers ...uint64) {
		for _, n := range numbers {
			b.put(&delivery{Delivery: amqp.Delivery{DeliveryTag: n}})
		}
	}
	take := func(limit int) (numbers []uint64) {
		for _, d := range b.take(limit, nil) {
			numbers = append(numbers, d.DeliveryTag)
		}
		return numbers
	}
	put(2, 1, 5, 3)
	if got, want := take(2), []uint64{1, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	put(4, 8, 6)
	if got, want := take(9), []uint64{3, 4, 5, 6, 8}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	put(9, 7) // what it overtook has gone
	if got, want := take(9), []uint64{7, 9}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
