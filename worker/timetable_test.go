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

// When many are due at once, the first do not wait until all others are taken out.
func TestTimetableStartsBeforeItHasAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 10 * popMost
		var s *timetable
		passed, left := 0, 0
		s = newTimetable(func(*request) {
			if passed++; passed == 1 {
				left = s.len()
			}
		})
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { s.run(stop); close(done) }()
		for seq := range uint64(n) {
			s.add(&request{seq: seq, due: time.Now().Add(time.Second)})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		close(stop)
		<-done
		if passed != n || left != n-popMost {
			t.Errorf("%d were passed on, and %d were left when the first was", passed, left)
		}
	})
}
