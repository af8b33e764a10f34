package compat_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/tasks"
)

// sendSame has Python send tapp.same and wait for its results; the ids are returned.
func sendSame(t *testing.T, a app, n int) (ids []string) {
	t.Helper()
	var got struct {
		IDs     []string
		Results []int
	}
	a.run(t, &got, `
import json, sys, tapp
sent = [tapp.same.delay(i) for i in range(int(sys.argv[1]))]
print(json.dumps({"IDs": [r.id for r in sent], "Results": [r.get(timeout=tapp.PATIENCE) for r in sent]}))
`, fmt.Sprint(n))
	for i, result := range got.Results {
		if result != i {
			t.Errorf("result %d is %d", i, result)
		}
	}
	if len(got.Results) != n {
		t.Errorf("%d results of %d", len(got.Results), n)
	}
	return got.IDs
}

// TestShare runs a share of a task's messages in Go, and the rest in the children of the same worker. Remote control
// changes the share, and metrics tell how both do.
func TestShare(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0)}
	w := start(t, "apium worker", appDir, a.env(t), workerBinary, "-A", "tapp", "--python", a.python(), "worker", "-c", "1", "-l", "info",
		"--share", "tapp.same=20%", "--metrics-addr", "127.0.0.1:0")
	w.waitLog(t, " ready.")
	succeeded := regexp.MustCompile(`/(\w+?)(?:-\d+)?\] Task tapp\.same\[(\S+)\] succeeded`)
	ranIn := func(ids []string) map[string]string {
		var in map[string]string
		eventually(t, patience, "the log tells of all", func() bool {
			in = map[string]string{}
			for _, match := range succeeded.FindAllStringSubmatch(w.log.String(), -1) {
				if slices.Contains(ids, match[2]) {
					in[match[2]] = match[1]
				}
			}
			return len(in) == len(ids)
		})
		return in
	}
	const n = 60
	ids := sendSame(t, a, n)
	want, inGo := map[string]string{}, 0
	for _, id := range ids {
		want[id] = "ForkPoolWorker"
		if (tasks.WholeShare / 5).Takes(id) {
			want[id] = "MainProcess"
			inGo++
		}
	}
	if diff := cmp.Diff(want, ranIn(ids)); diff != "" {
		t.Errorf("where they ran (-want +got):\n%s", diff)
	}
	figures := scrape(t, metricsURL(t, w))
	for executor, count := range map[string]int{"go": inGo, "python": n - inGo} {
		series := `apium_shared_task_runtime_seconds_count{executor="` + executor + `",name="tapp.same",state="SUCCESS"}`
		if figures[series] != float64(count) {
			t.Errorf("%s is %v, want %d", series, figures[series], count)
		}
	}
	if got := figures[`apium_task_share_ratio{name="tapp.same"}`]; got != 0.2 {
		t.Errorf("the share is told as %v", got)
	}

	for share, place := range map[string]string{"0%": "ForkPoolWorker", "100%": "MainProcess"} {
		p := start(t, "apium control share", "", a.env(t), apiumBinary, "-b", a.broker, "control", "share", "tapp.same", share)
		eventually(t, patience, "it ends", p.stopped)
		if !p.log.contains("takes " + share + ", leaves the others to python") {
			t.Errorf("apium control share: %s", p.log.String())
		}
		ids := sendSame(t, a, 5)
		for id, got := range ranIn(ids) {
			if got != place {
				t.Errorf("at %s, %s ran in %s", share, id, got)
			}
		}
	}
}

// TestShareBesidePython leaves the rest to Celery's worker on the same queue.
func TestShareBesidePython(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0)}
	python := a.startWorker(t)
	ours := startWorker(t, a, "--share", "tapp.same=30%")
	ids := sendSame(t, a, 200)
	taken := 0
	for _, id := range ids {
		switch ran := ours.log.contains("tapp.same[" + id + "] received"); {
		case ran && !(tasks.WholeShare * 3 / 10).Takes(id):
			t.Errorf("%s is not in the share, and ran here", id)
		case ran:
			taken++
		}
	}
	if taken == 0 || !strings.Contains(python.log.String(), "tapp.same[") {
		t.Errorf("%d were taken, the others left", taken)
	}
}
