package compat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// prometheus is a Prometheus server that scrapes pages, as job celery.
type prometheus struct {
	*process
	url string
}

func prometheusProgram() (string, error) {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		return "", errors.New("compat_test: no prometheus on the PATH: " +
			"apt-get install prometheus, or run scripts/test, which gets one")
	}
	return path, nil
}

func startPrometheus(t *testing.T, pages ...string) *prometheus {
	t.Helper()
	program, err := prometheusProgram()
	if err != nil {
		t.Fatal(err)
	}
	targets := make([]string, len(pages))
	for i, page := range pages {
		target, err := url.Parse(page)
		if err != nil {
			t.Fatal(err)
		}
		targets[i] = strconv.Quote(target.Host)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\n"+
		"scrape_configs: [{job_name: celery, scrape_timeout: 1s, static_configs: [{targets: [%s]}]}]\n", strings.Join(targets, ", "))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := &prometheus{url: "http://" + address, process: start(t, "prometheus", dir, nil, program,
		"--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)}
	p.waitLog(t, "Server is ready to receive web requests")
	return p
}

// query returns how many series a query has that are numbers.
func (p *prometheus) query(t *testing.T, query string) (n int) {
	t.Helper()
	response, err := http.PostForm(p.url+"/api/v1/query", url.Values{"query": {query}})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			ResultType string
			Result     []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Error != "" || answer.Data.ResultType != "vector" {
		t.Fatalf("%s: %v %s %s", query, err, answer.Error, answer.Data.ResultType)
	}
	for _, series := range answer.Data.Result {
		if series.Value[1] != "NaN" {
			n++
		}
	}
	return n
}

// panelQuery is a query of a dashboard, and the panel or variable it is for.
type panelQuery struct{ panel, query string }

var (
	variable    = regexp.MustCompile(`\$\{?(\w+)\}?`)
	labelValues = regexp.MustCompile(`^label_values\((.*), *(\w+)\)$`)
)

// variables are Grafana's own, and those of the dashboards: one job and everything of it.
var variables = map[string]string{
	"__rate_interval": "20s", "__range": "1h", "job": "celery", "cluster": "", "namespace": "",
	"instance": ".*", "queue_name": ".*", "task": ".*",
}

// dashboardQueries reads the queries of a Grafana dashboard, its variables filled in.
func dashboardQueries(t *testing.T, path string) (list []panelQuery) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title      string
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
		Panels any
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	add := func(panel, query string) {
		query = variable.ReplaceAllStringFunc(query, func(v string) string {
			value, found := variables[strings.Trim(v, "${}")]
			if !found {
				t.Fatalf("%s: %s: what is %s?", path, panel, v)
			}
			return value
		})
		list = append(list, panelQuery{dashboard.Title + " / " + panel, query})
	}
	for _, v := range dashboard.Templating.List {
		text := fmt.Sprint(v.Query)
		if of, ok := v.Query.(map[string]any); ok {
			text = fmt.Sprint(of["query"])
		}
		if match := labelValues.FindStringSubmatch(text); match != nil {
			add("$"+v.Name, fmt.Sprintf("count by (%s) (%s)", match[2], match[1]))
		}
	}
	walkPanels(dashboard.Panels, "", add)
	return list
}

// walkPanels finds the expressions of panels, and of the panels in their rows.
func walkPanels(node any, title string, found func(title, query string)) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			walkPanels(child, title, found)
		}
	case map[string]any:
		if text, ok := node["title"].(string); ok {
			title = text
		}
		if text, ok := node["expr"].(string); ok {
			found(title, text)
		}
		for _, child := range node {
			walkPanels(child, title, found)
		}
	}
}
