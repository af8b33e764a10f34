package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/tasks"
)

// newTestUnknown is what answers for unknown tasks, with one policy for all queues.
func newTestUnknown(n *notes, policy tasks.UnknownPolicy) *unknownTasks {
	h := &handover{
		makeWay: func() { n.add("make way") }, settle: n.settles, giveBack: n.does("give back"), log: noLog,
	}
	h.kept = newTimetable(h.release)
	u := &unknownTasks{
		policy: policy, handover: h, fail: n.does("fail"),
		bury: func(r *request, reason, detail string) { n.add("bury %s: %s %s", r.ID, reason, detail) },
	}
	h.policy = u.policyOf
	return u
}

func TestUnknownTasksFollowThePolicy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy tasks.UnknownPolicy
		want   string
	}{
		{tasks.UnknownPolicy{}, "fail 1"},
		{tasks.UnknownPolicy{Action: tasks.UnknownPark}, "bury 1: unregistered app.task"},
		{tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"}, "forward 1 to python"},
		{tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "celery"}, "fail 1"}, // it came from there
		{tasks.UnknownPolicy{Action: tasks.UnknownLeave}, "requeue 1"},
	} {
		var n notes
		newTestUnknown(&n, test.policy).answer(task("1", nil))
		if got := n.take(); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%+v: %v, want %s", test.policy, got, test.want)
		}
	}
	var n notes
	u := newTestUnknown(&n, tasks.UnknownPolicy{})
	u.byQueue = map[string]tasks.UnknownPolicy{"celery": {Action: tasks.UnknownPark}}
	u.answer(task("1", nil))
	if got := n.take(); !slices.Equal(got, []string{"bury 1: unregistered app.task"}) {
		t.Errorf("the queue's own policy: %v", got)
	}
}

// A message goes on at once when it is met for the first time. One that comes again is kept,
// for longer each time, and others get what goes back then.
func TestHandoverKeepsWhatComesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n notes
		u := newTestUnknown(&n, tasks.UnknownPolicy{Action: tasks.UnknownLeave})
		u.handover.moves = true
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); u.handover.kept.run(stop) }()
		for _, wait := range []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 2 * time.Second} {
			u.answer(task("1", nil))
			want := []string{"forward 1 to celery"}
			if wait > 0 {
				time.Sleep(wait - time.Nanosecond)
				synctest.Wait()
				if got := n.take(); len(got) > 0 {
					t.Errorf("before %v: %v", wait, got)
				}
				want = []string{"make way", "forward 1 to celery"}
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := n.take(); !slices.Equal(got, want) {
				t.Errorf("after %v: %v, want %v", wait, got, want)
			}
		}
		close(stop)
		<-done
	})
}
