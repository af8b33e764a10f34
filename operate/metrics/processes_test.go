package metrics_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/worker"
)

// What an executor tells of its child processes; a worker without one tells nothing.
func TestChildProcesses(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	w := &fakeWorker{}
	m.Watch(w)
	none, _ := scrape(t, m.Handler())
	for series := range none {
		if strings.HasPrefix(series, "apium_child") {
			t.Errorf("without children there is %s", series)
		}
	}
	w.processes = []worker.ProcessState{{
		Executor: "python",
		Processes: worker.Processes{
			PIDs:    []int{os.Getpid(), os.Getpid(), 1 << 30},
			Started: map[worker.ProcessCause]int64{worker.ProcessStart: 2, worker.ProcessLost: 3},
			Ended:   map[worker.ProcessCause]int64{worker.ProcessLost: 3, worker.ProcessTimeLimit: 1},
		},
		Waits: worker.Waits{Counts: map[float64]uint64{.1: 2, .5: 3}, Count: 4, Sum: 3500 * time.Millisecond},
	}}
	got, _ := scrape(t, m.Handler())
	for series, want := range map[string]string{
		`apium_children{executor="python"}`:                                  "3.0",
		`apium_children_started_total{executor="python",reason="start"}`:     "2.0",
		`apium_children_started_total{executor="python",reason="lost"}`:      "3.0",
		`apium_children_started_total{executor="python",reason="max_tasks"}`: "0.0",
		`apium_children_ended_total{cause="lost",executor="python"}`:         "3.0",
		`apium_children_ended_total{cause="time_limit",executor="python"}`:   "1.0",
		`apium_children_ended_total{cause="stop",executor="python"}`:         "0.0",
		`apium_child_wait_seconds_bucket{executor="python",le="0.1"}`:        "2",
		`apium_child_wait_seconds_bucket{executor="python",le="+Inf"}`:       "4",
		`apium_child_wait_seconds_sum{executor="python"}`:                    "3.5",
	} {
		if got[series] != want {
			t.Errorf("%s is %q, want %q", series, got[series], want)
		}
	}
}
