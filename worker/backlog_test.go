package worker

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBacklogWant(t *testing.T) {
	t.Parallel()
	const limit, slots = 8, 2
	late := func() *request { return &request{acksLate: true} }
	early := func() *request { return &request{} }

	b := newTestBacklog(t, limit, slots)
	check := func(step string, want int) {
		t.Helper()
		if got, _ := b.want(); got != want {
			t.Errorf("%s: want() = %d, should be %d", step, got, want)
		}
	}
	check("empty", 8)
	for range 3 {
		b.push(late())
	}
	check("more than half is free", 5)
	for range 3 {
		b.push(early())
	}
	check("less than half is free and both slots have work waiting", 0)
	for range 5 {
		b.take(never)
	}
	check("a slot would soon idle; late acks still count", 4)
	b.take(never)
	check("early acks do not count once they run", 5)
	for range 3 {
		b.ran(late(), 0)
	}
	check("all done", 8)
	for range limit + 1 {
		b.push(late())
	}
	check("tasks whose ETA came may exceed the limit", 0)
}

// What goes back because a slot was stuck leaves room, and the claim loop is told: the slot may be idle by then, and nothing
// else would tell it.
func TestBacklogTellsOfTheRoomThatSurplusLeaves(t *testing.T) {
	t.Parallel()
	room := make(chan struct{}, 1)
	b := newBacklog(1, 1, true, room)
	b.returns, b.acceptAhead, b.limit = true, 64, 2
	first, second := &request{acksLate: true}, &request{acksLate: true}
	for _, r := range []*request{first, second} {
		b.push(r)
		b.accept([]*request{r}, 0)
		b.ready = nil
	}
	if r, _ := b.take(never); r != first {
		t.Fatal("not the first one")
	}
	b.stalled()
	b.ran(first, time.Minute)
	select {
	case <-room:
	default:
	}
	for looks := 0; ; looks++ {
		if surplus, _, _ := b.stalled(); len(surplus) == 1 {
			break
		}
		if looks > 100 {
			t.Fatal("nothing goes back")
		}
	}
	if want, _ := b.want(); want != 1 || len(room) != 1 {
		t.Errorf("room for %d, and %d signals", want, len(room))
	}
}

// Where the limit was given, what is being acknowledged leaves room. If slots are stuck before it has started, it is held again, and
// what was claimed for its place goes back at the same time.
func TestBacklogKeepsTheGivenLimit(t *testing.T) {
	t.Parallel()
	const limit = 8
	b := newBacklog(limit, 1, false, make(chan struct{}, 1))
	b.returns, b.counts, b.acceptAhead = true, true, acceptedAhead
	b.idle, b.trip, b.pace.average = 1, time.Millisecond, time.Microsecond
	fill := func() (requests []*request) {
		for range limit {
			r := &request{tag: "t"}
			b.push(r)
			requests = append(requests, r)
		}
		return requests
	}
	first := fill()
	accepted, _ := b.next(nil)
	if want, _ := b.want(); !slices.Equal(accepted, first) || want != limit {
		t.Fatalf("%d are acknowledged, and there is room for %d", len(accepted), want)
	}
	second := fill()
	b.accept(accepted, time.Millisecond)
	if _, free := b.want(); free != -limit {
		t.Errorf("room for %d where as many may start as there may be, and as many wait", free)
	}
	started, _ := b.take(never)
	for looks := 0; ; looks++ {
		surplus, back, _ := b.stalled()
		if looks > 100 {
			t.Fatal("slots are stuck, and nothing happens")
		}
		if len(surplus)+len(back) == 0 {
			continue
		}
		if started != first[0] || !slices.Equal(back, first[1:]) || !slices.Equal(surplus, second[1:]) {
			t.Errorf("%d are held again, %d go back, of %d", len(back), len(surplus), limit)
		}
		b.heldAgain(back)
		break
	}
	if want, free := b.want(); want != 0 || free != 0 || b.waiting() != limit {
		t.Errorf("%d wait, and there is room for %d", b.waiting(), free)
	}
}

// Where a worker has room for many messages, it does not claim all of them at once: acknowledgements would wait behind that.
func TestBacklogWantsPortions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ limit, slots, waiting, want int }{
		{256, 2, 0, 64},
		{256, 2, 192, 64},
		{256, 2, 193, 0},
		{256, 80, 0, 80},
		{256, 80, 176, 80},
		{256, 80, 177, 0},
		{100, 2, 50, 50},
		{100, 2, 51, 0},
		{4000, 1000, 0, 1000},
	} {
		b := newBacklog(tt.limit, tt.slots, false, make(chan struct{}, 1))
		for range tt.waiting {
			b.push(&request{acksLate: true})
		}
		if got, free := b.want(); got != tt.want || free != tt.limit-tt.waiting {
			t.Errorf("%+v: want() = %d, %d", tt, got, free)
		}
	}
}

func TestBacklogTellsTheClaimLoopOnce(t *testing.T) {
	t.Parallel()
	b := newTestBacklog(t, 1, 1)
	b.push(&request{})
	if n, free := b.want(); n != 0 || free != 0 {
		t.Fatal("a full backlog wants more")
	}
	b.take(never)
	select {
	case <-b.room:
	default:
		t.Fatal("no signal although there is room")
	}
}

func TestBacklogClose(t *testing.T) {
	t.Parallel()
	b := newTestBacklog(t, 4, 1)
	first, second := &request{seq: 1}, &request{seq: 2}
	b.push(first)
	b.push(second)
	if r, ok := b.take(never); !ok || r != first {
		t.Fatalf("take = %v, %v", r, ok)
	}
	if left := b.close(); len(left) != 1 || left[0] != second {
		t.Errorf("close = %v, want the second request", left)
	}
	if _, ok := b.take(never); ok {
		t.Error("take succeeds after close")
	}
	if b.push(first) {
		t.Error("push succeeds after close")
	}
}

func TestBacklogDoesNotGrowWhileItIsBusy(t *testing.T) {
	t.Parallel()
	b := newTestBacklog(t, 8, 1)
	const waiting, rounds = 5, 10_000
	for seq := range uint64(waiting + rounds) {
		b.push(&request{seq: seq})
		if seq < waiting {
			continue
		}
		if r, ok := b.take(never); !ok || r.seq != seq-waiting {
			t.Fatalf("take = %v, %v after %d requests", r, ok, seq)
		}
	}
	if n := b.waiting(); n != waiting || cap(b.ready) > 8*waiting {
		t.Errorf("%d requests wait in a slice of %d", n, cap(b.ready))
	}
}

func never() bool { return false }

// newTestBacklog returns a backlog whose requests are all accepted.
func newTestBacklog(t *testing.T, prefetch, slots int) *backlog {
	b := newBacklog(prefetch, slots, false, make(chan struct{}, 1))
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for requests, open := b.next(nil); open; requests, open = b.next(nil) {
			b.accept(requests, 0)
		}
	})
	t.Cleanup(func() { b.close(); accepting.Wait() })
	return b
}

// Acknowledgements are made ahead where a handler takes less than eight of them.
func TestBacklogAcceptsAhead(t *testing.T) {
	t.Parallel()
	for run, want := range map[time.Duration]int{
		time.Microsecond: 64, 75 * time.Microsecond: 4, 400 * time.Microsecond: 1, 1199 * time.Microsecond: 1, 1201 * time.Microsecond: 0, time.Second: 0,
	} {
		b := newTestBacklog(t, 8, 2)
		b.mu.Lock()
		b.acceptAhead, b.trip, b.pace.average = acceptedAhead, 150*time.Microsecond, run
		n := b.aheadLocked()
		b.mu.Unlock()
		if n != want {
			t.Errorf("handlers of %v: %d ahead, want %d", run, n, want)
		}
	}
}

// Slots of other processes are given what they run in half a millisecond, if handlers are as short.
func TestBacklogAcceptsForOtherProcesses(t *testing.T) {
	t.Parallel()
	for run, want := range map[time.Duration]int{
		time.Microsecond: 64, 200 * time.Microsecond: 5, 1199 * time.Microsecond: 1, 1201 * time.Microsecond: 0,
	} {
		b := newTestBacklog(t, 8, 2)
		b.mu.Lock()
		b.acceptAhead, b.acceptFor, b.trip, b.pace.average = acceptedAhead, acceptedFor, 150*time.Microsecond, run
		n := b.aheadLocked()
		b.mu.Unlock()
		if n != want {
			t.Errorf("handlers of %v: %d ahead, want %d", run, n, want)
		}
	}
}

// One acknowledgement that took as long as an outage does not have long tasks accepted ahead.
func TestOutageDoesNotAcceptLongTasksAhead(t *testing.T) {
	t.Parallel()
	b := newBacklog(8, 4, true, make(chan struct{}, 1))
	b.acceptAhead = acceptedAhead
	for range 50 {
		b.ran(&request{}, 100*time.Millisecond)
	}
	b.accept(nil, 30*time.Second)
	if n := b.aheadLocked(); n != 0 {
		t.Errorf("%d tasks are accepted ahead", n)
	}
}
