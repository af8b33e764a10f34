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
		takeBack:    func(d broker.Delivery) { n.add("back %s", d.Tag) },
	}
	return &schedule{
		memory: newTimetable(n.does("due")), parking: p, parkAfter: time.Minute, most: 2, log: noLog,
		waiting: func() int { return 0 }, giveBack: n.does("give back"), takeBack: p.takeBack,
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

// Parked messages are taken back three seconds before they are due, as many as there is room
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
		if got := consumer.notes.take(); !slices.Equal(got, []string{"due within 3s, at most 2"}) {
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
		s.takeBack = func(broker.Delivery) { busy.Add(1) }
		defer s.unparking(t)()
		for range 10 {
			synctest.Wait()
			if got := consumer.notes.take(); !slices.Equal(got, []string{"due within 3s, at most 1"}) {
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
