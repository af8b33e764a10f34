package worker

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTimetableIsOnTimeAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		type due struct {
			seq   uint64
			after time.Duration
		}
		var got []due
		s := newTimetable(func(r *request) { got = append(got, due{r.seq, time.Since(start)}) })
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() { s.run(stop); close(done) }()

		add := func(seq uint64, in time.Duration) {
			s.add(&request{seq: seq, due: start.Add(in)})
		}
		add(1, time.Hour)
		add(2, time.Second)
		add(4, 2*time.Second)
		add(3, 2*time.Second)
		add(5, 48*time.Hour)
		synctest.Wait()
		time.Sleep(90 * time.Minute)
		close(stop)
		<-done

		want := []due{{2, time.Second}, {3, 2 * time.Second}, {4, 2 * time.Second}, {1, time.Hour}}
		if len(got) != len(want) {
			t.Fatalf("due: %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("due[%d] = %v, want %v", i, got[i], want[i])
			}
		}
		if left := s.close(); len(left) != 1 || left[0].seq != 5 {
			t.Errorf("left at close: %v, want request 5", left)
		}
		if s.add(&request{}) {
			t.Error("add succeeds after close")
		}
	})
}
