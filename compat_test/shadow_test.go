package compat_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sendShadowed has Python send one task of each kind and wait for what comes of it.
const sendShadowed = `
import json, shadowed as s
sent = [
    s.price.delay("milk"), s.price.apply_async(("tea",), argsrepr="('a secret',)"), s.fail.delay("same"), s.fail.delay("other"), s.again.delay(), s.send.delay(),
]
s.odd.delay(), s.quiet.delay({"b": 1, "a": 2})
def told(r):
    value = r.get(timeout=s.PATIENCE, propagate=False)
    return repr(value) if isinstance(value, Exception) else value
print(json.dumps([told(r) for r in sent]))
`

// TestShadow runs Go handlers on copies of what Python's children run. To who asks for results, and in all that is stored or sent, there is
// Python alone; what differs is counted, logged and shown.
func TestShadow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start    func(*testing.T, ...string) *redisServer
		venv     string
		args     []string
		settings map[string]any
	}{
		"prefork":              {startRedis, celery57, nil, nil},
		"prefork 4.4":          {startRedis, celery44, nil, nil},
		"pickled messages":     {startRedis, celery57, nil, map[string]any{"task_serializer": "pickle", "accept_content": []string{"json", "pickle"}}},
		"signed messages":      {startRedis, celery57, nil, map[string]any{}},
		"threads 5.2 RabbitMQ": {startRabbit, celery52, []string{"-P", "threads"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := c.start(t)
			a := server.app()
			a.venv, a.module, a.variables, a.settings = c.venv, "shadowed", []string{"SHADOWED=1"}, c.settings
			if name == "signed messages" {
				a.variables = append(a.variables, "KEYS="+t.TempDir())
			}
			shadowTasks(t, server, a, c.args)
		})
	}
}

func shadowTasks(t *testing.T, server *redisServer, a app, args []string) {
	flags := []string{"-A", a.module, "--python", a.python(), "worker", "-c", "2", "-l", "info", "-E", "--metrics-addr", "127.0.0.1:0"}
	for _, task := range []string{"price=100%", "fail", "again", "send", "odd", "quiet"} {
		flags = append(flags, "--shadow", "shadowed."+task)
	}
	w := start(t, "apium worker", appDir, a.env(t), workerBinary, append(flags, args...)...)
	w.waitLog(t, " ready.")
	var got []any
	a.run(t, &got, sendShadowed)
	price := func(item string) any {
		return map[string]any{"item": item, "total": 2.5, "of": []any{1.0, map[string]any{"each": 4.0}}}
	}
	want := []any{price("milk"), price("tea"), "ValueError('same')", "ValueError('other')", "retried", "sent"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-Python's +got):\n%s", diff)
	}
	url := metricsURL(t, w)
	var counts map[string]float64
	eventually(t, patience, "all are compared", func() bool {
		counts = map[string]float64{}
		var sum float64
		for series, value := range scrape(t, url) {
			if match := regexp.MustCompile(`^apium_shadow_total\{name="shadowed\.(\w+)",outcome="(\w+)"\}`).FindStringSubmatch(series); match != nil && value > 0 {
				counts[match[1]+" "+match[2]] = value
				sum += value
			}
		}
		return sum >= 10
	})
	wantCounts := map[string]float64{
		"price same": 2, "price different": 1, "fail same": 1, "fail different": 1, "again same": 2, "send same": 1, "odd uncompared": 1, "quiet same": 1,
	}
	if diff := cmp.Diff(wantCounts, counts); diff != "" {
		t.Errorf("what comparing has shown (-want +got):\n%s\n%s", diff, w.log.String())
	}
	eventually(t, patience, "nothing is left", func() bool { return server.idle(t, "shadowed") })
	changed := server.journalKeys(t, "changed")
	slices.Sort(changed)
	if want := []string{"python milk", "python sends", "python sent", "python tea"}; !slices.Equal(changed, want) {
		t.Errorf("changed: %q, want %q", changed, want)
	}
	if n := len(server.strings(t, "KEYS", "celery-task-meta-*")); n != 7 {
		t.Errorf("%d records, want those of the 7 tasks whose results Python stores", n)
	}
	figures := scrape(t, url)
	for _, executor := range []string{"go", "python"} {
		if n := figures[`apium_shadow_runtime_seconds_count{executor="`+executor+`",name="shadowed.price"}`]; n != 3 {
			t.Errorf("runtimes in %s of %v runs", executor, n)
		}
	}
	if n := figures[`apium_shared_task_runtime_seconds_count{executor="go",name="shadowed.price",state="SUCCESS"}`]; n > 0 {
		t.Errorf("%v shadows count as tasks", n)
	}
	w.waitLog(t, " differs in result['of'][1]['each']: Python returned 4.0, Go returned 5, for args: ('a secret',) kwargs: {}")
	showsShadows(t, a)
}

// showsShadows looks at what commands tell.
func showsShadows(t *testing.T, a app) {
	command := func(status int, args ...string) string {
		t.Helper()
		at := []string{"-b", a.broker}
		if a.settings != nil { // which say how workers answer
			at = []string{"-A", a.module, "--python", a.python()}
		}
		p := start(t, "apium "+args[0], appDir, a.env(t), apiumBinary, append(at, args...)...)
		eventually(t, patience, "it ends", p.stopped)
		if code := p.exitCode(t); code != status {
			t.Errorf("apium %s: status %d, want %d", strings.Join(args, " "), code, status)
		}
		return p.log.String()
	}
	table := regexp.MustCompile(`[ \t]+`).ReplaceAllString(command(1, "shadow"), " ")
	for _, want := range []string{
		"TASK SHADOW COMPARED SAME DIFFERENT UNCOMPARED TIMEOUT DROPPED PYTHON GO\n", "shadowed.again 100% 2 2 0 0 0 0 ", "shadowed.price 100% 3 2 1 0 0 0 ",
		"shadowed.odd 100% 0 0 0 1 0 0 - -", " args: ('a secret',) kwargs: {}\n Python returned 4.0\n Go returned 5\n", " Python raised ValueError('other')\n Go raised KeyError('other')\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("apium shadow lacks %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "tea") {
		t.Errorf("what the producer has hidden is shown:\n%s", table)
	}
	if told := command(0, "control", "shadow", "shadowed.price", "0%"); !strings.Contains(told, "runs a copy of 0% in Go, takes 0%") {
		t.Errorf("apium control shadow: %s", told)
	}
	if told := command(1, "control", "shadow", "shadowed.unaware", "1%"); !strings.Contains(told, "register it with tasks.Shadowable()") {
		t.Errorf("apium control shadow: %s", told)
	}
	a.run(t, nil, `import shadowed as s; s.price.delay("tea").get(timeout=s.PATIENCE)`)
	if table := regexp.MustCompile(` +`).ReplaceAllString(command(1, "shadow"), " "); !strings.Contains(table, "shadowed.price 0% 3 2 1 0 0 0 ") {
		t.Errorf("after it was turned off:\n%s", table)
	}
}
