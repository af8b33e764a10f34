package compat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// ended is what a command prints and how it ends.
type ended struct {
	status         int
	stdout, stderr string
}

// toEnd runs a command.
func toEnd(t *testing.T, cmd *exec.Cmd) ended {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ended{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// celery runs command lines of Celery's.
func (c *controlled) celery(t *testing.T, lines ...string) []ended {
	t.Helper()
	var argv [][]string
	for _, line := range lines {
		argv = append(argv, append([]string{"-A", "tapp"}, strings.Fields(line)...))
	}
	return c.celeryIn(t, appDir, argv)
}

// apium runs command lines of ours.
func (c *controlled) apium(t *testing.T, lines ...string) (all []ended) {
	t.Helper()
	for _, line := range lines {
		args := append([]string{"-b", c.broker, "--result-backend", c.broker}, strings.Fields(line)...)
		all = append(all, toEnd(t, exec.Command(workerBinary, args...)))
	}
	return all
}

// both runs the same command lines of ours, then of Celery's, and compares them.
func (c *controlled) both(t *testing.T, lines ...string) {
	t.Helper()
	ours := c.apium(t, lines...)
	if keys := c.server.strings(t, "KEYS", "*reply*"); len(keys) > 0 {
		t.Errorf("left in Redis: %q", keys)
	}
	compareCommands(t, lines, c.celery(t, lines...), ours)
}

// everybody is both for lines that ask whoever is there, and wait a second for each answer:
// on a busy machine it may take several attempts until all have answered in time.
func (c *controlled) everybody(t *testing.T, lines ...string) {
	t.Helper()
	const workers = 2
	heard := func(all []ended) bool {
		return !slices.ContainsFunc(all, func(e ended) bool { return len(nodes.FindAllString(e.stdout, -1)) != workers })
	}
	var ours, theirs []ended
	eventually(t, patience, "all have answered within a second", func() bool {
		ours, theirs = c.apium(t, lines...), c.celery(t, lines...)
		return heard(ours) && heard(theirs)
	})
	compareCommands(t, lines, theirs, ours)
}

func compareCommands(t *testing.T, lines []string, theirs, ours []ended) {
	t.Helper()
	for i, line := range lines {
		want := theirs[i].status
		if refused(theirs[i].stdout) {
			want = 1 // on purpose: Celery ends with 0 although nothing was done
		}
		if ours[i].status != want {
			t.Errorf("%s: Celery ends with %d, we with %d\nCelery: %s\nwe: %s", line, theirs[i].status, ours[i].status, theirs[i].stderr, ours[i].stderr)
		}
		if diff := cmp.Diff(steady(theirs[i].stdout), steady(ours[i].stdout)); diff != "" {
			t.Errorf("%s (-Celery +Apium):\n%s", line, diff)
		}
	}
}

var (
	// nodes begins the reply of a node.
	nodes = regexp.MustCompile(`(?m)^(->)? +\S+@\S+: (OK|ERROR)$`)
	// volatile are figures that two requests cannot find alike.
	volatile = regexp.MustCompile(`("(clock|uptime|prefetch_count|[a-z]+time|[a-z]+cs?w|[a-z]+bl(?:oc)?k|[a-z]+flt|maxrss|[a-z]+rss|msg[a-z]+|nsignals|nswap)": )"?[\d.e-]+"?|("processes": )\[[^]]*\]|\d+(?:\.\d+)?MB`)
)

// steady sorts the replies of nodes, which come as they come, and leaves out what
// changes from one moment to the next.
func steady(stdout string) []string {
	stdout = volatile.ReplaceAllString(stdout, "${1}${3}N")
	starts := nodes.FindAllStringIndex(stdout, -1)
	if starts == nil {
		return []string{stdout}
	}
	body, last := stdout, ""
	if i := strings.LastIndex(stdout, "\n\n"); strings.HasSuffix(stdout, " online.\n") {
		body, last = stdout[:i+1], stdout[i+1:]
	}
	var blocks []string
	for i, start := range starts {
		end := len(body)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		blocks = append(blocks, body[start[0]:end])
	}
	slices.Sort(blocks)
	return append(blocks, last)
}

// refused tells whether all replies that Celery prints are errors.
func refused(stdout string) bool {
	return (strings.Contains(stdout, ": ERROR\n") || strings.Contains(stdout, `{"error": `)) &&
		!strings.Contains(stdout, ": OK\n") && !strings.Contains(stdout, `{"ok": `)
}

// TestOperatorsCommands runs Celery's command line and ours against a Python worker and
// ours.
func TestOperatorsCommands(t *testing.T) {
	t.Parallel()
	c := startControlled(t)
	c.everybody(t, "status", "-q status", "inspect ping", "-q inspect ping", "control heartbeat")
	c.both(t, "status -t 120 -d "+goNode, "status -d nobody@h -t 0.2")
	lines := []string{
		"control rate_limit tapp.add 0", "control revoke a", // what later lines leave, so that both find the same
		"inspect ping -d " + pyNode, "inspect ping -d " + pyNode + "," + goNode, "inspect ping extra",
		"inspect ping -j -d " + goNode, "inspect ping -d nobody@h --timeout 0.2",
		"inspect active", "inspect reserved", "inspect scheduled", "inspect registered", "inspect registered rate_limit max_retries",
		"inspect active_queues", "inspect active_queues --json -d " + pyNode, "inspect active_queues --json -d " + goNode,
		"inspect clock", "inspect conf", "inspect conf true", "inspect report", "inspect memsample", "inspect query_task", "inspect query_task a b",
		"inspect stats", "inspect revoked",
		"inspect", "control", "inspect bogus", "control bogus", "control ping", "inspect shutdown", "inspect hello", "inspect dump_active",
		"inspect conf 1 2", "inspect ping -t soon", "inspect ping --bogus",
		"control rate_limit", "control rate_limit tapp.add", "control rate_limit tapp.add 5/m", "control rate_limit tapp.add 5/m x",
		"control rate_limit nope 5/m", "control rate_limit tapp.add abc", "control rate_limit tapp.add 5/m -j -d " + pyNode,
		"control rate_limit tapp.add 0", "control time_limit tapp.add 100.5 200", "control time_limit tapp.add", "control time_limit",
		"control revoke", "control revoke a", "control revoke a a", "inspect revoked", "control terminate", "control terminate KILL a",
		"control terminate NOSUCH a", "control revoke_by_stamped_headers k=v", "control revoke_by_stamped_headers k",
		"control add_consumer", "control add_consumer extra", "inspect active_queues", "control cancel_consumer extra", "control cancel_consumer nope",
		"control pool_grow", "control pool_shrink", "control pool_grow 2", "control pool_shrink 2", "control pool_restart",
		"control autoscale 5 2", "control enable_events", "control disable_events", "control heartbeat", "control election",
	}
	for i, line := range lines {
		if !strings.Contains(line, " -d ") && line != "inspect" && line != "control" {
			lines[i] += " -d " + pyNode + "," + goNode // who all have answered: no need to wait for more
			if !strings.Contains(line, " -t ") {
				lines[i] += " -t 120" // nor to fail because one was slow
			}
		}
	}
	c.both(t, lines...)
	c.celery(t, "list bindings") // it declares what it lists
	c.both(t, "list bindings")
}

func TestPurgeAsCelery(t *testing.T) {
	t.Parallel()
	c := &controlled{server: startRedis(t)}
	c.app = app{broker: c.server.url(0)}
	for _, lines := range [][]string{
		{"purge -f", "purge -f"}, {"purge -f -Q a,b", "purge -f -Q a,b -X b"}, {"purge -f -Q a -X a"}, {"purge -f -Q none,a -X b"}, {"purge"},
	} {
		fill := func() {
			for _, list := range []string{"celery", "a", "a\x06\x163", "a\x06\x169", "b"} {
				c.server.do(t, "DEL", list)
				c.server.do(t, "LPUSH", list, "1")
			}
		}
		fill()
		ours := c.apium(t, lines...)
		left := c.server.strings(t, "KEYS", "*")
		fill()
		theirs := c.celery(t, lines...)
		slices.Sort(left)
		for i, line := range lines {
			if line == "purge" { // the question is put in words of our own
				ours[i].stdout, theirs[i].stdout = "", ""
			}
			if theirs[i].status != ours[i].status || theirs[i].stdout != ours[i].stdout {
				t.Errorf("%s: Celery %d %q, we %d %q", line, theirs[i].status, theirs[i].stdout, ours[i].status, ours[i].stdout)
			}
		}
		keys := slices.DeleteFunc(c.server.strings(t, "KEYS", "*"), func(key string) bool { return strings.HasPrefix(key, "_kombu") })
		slices.Sort(keys)
		if !slices.Equal(keys, left) {
			t.Errorf("%q: Celery leaves %q, we %q", lines, keys, left)
		}
	}
}

// TestResultAsCelery prints results of the Python worker and ours.
func TestResultAsCelery(t *testing.T) {
	t.Parallel()
	c := startControlled(t)
	var ids []string
	c.run(t, &ids, `
import json, sys, tapp
ids = []
for queue in ("py", "go"):
    for value in (None, 5, 1.5, True, "text", "ä\n'", "", [1, "a", None], {"k": [1.0, "v"]}):
        ids.append(tapp.same.apply_async((value,), queue=queue))
    ids.append(tapp.fail.apply_async(("no",), queue=queue))
for r in ids:
    r.get(propagate=False, timeout=tapp.PATIENCE)
print(json.dumps([r.id for r in ids]))
`)
	var lines []string
	for _, id := range ids {
		lines = append(lines, "result "+id)
	}
	lines = append(lines, "result none --traceback", "result", "result a b", "result "+ids[len(ids)-1]+" --traceback")
	c.both(t, lines...)
	failed := c.apium(t, lines[len(ids)-1])[0]
	if !strings.HasSuffix(failed.stderr, "ValueError: no\n") {
		t.Errorf("%q", failed.stderr)
	}
}

var received = regexp.MustCompile(`local_received=[\d.]+`)

// TestEventsAsCelery has both command lines print the events of both workers.
func TestEventsAsCelery(t *testing.T) {
	t.Parallel()
	c := startControlled(t, "-E")
	listeners := func() int { return strings.Count(fmt.Sprintf("%s", c.server.do(t, "CLIENT", "LIST")), " psub=1 ") }
	before := listeners()
	theirs := start(t, "celery events", appDir, c.env(t), c.app.python(), "-W", "ignore", "-m", "celery", "-A", "tapp", "events", "--dump")
	ours := start(t, "apium events", "", nil, workerBinary, "-b", c.broker, "events")
	eventually(t, patience, "both listen", func() bool { return listeners() >= before+2 })
	c.run(t, nil, `
import tapp
for queue in ("py", "go"):
    for task in (tapp.add.si(1, 2), tapp.echo.si("ä", x=[None]), tapp.fail.si("no")):
        task.apply_async(queue=queue).get(propagate=False, timeout=tapp.PATIENCE)
`)
	printed := func(p *process) []string {
		var tasks []string
		for _, line := range strings.Split(p.log.String(), "\n") {
			if strings.Contains(line, "] task ") {
				tasks = append(tasks, received.ReplaceAllString(line, ""))
			}
		}
		slices.Sort(tasks)
		return tasks
	}
	const events = 2 * 3 * 3 // each is received, started and ends
	eventually(t, patience, "all events are printed", func() bool { return len(printed(theirs)) == events && len(printed(ours)) == events })
	if diff := cmp.Diff(printed(theirs), printed(ours)); diff != "" {
		t.Errorf("(-Celery +Apium):\n%s", diff)
	}
	if !strings.HasPrefix(ours.log.String(), "-> evdump: starting capture...\n") {
		t.Errorf("we begin with %.100q", ours.log.String())
	}
	ours.signal(t, syscall.SIGINT)
	if status := ours.exitCode(t); status != 0 {
		t.Error(fmt.Sprint("Ctrl-C ends with ", status))
	}
}

// TestCall: 'call' publishes what Celery's does, with the same options.
func TestCall(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	c := &controlled{app: app{broker: server.url(0)}}
	for _, options := range []string{
		`tapp.add`,
		`-a [1,2] -k {"z":3} tapp.add`,
		`tapp.add --queue q --serializer yaml`,
		`tapp.add --queue q --routing-key other --args [1]`,
		`tapp.add --countdown 30.5 --expires 60`,
		`tapp.add --eta 2031-01-02T03:04:05 --expires 2032-01-02T03:04:05`,
	} {
		published := func(run func(*testing.T, ...string) []ended) map[string]any {
			server.do(t, "FLUSHALL")
			end := run(t, "call "+options)[0]
			if end.status != 0 || len(strings.TrimSpace(end.stdout)) != 36 {
				t.Fatalf("%s: %+v", options, end)
			}
			for _, queue := range []string{"celery", "q"} {
				if messages := server.strings(t, "LRANGE", queue, 0, -1); len(messages) == 1 {
					return timeless(t, queue, messages[0])
				}
			}
			t.Fatalf("%s: nothing was published", options)
			return nil
		}
		celery := func(t *testing.T, lines ...string) []ended { return c.celery(t, lines...) }
		apium := func(t *testing.T, lines ...string) []ended { return c.apium(t, lines...) }
		if diff := cmp.Diff(published(celery), published(apium)); diff != "" {
			t.Errorf("%s (-Celery +ours):\n%s", options, diff)
		}
	}
}

// timeless is a message without what differs from one to the next.
func timeless(t *testing.T, queue, message string) map[string]any {
	t.Helper()
	var m struct {
		Body        []byte
		ContentType string `json:"content-type"`
		Headers     map[string]any
		Properties  map[string]any
	}
	if err := json.Unmarshal([]byte(message), &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "root_id", "origin", "lang", "argsrepr"} { // Python shows a list, we a tuple
		delete(m.Headers, name)
	}
	var body any
	if err := yaml.Unmarshal(m.Body, &body); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	for _, name := range []string{"eta", "expires"} { // the times of day count only where they were given
		switch text, _ := m.Headers[name].(string); {
		case strings.HasPrefix(text, "203"): // Celery leaves the time zone to the worker
			m.Headers[name] = strings.TrimSuffix(text, "+00:00")
		case text != "":
			m.Headers[name] = "soon"
		}
	}
	return map[string]any{
		"queue": queue, "type": m.ContentType, "body": body, "headers": m.Headers,
		"delivery": m.Properties["delivery_info"], "mode": m.Properties["delivery_mode"],
	}
}
