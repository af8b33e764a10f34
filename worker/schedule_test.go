package worker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
)

// newTestSchedule is a schedule with room for two in memory, and a broker that parks.
func newTestSchedule(n *notes, consumer *deadbroker) *schedule {
	p := &parking{
		parker: consumer, unparker: consumer, recaller: consumer, log: noLog,
		revocations: &revocations{ids: newMemory(10, time.Hour), log: noLog},
		settler:     newSettler(settlerDeps{}, &persister{}),
		takeBack:    func(d broker.Delivery) bool { n.add("back %s", d.Tag); return false },
	}
	return &schedule{
		memory: newTimetable(n.does("due")), parking: p, parkAfter: time.Minute, most: 2, log: noLog,
		waiting: func() int { return 0 }, bytes: func() int { return 0 }, giveBack: n.does("give back"), takeBack: p.takeBack,
	}
}

// parked returns the ids of the requests that are being parked.
func (s *schedule) parked() (ids []string) {
	for len(s.parking.settler.queue) > 0 {
		if got := <-s.parking.settler.queue; got.fate == park {
			ids = append(ids, got.req.ID)
		}
	}
	return ids
}

// unparking takes parked messages back until end is called.
func (s *schedule) unparking(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.unpark(ctx) }()
	return func() { cancel(); <-done }
}

// What is due soon waits in memory; what is due later, or finds no room, is parked.
func TestScheduleHoldsOrParks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n notes
		s := newTestSchedule(&n, &deadbroker{})
		wait := func(id string, in time.Duration) {
			r := task(id, nil)
			r.due = time.Now().Add(in)
			s.wait(r)
		}
		wait("far", 61*time.Second)
		wait("near", time.Minute)
		wait("nearer", time.Second)
		wait("one too many", time.Second)
		if got := s.parked(); !slices.Equal(got, []string{"far", "one too many"}) {
			t.Errorf("parked: %v", got)
		}
		s.parking.parker = nil
		wait("for whom there is no parking", time.Hour)
		if got := s.parked(); len(got) > 0 || s.memory.len() != 3 {
			t.Errorf("without parking, %v are parked and %d in memory", got, s.memory.len())
		}
		s.memory.close()
		wait("too late", time.Second)
		if got := n.take(); !slices.Equal(got, []string{"give back too late"}) {
			t.Errorf("after close: %v", got)
		}
	})
}

// Parked messages are taken back ten seconds before they are due, as many as there is room
// for, and an outage of the broker is said once.
func TestScheduleTakesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n notes
		consumer := &deadbroker{}
		s := newTestSchedule(&n, consumer)
		var busy atomic.Int64
		s.waiting = func() int { return int(busy.Load()) }
		defer s.unparking(t)()
		synctest.Wait()
		if got := n.take(); !slices.Equal(got, []string{"back parked"}) {
			t.Errorf("%v", got)
		}
		if got := consumer.notes.take(); !slices.Equal(got, []string{"due within 10s, at most 2"}) {
			t.Errorf("the broker was asked %v", got)
		}
		busy.Store(2)
		time.Sleep(10 * parkLook)
		synctest.Wait()
		if got := consumer.notes.take(); len(got) > 0 {
			t.Errorf("without room the broker was asked %v", got)
		}
	})
}

// While there are more than there was room for, they are taken as soon as there is room, and not at the next look.
func TestScheduleTakesBackMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n notes
		consumer := &deadbroker{}
		s := newTestSchedule(&n, consumer)
		var busy atomic.Int64
		s.most, s.waiting = 1, func() int { return int(busy.Load()) }
		s.takeBack = func(broker.Delivery) bool { busy.Add(1); return false }
		defer s.unparking(t)()
		for range 10 {
			synctest.Wait()
			if got := consumer.notes.take(); !slices.Equal(got, []string{"due within 10s, at most 1"}) {
				t.Fatalf("the broker was asked %v", got)
			}
			time.Sleep(roomLook)
			busy.Store(0)
			time.Sleep(roomLook)
		}
	})
}

// What was revoked while it was being parked is recalled, and a consumer that says that it
// cannot park is believed.
func TestParking(t *testing.T) {
	t.Parallel()
	var n notes
	consumer := &deadbroker{}
	s := newTestSchedule(&n, consumer)
	s.parking.revocations.note("b")
	s.parking.recallRevoked(t.Context(), []*request{task("a", nil), task("b", nil)})
	s.parking.settler.await(t.Context())
	if got := append(consumer.notes.take(), n.take()...); !slices.Equal(got, []string{"recall [b]", "back recalled"}) {
		t.Errorf("%v", got)
	}
	s.parking.try(t.Context())
	if !s.parking.able() {
		t.Error("a consumer that parks is not believed")
	}
	consumer.answers(nil, errors.ErrUnsupported)
	if s.parking.try(t.Context()); s.parking.able() {
		t.Error("a consumer that cannot park is asked to")
	}
}

// slowDue is a broker that has more parked messages than are asked for, and takes its time.
type slowDue struct {
	deadbroker
	start time.Time
}

func (d *slowDue) Due(_ context.Context, _ time.Time, limit int) ([]broker.Delivery, error) {
	d.notes.add("%d at %v", limit, time.Since(d.start))
	time.Sleep(10 * time.Millisecond)
	return make([]broker.Delivery, limit), nil
}

// What is not due yet is taken in small portions, and between two of them the broker is left alone for as long; what is
// due is taken in large ones, at once.
func TestScheduleTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n notes
		consumer := &slowDue{start: time.Now()}
		s := newTestSchedule(&n, &consumer.deadbroker)
		s.parking.unparker, s.most = consumer, 10_000
		s.takeBack = func(broker.Delivery) bool { return time.Since(consumer.start) > 45*time.Millisecond } // then all are due
		defer s.unparking(t)()
		time.Sleep(75 * time.Millisecond)
		want := []string{"100 at 0s", "100 at 20ms", "100 at 40ms", "500 at 50ms", "500 at 60ms", "500 at 70ms"}
		if got := consumer.notes.take(); !slices.Equal(got, want) {
			t.Errorf("the broker was asked for %q, want %q", got, want)
		}
	})
}

// Memory is bounded by bytes, too. What was taken back stays, and where nothing waits, something may.
func TestScheduleIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	var n notes
	s := newTestSchedule(&n, &deadbroker{})
	s.most = 1000
	held := heldBytes
	s.bytes = func() int { return held }
	wait := func(id string, unparked bool) {
		r := task(id, nil)
		r.due, r.unparked = time.Now().Add(time.Second), unparked
		s.wait(r)
	}
	if room := s.room(); room != 1000 {
		t.Errorf("where nothing waits, there is room for %d", room)
	}
	wait("the only one", false)
	if room := s.room(); room != 0 {
		t.Errorf("there is room for %d", room)
	}
	wait("one too many", false)
	wait("taken back", true)
	held--
	wait("fits", false)
	if got := s.parked(); !slices.Equal(got, []string{"one too many"}) || s.memory.len() != 3 || s.room() != 997 {
		t.Errorf("parked: %v; %d in memory, and room for %d", got, s.memory.len(), s.room())
	}
}
