package worker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/tasks"
)

// Requests get their turn in order and at the rate; what comes when a thousand wait is parked
// until about its turn, and what comes after close goes back.
func TestLimitsByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n notes
		var parked []time.Duration
		parks := false
		ls := &limits{
			parks: func() bool { return parks }, start: n.does("start"), giveBack: n.does("give back"),
			park: func(r *request) { parked = append(parked, time.Until(r.due)) },
		}
		config := &taskConfig{entry: &tasks.Entry{Name: "app.task"}}
		ls.set(config, 0)
		if len(ls.all()) > 0 {
			t.Error("no limit is one")
		}
		ls.set(config, 2)
		for i := range 3 {
			ls.wait(task(fmt.Sprint(i), config))
		}
		if got := n.take(); !slices.Equal(got, []string{"start 0"}) || ls.waiting() != 2 {
			t.Errorf("at once: %v, and %d wait", got, ls.waiting())
		}
		time.Sleep(500*time.Millisecond + 1)
		synctest.Wait()
		if got := n.take(); !slices.Equal(got, []string{"start 1"}) {
			t.Errorf("after half a second: %v", got)
		}
		ls.set(config, 0)
		if got := n.take(); !slices.Equal(got, []string{"start 2"}) {
			t.Errorf("without a limit: %v", got)
		}
		ls.set(config, 50)
		parks = true
		for range limitHeld + 3 {
			ls.wait(task("x", config))
		}
		if len(parked) != 2 || ls.waiting() != limitHeld || parked[1]-parked[0] != 20*time.Millisecond || parked[0].Round(time.Second) != 20*time.Second {
			t.Errorf("%d wait, and these are parked: %v", ls.waiting(), parked)
		}
		if left := ls.close(); len(left) != limitHeld {
			t.Errorf("%d are left", len(left))
		}
		n.take()
		ls.wait(task("late", config))
		if got := n.take(); !slices.Equal(got, []string{"give back late"}) {
			t.Errorf("after close: %v", got)
		}
	})
}

func TestDisabledLimits(t *testing.T) {
	t.Parallel()
	config := &taskConfig{entry: &tasks.Entry{Name: "app.task"}}
	(&limits{disabled: true}).set(config, 1)
	if config.limiter.Load() != nil {
		t.Error("a limit is set although there are to be none")
	}
}
