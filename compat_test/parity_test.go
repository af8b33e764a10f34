package compat_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const parityDir = "testdata/parity"

// parityTwice compares Celery's worker with itself: what differs then is no scenario's fault.
var parityTwice = flag.Bool("parity.twice", false, "compare Celery's own worker with itself")

// scenario is something that a client does with a worker.
type scenario struct {
	do    string // Python source, with the names of client.py
	since string // the Celery version it needs; "": any
	// varies are regular expressions for what is not the same in two runs of Celery's own worker:
	// paths in what is observed.
	varies []string
}

// world is a worker as a user may have set it up, and scenarios that run on it.
type world struct {
	module    string         // of testdata/parity; default: plain
	settings  map[string]any // Celery's
	flags     []string       // of the worker
	variables []string       // of its environment
	scenarios map[string]scenario
	oneByOne  bool // the scenarios would be in one another's way
	older     bool // it is tried with Celery 5.2 and 4.4, too
	inGo      bool // it is tried with Go handlers, too: see goColumns
	rabbit    bool // RabbitMQ is its broker
}

// observed is what scenarios have left: by scenario, by path.
type observed map[string]map[string]any

// TestParity gives the same unchanged Python app to Celery's own worker and to ours, and
// compares everything that a task, a client, an observer or an operator could tell them apart by.
func TestParity(t *testing.T) {
	t.Parallel()
	var missed atomic.Int32 // worlds that have not run with all of their scenarios
	t.Cleanup(func() {
		if missed.Load() == 0 && !t.Failed() && !*parityTwice {
			allUsed(t)
		}
	})
	for version, venv := range peers {
		of := union(union(worlds, hookedWorlds), rabbitWorlds)
		maps.DeleteFunc(of, func(_ string, w world) bool { return !w.older && version != "5.7" })
		missed.Add(int32(len(of))) //nolint:gosec // a few dozen
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for name, w := range of {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if w.run(t, name, venv, version) {
						missed.Add(-1)
					}
				})
			}
		})
	}
}

// run runs the scenarios that are asked for: those whose subtests have begun when it starts
// the workers. They wait until it is done. It tells whether these were all.
func (w world) run(t *testing.T, name, venv, version string) (all bool) {
	t.Helper()
	var asked []string
	left := map[string]observed{}
	again := &celeryAgain{}
	ours := []parityColumn{{name: "apium", goTasks: "^$"}}
	if w.inGo && version == "5.7" {
		ours = append(ours, goColumns(t)...)
	}
	compare := func(scenario string, varies []string) func(t *testing.T) {
		return func(t *testing.T) {
			asked = append(asked, scenario)
			t.Parallel()
			for _, c := range ours {
				if !c.compares(name, scenario) {
					continue
				}
				found := c.differencesOf(t, version, name, scenario, varies, left["celery"][scenario], left[c.name][scenario])
				for _, d := range again.without(t, found, scenario, c.view) {
					d.report(t, c.name)
				}
			}
		}
	}
	scenarios := maps.Clone(w.scenarios)
	maps.DeleteFunc(scenarios, func(_ string, s scenario) bool { return s.since > version })
	for _, scenario := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(scenario, compare(scenario, scenarios[scenario].varies))
	}
	t.Run("the rest", compare("", nil))
	all = len(asked) == len(scenarios)+1
	asked = slices.DeleteFunc(asked, func(s string) bool { return s == "" })
	if len(asked) == 0 {
		return false
	}
	measured := func(t *testing.T) *measure[*column] {
		t.Helper()
		return startMeasure(func() *column { return w.start(t, venv, nil, asked) }, func(c *column) error { return c.runsOrHangs(t) })
	}
	again.run = func(t *testing.T) observed {
		t.Helper()
		return measured(t).ran(t).left
	}
	celery, columns := measured(t), map[string]*column{}
	for _, c := range ours {
		columns[c.name] = w.start(t, venv, &c, asked)
	}
	left["celery"] = celery.ran(t).left
	for kind, c := range columns {
		c.runs(t)
		left[kind] = c.left
	}
	return all
}

// column is a worker, and the client that runs scenarios on it.
type column struct {
	server *redisServer
	worker *process
	client *process
	tell   io.Writer // the client's standard input
	left   observed
}

// start starts a worker, ours or Celery's, and a client that runs what is asked for on it.
func (w world) start(t *testing.T, venv string, ours *parityColumn, asked []string) *column {
	t.Helper()
	on := brokerKind(startRedis)
	if w.rabbit {
		on = startRabbit
	}
	server := on(t)
	module := w.module
	if module == "" {
		module = "plain"
	}
	settings := map[string]any{"task_send_sent_event": true, "worker_proc_alive_timeout": 60}
	maps.Copy(settings, w.settings)
	a := server.app()
	a.venv, a.settings, a.module, a.variables = venv, settings, module, w.variables
	c := &column{server: server}
	c.worker = w.startWorker(t, a, ours)
	table := map[string]string{}
	for _, name := range asked {
		table[name] = w.scenarios[name].do
	}
	file := filepath.Join(t.TempDir(), "table.json")
	writeJSON(t, file, map[string]any{"scenarios": table, "one by one": w.oneByOne})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	t.Cleanup(func() { write.Close() })
	c.tell = write
	c.client = startReading(t, read, "client", parityDir, a.env(t), a.python(), "client.py", module, file)
	return c
}

// startWorker starts Celery's worker or ours in the way of its command line.
func (w world) startWorker(t *testing.T, a app, ours *parityColumn) *process {
	t.Helper()
	flags := []string{"-A", a.module, "worker"}
	if a.venv == celery44 && ours == nil {
		flags = []string{"worker", "-A", a.module}
	}
	flags = append(flags, "-c", "4", "-l", "info", "-E", "-n", "w1@host", "--without-gossip", "--without-mingle", "--without-heartbeat",
		"--prefetch-multiplier", "64") // so that nothing is given back because the slots are stuck
	flags = append(flags, w.flags...)
	var p *process
	if ours != nil && !*parityTwice {
		flags = slices.Concat(flags, servesMetrics, []string{"--python", a.python()})
		p = start(t, "apium -A", parityDir, append(a.env(t), "GO_TASKS="+ours.goTasks), workerBinary, flags...)
	} else {
		p = start(t, "celery -A", parityDir, a.env(t), a.python(), append([]string{"-m", "celery"}, flags...)...)
	}
	p.waitLog(t, " ready.")
	return p
}

// runs waits until all scenarios have run, and all tasks of theirs, ends the worker and observes what is left.
func (c *column) runs(t *testing.T) {
	t.Helper()
	c.client.waitLog(t, "ran\n")
	finished(t, c.server, 0, c.worker)
	c.worker.signal(t, syscall.SIGTERM)
	if code := c.worker.exitCode(t); code != 0 {
		t.Errorf("%s: exit code %d", c.worker.name, code)
	}
	c.observe(t)
}

// runsOrHangs is runs for Celery's own worker. It hangs, too, if a scenario waits in vain.
func (c *column) runsOrHangs(t *testing.T) error {
	t.Helper()
	var beats pulse
	for !c.client.log.contains("ran\n") {
		if c.client.stopped() {
			t.Fatalf("the client has ended: %v", c.client.cmd.ProcessState)
		}
		if beats.still(fmt.Sprint(len(c.worker.log.String()), c.server.int(t, "DBSIZE"))) > stall {
			return &hangError{c.worker, fmt.Errorf("nothing gets on for %v, and scenarios wait", stall)}
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := celeryDone(t, c.server, c.worker); err != nil {
		return err
	}
	c.observe(t)
	for name, of := range c.left {
		if said := of["says error"]; said != nil {
			return &hangError{c.worker, fmt.Errorf("%s: %v", name, said)}
		}
	}
	return nil
}

// observe notes what is left when the worker has ended.
func (c *column) observe(t *testing.T) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte(c.worker.log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c.tell, log); err != nil {
		t.Fatal(err)
	}
	if code := c.client.exitCode(t); code != 0 {
		t.Fatalf("client: exit code %d", code)
	}
	lines := bufio.NewScanner(strings.NewReader(c.client.log.String()))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "OBSERVED "); ok {
			if err := json.Unmarshal([]byte(text), &c.left); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.left == nil {
		t.Fatal("the client does not tell what it has observed")
	}
}

// parityDifference is what a path has with Celery's worker, and with ours.
type parityDifference struct{ at, celery, apium string }

func (d parityDifference) report(t *testing.T, column string) {
	t.Helper()
	if strings.Contains(d.celery, "\n") {
		t.Errorf("%s: %s (-Celery +Apium):\n%s", column, d.at, cmp.Diff(d.celery, d.apium))
	} else {
		t.Errorf("%s: %s\n  Celery %s\n  Apium  %s", column, d.at, tail(d.celery, 900), tail(d.apium, 900))
	}
}

// differencesOf returns the differences that are not accepted.
func (c parityColumn) differencesOf(t *testing.T, version, world, scenario string, varies []string, celery, apium map[string]any) (found []parityDifference) {
	t.Helper()
	if celery == nil || apium == nil {
		t.Fatalf("it has not run on both: %s", c.name)
	}
	want, got := flat(c.view(celery)), flat(c.view(apium))
	for _, at := range slices.Sorted(maps.Keys(union(want, got))) {
		w, g := orMissing(want, at), orMissing(got, at)
		if w != g && !slices.ContainsFunc(varies, func(v string) bool { return matches(v, at) }) &&
			!c.accepts(version, strings.TrimSuffix(world, onRabbitMQ)+"/"+scenario, at, w, g) {
			found = append(found, parityDifference{at, w, g})
		}
	}
	return found
}

// celeryAgain is Celery's own worker in the same world, as often as somebody needs to know
// whether what differs is a matter of chance: whether Celery itself does as ours did, at times.
type celeryAgain struct {
	run func(t *testing.T) observed

	mu   sync.Mutex
	runs []observed
}

// most is how often Celery's worker is tried again.
const most = 5

// without returns the differences that no further run of Celery's worker has.
func (c *celeryAgain) without(t *testing.T, found []parityDifference, scenario string, view func(map[string]any) map[string]any) []parityDifference {
	t.Helper()
	for i := 0; i < most && len(found) > 0; i++ {
		other := flat(view(c.get(t, i)[scenario]))
		found = slices.DeleteFunc(found, func(d parityDifference) bool {
			same := orMissing(other, d.at) == d.apium
			if same {
				t.Logf("a matter of chance with Celery itself: %s\n  Celery %s, or %s", d.at, tail(d.celery, 300), tail(d.apium, 300))
			}
			return same
		})
	}
	return found
}

func (c *celeryAgain) get(t *testing.T, i int) observed {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.runs) <= i {
		c.runs = append(c.runs, c.run(t))
	}
	return c.runs[i]
}

// flat gives each value in a document a path of its own, and a text. What a log or the journal
// says is a path, as its lines are in no order.
func flat(document map[string]any) map[string]string {
	into := map[string]string{}
	for path, value := range document {
		flatten(into, path, value)
	}
	return into
}

func flatten(into map[string]string, path string, value any) {
	switch v := value.(type) {
	case nil:
		into[path] = "null"
	case string:
		into[path] = v
	case map[string]any:
		for key, element := range v {
			flatten(into, path+"."+key, element)
		}
	case []any:
		unordered := strings.HasSuffix(path, "log") || strings.HasSuffix(path, "journal")
		for i, element := range v {
			if unordered {
				at := path + ": " + fmt.Sprint(element)
				into[at] += "I"
			} else {
				flatten(into, fmt.Sprintf("%s[%d]", path, i), element)
			}
		}
		if !unordered {
			into[path+".length"] = fmt.Sprint(len(v))
		}
	default:
		into[path] = fmt.Sprint(v)
	}
}
