package compat_test

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scrape returns the series of a page of Prometheus text and their values.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", url, answer.Status, err, tail(string(text), 1000))
	}
	samples := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			t.Fatalf("%s: %v in %q", url, err, line)
		}
		samples[sortLabels(line[:i])] = value
	}
	return samples
}

// sortLabels writes the labels of a series in one order, and bounds as celery-exporter does.
func sortLabels(series string) string {
	name, labels, _ := strings.Cut(series, "{")
	list := regexp.MustCompile(`\w+="[^"]*"`).FindAllString(labels, -1)
	for i, l := range list {
		list[i] = wholeBound.ReplaceAllString(l, `le="$1.0"`)
	}
	slices.Sort(list)
	return name + "{" + strings.Join(list, ",") + "}"
}

var wholeBound = regexp.MustCompile(`^le="(\d+)"$`)

// sum adds up the series whose name and labels match.
func sum(samples map[string]float64, pattern string) (total float64) {
	for series, value := range samples {
		if matches(pattern, series) {
			total += value
		}
	}
	return total
}

var metricsAddress = regexp.MustCompile(`Metrics at (\S+)`)

// metricsURL is the page of a worker started with --metrics-addr 127.0.0.1:0.
func metricsURL(t *testing.T, w *process) string {
	t.Helper()
	url := metricsAddress.FindStringSubmatch(w.log.String())
	if url == nil {
		t.Fatal("the worker does not say where its metrics are")
	}
	return url[1]
}

// What celery-exporter gets wrong when a task's steps reach it before its producer's
// task-sent: the name of one that was revoked at once, and the host of its next steps.
var (
	earlyEnd = regexp.MustCompile(`^(celery_task_revoked.*name=")features.plain`)
	taskHost = regexp.MustCompile(`hostname="[^"]*",(.*\bname=)`)
)

// exported keeps what celery-exporter tells of the worker w1@example and its tasks, under
// the names a worker gives them, not their shadows. It hears nothing of silent tasks, and
// no two runs take the same time.
func exported(samples map[string]float64) map[string]float64 {
	kept := map[string]float64{}
	for series, value := range samples {
		if value == 0 || // a worker has the zeros of all steps from a task's first one on
			!strings.HasPrefix(series, "celery_") || matches(".*(queue_wait_time|runtime_sum|_created|features.silent).*", series) {
			continue
		}
		if strings.HasPrefix(series, "celery_task_sent") {
			if !strings.Contains(series, `hostname="example"`) {
				continue
			}
		} else {
			series = taskHost.ReplaceAllString(series, "$1")
		}
		series = strings.NewReplacer("features.nosuch", "None", "shop.pretty", "features.plain").Replace(series)
		kept[earlyEnd.ReplaceAllString(series, "${1}None")] += value
	}
	return kept
}

// TestExporter has a worker's events counted by celery-exporter's logic, and compares its
// figures with those the worker serves.
func TestExporter(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	sent := map[string]any{"task_send_sent_event": true}
	a := app{broker: server.url(0), journal: server.url(1), module: "features", settings: sent}
	port := strconv.Itoa(freePort(t))
	exporter := start(t, "exporter", appDir, a.env(t), a.python(), "exporter.py", port)
	exporter.waitLog(t, "listening")
	w := startWorker(t, a, "-n", "w1@example", "-E", "-c", "4", "-Q", "celery,other", "--metrics-addr", "127.0.0.1:0",
		"--config", settingsFile(t, sent))
	own, theirs := metricsURL(t, w), "http://127.0.0.1:"+port+"/metrics"
	same := func() {
		t.Helper()
		var diff string
		t.Cleanup(func() {
			if diff != "" {
				t.Errorf("(-exporter +worker):\n%s", diff)
			}
		})
		eventually(t, patience, "the figures are the same", func() bool {
			diff = cmp.Diff(exported(scrape(t, theirs)), exported(scrape(t, own)))
			return diff == ""
		})
	}
	a.run(t, nil, "events.py", "send")
	eventually(t, patience, "the task to be terminated runs alone", func() bool {
		return server.idle(t, "celery") && sum(scrape(t, own), "celery_worker_tasks_active{.*") == 1
	})
	a.run(t, nil, "import tapp; tapp.app.control.revoke('terminated', terminate=True)")
	same()

	a.run(t, nil, `import tapp
tapp.app.control.pool_grow(2)
tapp.app.control.add_consumer("added")
`)
	eventually(t, patience, "remote control has had its effect", func() bool {
		return sum(scrape(t, own), `celery_active_process_count{.*"added".*`) == 6
	})
	same()

	a.run(t, nil, `import tapp
for _ in range(40):
    tapp.app.send_task("features.plain", [[[["sleep", 60]]]])
`)
	eventually(t, patience, "all slots are taken and messages wait", func() bool {
		figures := scrape(t, own)
		return sum(figures, "celery_worker_tasks_active{.*") == 6 && sum(figures, "celery_queue_length{.*") > 0
	})
	same()
}
