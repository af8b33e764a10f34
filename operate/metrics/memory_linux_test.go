package metrics_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/worker"
)

// The memory of child processes is added up; one that has just ended has none.
func TestMemoryOfChildren(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	m.Watch(&fakeWorker{processes: []worker.ProcessState{{
		Executor: "python", Processes: worker.Processes{PIDs: []int{os.Getpid(), os.Getpid(), 1 << 30}},
	}}})
	got, _ := scrape(t, m.Handler())
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	rss, _ := strconv.ParseFloat(got[`apium_children_rss_bytes{executor="python"}`], 64)
	pss, _ := strconv.ParseFloat(got[`apium_children_pss_bytes{executor="python"}`], 64)
	if own := pages * float64(os.Getpagesize()); rss < own || rss > 8*own || pss <= 0 || pss > rss {
		t.Errorf("RSS %g and PSS %g of two processes of %g bytes", rss, pss, own)
	}
}
