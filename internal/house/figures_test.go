package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var series = regexp.MustCompile(`\b(?:celery|apium)_[a-z_]+\b`)

// Alerts, the dashboard and what scales workers ask for series that are served: a name that changes changes here, too.
// Of the dashboard compat_test asks a real Prometheus, but not of alerts, which have no series while all is well.
func TestAlertsKnowTheirSeries(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	files, err := filepath.Glob("operate/metrics/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && !strings.HasSuffix(file, "_test.go") {
			source.Write(text)
		}
	}
	for _, name := range []string{"alerts.yml", "alerts_test.yml", "prometheus-adapter.yaml", "grafana-dashboard.json"} {
		text, err := os.ReadFile(filepath.Join("docs", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		found := series.FindAllString(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names no series", name)
		}
		for _, of := range found {
			base := of
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !strings.Contains(source.String(), `"`+of+`"`) && !strings.Contains(source.String(), `"`+base+`"`) {
				t.Errorf("%s: no worker and no beat serves %s", name, of)
			}
		}
	}
}

// docs/monitoring.md says of each alert what to do, and of none that is not there.
func TestAlertsAreExplained(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile(filepath.Join("docs", "deploy", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("docs", "monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		alerts[alert[1]] = true
		if !strings.Contains(string(page), "`"+alert[1]+"`") {
			t.Errorf("docs/monitoring.md does not explain %s", alert[1])
		}
	}
	for _, name := range regexp.MustCompile("`(Celery[A-Z]\\w+)`").FindAllStringSubmatch(string(page), -1) {
		if !alerts[name[1]] {
			t.Errorf("docs/monitoring.md explains %s, which is not there", name[1])
		}
	}
}
