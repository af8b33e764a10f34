package metrics_test

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/worker"
)

// exporterText is what the real exporter says. Its head line says where it comes from.
//
//go:embed testdata/celery-exporter.txt
var exporterText string

func sorted(s []string) []string { slices.Sort(s); return s }

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// replay tells a Metrics what happened in the capture's worker.
func replay() *metrics.Metrics {
	m := metrics.New(options())
	m.Watch(&fakeWorker{})
	steps(m, "tasks.add", "celery", received, started, succeeded(15*time.Millisecond))
	steps(m, "tasks.add", "other", received, started, succeeded(771859*time.Nanosecond))
	steps(m, "tasks.boom", "celery", received, started, failed("ValueError"))
	// The exporter counted the second delivery under the host of the task-sent event,
	// which reached it in between.
	steps(m, "tasks.again", "celery", received, started, retried, started, failed("KeyError"))
	steps(m, "tasks.rej", "celery", received, started, rejected)
	steps(m, "tasks.old", "celery", revoked)
	unknown := failed("NotRegistered")
	unknown.Reason = worker.ReasonUnknown
	steps(m, "nosuch.task", "celery", unknown)
	return m
}

// TestSameAsCeleryExporter compares each metric of celery-exporter (name, type, help,
// labels, buckets) and each value with ours for the same tasks.
func TestSameAsCeleryExporter(t *testing.T) {
	t.Parallel()
	samples, comments := scrape(t, replay().Handler())
	// The exporter learns the name of an unknown task from the producer's task-sent
	// event; without one it says None, and so does a worker always.
	text := strings.ReplaceAll(exporterText, `name="nosuch.task"`, `name="None"`)
	wantSamples, wantComments := parse(text)

	absent := []string{
		"celery_task_sent",             // the worker of the capture sends no such events
		"celery_active_consumer_count", // never has a series on Redis
	}
	for _, comment := range slices.Sorted(maps.Keys(wantComments)) {
		if name := strings.Fields(comment)[2]; !slices.Contains(absent, name) && !comments[comment] {
			t.Errorf("missing: %s", comment)
		}
	}
	for _, series := range slices.Sorted(maps.Keys(wantSamples)) {
		got, found := samples[series]
		if !found {
			t.Errorf("missing: %s", series)
			continue
		}
		if strings.HasPrefix(series, "celery_task_runtime_sum") {
			continue // no run takes as long as another
		}
		if trimZero(got) != trimZero(wantSamples[series]) {
			t.Errorf("%s is %s, the exporter says %s", series, got, wantSamples[series])
		}
	}
	for series := range samples {
		if strings.HasPrefix(series, "celery_") && !strings.HasPrefix(series, "celery_task_runtime") {
			if _, found := wantSamples[series]; !found && !strings.Contains(series, `exception=""`) {
				t.Errorf("the exporter has no %s", series)
			}
		}
	}
}

// trimZero lets OpenMetrics integers ("1") and floats ("1.0") be equal.
func trimZero(v string) string { return strings.TrimSuffix(v, ".0") }
