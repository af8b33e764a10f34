package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// featureDifference is one that stays, with the reason. All but the reason are regular expressions.
type featureDifference struct{ where, field, python, apium, reason string }

// featureDifferences are those of Go handlers.
var featureDifferences = []featureDifference{
	{"celery-task-meta-errback of .*", "group_id", uuid, uuid, "a new group each time"},
	{"celery-task-meta-body-.*", "parent_id", uuid, uuid, "the member that came last is a matter of chance"},
	{"celery-task-meta-body-6", "children", "null|\\[\\]", "null|\\[\\]", "as above: null if it is the one that expired, for which no task runs"},
	{"message in .*", "header lang", "py", "go", "a message that a Go task has sent says so"},
	{
		".*auto .'reject', 'why', False.*", ".*", ".*", ".*",
		"Celery takes a Reject for an Exception, and retries it where autoretry_for has that; ours rejects",
	},
	{
		"(celery-task-meta-|journal )(link|step) of unencodable", ".*", ".*", ".*",
		"Celery publishes what follows before it finds that the result cannot be encoded; ours publishes nothing of a task that fails",
	},
	{"celery-task-meta-unencodable with link and chain", "children", ".*link of.*", "\\[\\]", "as above"},
	{"log", ".*(link|step) of unencodable.*", ".*", ".*", "as above"},
	{".*unencodable.*", "result", ".*type object is not.*", ".*type main.object is not.*", "Go names a type with its package"},
	{".*unencodable.*", "traceback", ".*type object is not.*", ".*type main.object is not.*", "as above"},
	{"log", ".*unencodable.*(type (main.)?object is not|object object at|main.object object).*", "missing|1", "missing|1", "as above"},
	{
		"celery-taskset-meta-.*\\.c", ".*", "missing", "present",
		"ours keeps the mark of a chord that has failed, to turn late parts away",
	},
	{"message in .* of (late )?waiting retry #1", ".*", "present", "missing", "what waits stays parked in unacked when our worker stops"},
	{"unacked .* of (late )?waiting retry #1", ".*", "missing", "present", "as above"},
	{".* dies", "result", ".*signal 9.*", ".*the handler ended its goroutine.*", "how a task dies is another thing in Go"},
	{"log", ".*WorkerLostError.*", ".*", ".*", "as above"},
	{
		"log", "INFO: Task tapp.same.errback of hard limit with link_error. .*", "2", "1",
		"Celery calls the errbacks of a task over its hard limit twice",
	},
	{
		"log", ".*auto .'reject', 'why', False.*", ".*", ".*", "as above",
	},
}

// childFeatureDifferences are those of Python tasks that run in our children.
var childFeatureDifferences = slices.Concat(featureDifferences[:3], []featureDifference{
	{
		"celery-taskset-meta-.*\\.c", ".*", "missing", "present",
		"ours keeps the mark of a chord that has failed, to turn late parts away",
	},
	{"message in .* of (late )?waiting retry #1", ".*", "present", "missing", "what waits stays parked in unacked when our worker stops"},
	{"unacked .* of (late )?waiting retry #1", ".*", "missing", "present", "as above"},
	{
		"log", "INFO: Task tapp.same.errback of hard limit with link_error. .*", "2", "1",
		"Celery calls the errbacks of a task over its hard limit twice",
	},
	{"log", ".*unencodable.* <object object at 0x[0-9a-f]+>", "missing|1", "missing|1", "an address"},
	{".* dies", "result", ".*signal 9 .* Job: \\d+.*", ".*signal 9 .* Job: \\d+.*", "the number of the job"},
	{"log", ".*WorkerLostError.*signal 9 .* Job: \\d+.*", "missing|\\d", "missing|\\d", "as above"},
})

const uuid = "[0-9a-f-]{36}"

// featureCalls are messages, and the keys that Celery has written with them.
type featureCalls struct {
	Calls []call
	Keys  map[string]string
}

// dump is what dump.py prints: keys of a Redis, with fields in comparable form.
type dump map[string]map[string]string

// TestFeatures gives the same messages, byte for byte, to a Python worker, to ours and to ours with the Python tasks:
// retries, outcomes, time limits, states. It compares the records, the messages that are
// published again, what waits in unacked, how often each task has run, and what is logged.
func TestFeatures(t *testing.T) {
	t.Parallel()
	groups := map[string]featureGroup{
		"retries":    {cases: []string{"retries", "limits", "automatic", "arguments"}},
		"outcomes":   {cases: []string{"outcomes"}},
		"limits":     {cases: []string{"time_limits"}},
		"to the end": {cases: []string{"to_the_end", "canvases"}, waiting: 2},
		"deaths":     {cases: []string{"deaths"}},
		"extended": {
			cases: []string{"outcomes", "to_the_end"}, waiting: 2,
			settings: map[string]any{"result_extended": true},
		},
		"late": {
			cases:    []string{"outcomes"},
			settings: map[string]any{"task_acks_late": true, "task_track_started": true},
		},
		"deduplicated": {
			cases:    []string{"deduplicated"},
			settings: map[string]any{"worker_deduplicate_successful_tasks": true},
		},
		"not deduplicated": {cases: []string{"deduplicated"}},
		"limits for all": {
			cases:    []string{"time_limits", "limits_for_all"}, // tasks that take no time take long in a new process on a busy machine
			settings: map[string]any{"task_time_limit": 6, "task_soft_time_limit": 4, "task_acks_late": true},
			accepted: []featureDifference{{
				"log", "WARNING: Soft time limit \\(4s\\) exceeded for .*hard.*", "1", "missing",
				"with Celery the soft limit comes after a hard one that is shorter, too: its task has ended",
			}},
		},
	}
	for name, group := range groups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group.run(t, startRedis)
		})
	}
}

// featureGroup is a run of some of the cases.
type featureGroup struct {
	cases    []string
	settings map[string]any      // Celery's
	waiting  int                 // messages that wait for their ETA at the end
	accepted []featureDifference // further ones
	without  string              // leaves out messages with this text
}

func (g *featureGroup) run(t *testing.T, on brokerKind) {
	c := publishFeatures(t, g.cases...)
	if g.without != "" {
		c.Calls = slices.DeleteFunc(c.Calls, func(c call) bool { return strings.Contains(c.Raw, g.without) })
	}
	t.Logf("%d calls", len(c.Calls))
	in := func(run *featureRun) app {
		a := run.app()
		a.module, a.settings = "features", g.settings
		return a
	}
	// A high multiplier, so that nothing is given back because the slots are stuck.
	flags := slices.Concat(servesMetrics, []string{"-n", "w1@host", "--prefetch-multiplier", "64"})
	python := startMeasure(func() *featureRun {
		run := newFeatureRun(t, on, c)
		run.worker = in(run).startWorker(t, "-n", "w1@host")
		return run
	}, func(run *featureRun) error {
		if err := celeryFinished(t, run.redisServer, g.waiting, run.worker); err != nil {
			return err
		}
		run.running = run.dump(t)
		return celeryEnds(t, run.worker)
	})
	apium, children := newFeatureRun(t, on, c), newFeatureRun(t, on, c)
	apium.worker = startWorker(t, apium.app(), append(flags, "--config", settingsFile(t, g.settings))...)
	children.worker = in(children).startChildren(t, flags...)
	theirs := python.ran(t)
	theirs.stopped(t)
	for column, run := range map[string]*featureRun{"Go": apium, "children": children} {
		finished(t, run.redisServer, g.waiting, run.worker)
		run.running = run.dump(t)
		run.worker.signal(t, syscall.SIGTERM)
		if code := run.worker.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d", run.worker.name, code)
		}
		run.stopped(t)
		accepted := slices.Concat(map[string][]featureDifference{"Go": featureDifferences, "children": childFeatureDifferences}[column], g.accepted)
		compareDumps(t, column+", while they run", theirs.running, run.running, accepted)
		compareDumps(t, column+", after they have stopped", theirs.left, run.left, accepted)
	}
}

// settingsFile writes Celery's settings for our worker.
func settingsFile(t *testing.T, settings map[string]any) string {
	t.Helper()
	if settings == nil {
		settings = map[string]any{}
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// publishFeatures lets Celery publish groups of the cases of testdata/app/featurecases.py.
func publishFeatures(t *testing.T, groups ...string) (c featureCalls) {
	t.Helper()
	server := startRedis(t)
	app{broker: server.url(0)}.run(t, &c, "featurecases.py", groups...)
	return c
}

// featureRun is one worker on a Redis of its own.
type featureRun struct {
	*redisServer
	worker        *process
	running, left dump // while the worker runs, and when it has ended
}

// stopped notes what is left by a worker that has ended.
func (r *featureRun) stopped(t *testing.T) {
	t.Helper()
	r.left = r.dump(t)
	said := saidRetries(t, r.worker.log.String())
	for _, d := range []dump{r.running, r.left} {
		for where, fields := range d {
			if _, id, found := strings.Cut(strings.TrimRight(where, "0123456789"), " of "); found {
				said[strings.TrimSuffix(id, " #")].judge(fields)
			}
		}
	}
	r.running["log"] = r.log()
}

func newFeatureRun(t *testing.T, on brokerKind, c featureCalls) *featureRun {
	t.Helper()
	server := on(t)
	for key, value := range c.Keys {
		server.do(t, "SET", key, value)
	}
	server.give(t, c.Calls)
	return &featureRun{redisServer: server}
}

func (r *featureRun) dump(t *testing.T) (d dump) {
	t.Helper()
	app{broker: r.url(0), journal: r.url(1)}.run(t, &d, "dump.py")
	if r.vhost != nil && r.worker.stopped() {
		maps.Copy(d, rabbitDump(t, r.vhost))
	}
	maps.DeleteFunc(d, func(key string, _ map[string]string) bool { return ownKeys.MatchString(key) })
	return d
}

var (
	logLine    = regexp.MustCompile(`(?m)^\[[^\]]*: (\w+)/[^\]]*\] ((?:Task |Discarding |Soft |Hard |Chord |Errback ).*)$`)
	logRuntime = regexp.MustCompile(`succeeded in [0-9.e-]+s`)
	logMoment  = regexp.MustCompile(`Retry at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00`)
)

// log is how often each line about a task stands in the worker's log.
func (r *featureRun) log() map[string]string {
	counts := map[string]int{}
	for _, match := range logLine.FindAllStringSubmatch(r.worker.log.String(), -1) {
		line := logRuntime.ReplaceAllString(match[2], "succeeded in N s")
		counts[match[1]+": "+logMoment.ReplaceAllString(line, "Retry at N")]++
	}
	lines := map[string]string{}
	for line, n := range counts {
		lines[line] = fmt.Sprint(n)
	}
	return lines
}

// compareDumps reports the differences between a Python worker's dump and ours that are not
// accepted, those of the same kind together.
func compareDumps(t *testing.T, when string, theirs, ours dump, accepted []featureDifference) {
	t.Helper()
	kinds := map[string][]string{} // the difference, and where it is
	for where := range union(theirs, ours) {
		python, apium := theirs[where], ours[where]
		if where != "log" && (python == nil || apium == nil) {
			python, apium = present(python), present(apium)
		}
		for field := range union(python, apium) {
			p, a := orMissing(python, field), orMissing(apium, field)
			if p == a || acceptedDifference(accepted, where, field, p, a) {
				continue
			}
			kind := field + "\n  Python " + tail(p, 600) + "\n  Apium  " + tail(a, 600)
			kinds[kind] = append(kinds[kind], where)
		}
	}
	reported := slices.Sorted(maps.Keys(kinds))
	for _, kind := range reported[:min(len(reported), 40)] {
		places := kinds[kind]
		slices.Sort(places)
		t.Errorf("%s: %d differences, as in %s: %s", when, len(places), strings.Join(places[:min(3, len(places))], "; "), kind)
	}
	if len(reported) > 40 {
		t.Errorf("and %d more kinds of differences", len(reported)-40)
	}
}

func acceptedDifference(accepted []featureDifference, where, field, python, apium string) bool {
	for _, d := range accepted {
		if matches(d.where, where) && matches(d.field, field) && matches(d.python, python) && matches(d.apium, apium) {
			return true
		}
	}
	return false
}

// present stands for a whole key.
func present(fields map[string]string) map[string]string {
	if fields == nil {
		return nil
	}
	return map[string]string{"(all)": "present"}
}

func orMissing(fields map[string]string, field string) string {
	if value, ok := fields[field]; ok {
		return value
	}
	return "missing"
}

func union[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return all
}
