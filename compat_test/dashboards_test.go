package compat_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// everyOutcome sends tasks of each outcome, and messages that are none, until it is killed.
const everyOutcome = `
import datetime, itertools, time
from events import RETRY
from features import app

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
with app.connection() as connection:
    client = connection.default_channel.client
    for i in itertools.count():
        for name, plan, options in (
            ("plain", [[["sleep", 0.01], ["return", 1]]], {}),
            ("plain", [[["raise", "ValueError", "bad"]]], {}),
            ("plain", [[RETRY], [["return", 1]]], {}),
            ("late", [[["reject", "why", False]]], {}),
            ("plain", [[]], {"expires": LONG_AGO}),
        ):
            app.send_task("features." + name, [plan], **options)
        client.lpush("celery", "garbage")
        time.sleep(0.2)
`

// mixinQueries makes queries of what the dashboards and alerts of celery-mixin ask for: each
// series, in the way they ask for one of its kind, by the same labels.
func mixinQueries(t *testing.T) (list []panelQuery) {
	t.Helper()
	text, err := os.ReadFile("../operate/metrics/testdata/celery-mixin.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		panel, series, labels := fields[0], fields[1], fields[2]
		selected := series + `{job=~".*celery.*"`
		for _, label := range strings.Split(labels, ",") {
			if label != "" {
				selected += fmt.Sprintf(`, %s!~"None", %s=~".+"`, label, label)
			}
		}
		selected += "}"
		query := fmt.Sprintf("sum by (%s) (%s)", labels, selected)
		switch {
		case strings.HasSuffix(series, "_bucket"):
			query = fmt.Sprintf("histogram_quantile(0.95, sum by (%s) (irate(%s[20s])))", labels, selected)
		case strings.HasSuffix(series, "_total"), strings.HasSuffix(series, "_sum"), strings.HasSuffix(series, "_count"):
			query = fmt.Sprintf("sum by (%s) (round(increase(%s[1w]))) > 0", labels, selected)
		}
		list = append(list, panelQuery{"celery-mixin: " + panel, query})
	}
	return list
}

// TestDashboards has a real Prometheus scrape workers and a beat at work, and asks it what our
// dashboard and those of celery-mixin ask. DASHBOARDS may name more files, such as the
// published ones.
func TestDashboards(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), module: "features"}
	w := startWorker(t, a, "-n", "w1@example", "-E", "-c", "4", "--metrics-addr", "127.0.0.1:0",
		"--config", settingsFile(t, map[string]any{"task_send_sent_event": true}))
	children := app{broker: server.url(2), module: "children"}
	cw := children.startChildren(t, "--metrics-addr", "127.0.0.1:0", "--max-tasks-per-child", "1")
	beat := start(t, "beat", "", nil, apiumBinary, "beat", "-l", "info", "--metrics-addr", "127.0.0.1:0", "--config", settingsFile(t, map[string]any{
		"broker_url": server.url(3), "beat_schedule": map[string]any{"e": map[string]any{"task": "t.e", "schedule": 0.5}},
	}))
	beat.waitLog(t, "Sending due task e")
	p := startPrometheus(t, metricsURL(t, w), metricsURL(t, cw), metricsURL(t, beat))
	start(t, "producer", appDir, children.env(t), children.python(), "-c", "import time, children\nwhile True: children.add.delay(1, 2); time.sleep(0.2)")
	start(t, "producer", appDir, a.env(t), a.python(), "-c", everyOutcome)

	open := append(mixinQueries(t), dashboardQueries(t, "../docs/deploy/grafana-dashboard.json")...)
	for _, path := range filepath.SplitList(os.Getenv("DASHBOARDS")) {
		open = append(open, dashboardQueries(t, path)...)
	}
	if len(open) < 150 {
		t.Errorf("only %d queries", len(open))
	}
	for deadline := time.Now().Add(patience); len(open) > 0 && time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		open = slices.DeleteFunc(open, func(q panelQuery) bool { return p.query(t, q.query) > 0 })
	}
	for _, q := range open {
		t.Errorf("%s has no series: %s", q.panel, strings.Join(strings.Fields(q.query), " "))
	}
}
