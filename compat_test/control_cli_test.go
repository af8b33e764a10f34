package compat_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// say runs a command of Celery's own command line.
func (c *controlled) say(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command(c.app.python(), append([]string{"-m", "celery", "-A", "tapp"}, args...)...)
	cmd.Dir, cmd.Env = appDir, append(os.Environ(), c.env(t)...)
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

var nodeBlock = regexp.MustCompile(`(?m)^->  (\S+): (.*)\n((?: .*\n|\n)*)`)

// TestControlCommandLine runs celery status, inspect and control once for each command:
// it hears both workers and prints the same about them.
func TestControlCommandLine(t *testing.T) {
	t.Parallel()
	c := startControlled(t)
	for _, line := range []struct{ args, mayDiffer string }{
		{"status", ""},
		{"inspect ping", ""},
		{"inspect active", ""},
		{"inspect reserved", ""},
		{"inspect scheduled", ""},
		{"inspect revoked", ""},
		{"inspect active_queues", ""},
		{"inspect query_task nope", ""},
		{"inspect objgraph Request 1 1", ""},
		{"inspect clock", "two clocks"},
		{"inspect stats", "two processes"},
		{"inspect registered", "ours has more tasks"},
		{"inspect conf", "other settings"},
		{"inspect report", "other software"},
		{"inspect memsample", "no psutil"},
		{"inspect memdump", "no psutil"},
		{"control revoke a", ""},
		{"control terminate KILL a", ""},
		{"control revoke_by_stamped_headers k=v", ""},
		{"control rate_limit tapp.add 5/m", ""},
		{"control rate_limit nope 5/m", ""},
		{"control time_limit tapp.add 1 2", ""},
		{"control pool_grow 1", ""},
		{"control pool_shrink 1", ""},
		{"control pool_restart", ""},
		{"control autoscale 3 1", ""},
		{"control add_consumer more", ""},
		{"control cancel_consumer more", ""},
		{"control heartbeat", ""},
		{"control enable_events", ""},
		{"control disable_events", ""},
	} {
		args := append(strings.Fields(line.args), "-d", pyNode+","+goNode, "-t", "120")
		output, code := c.say(t, args...)
		if code != 0 {
			t.Errorf("celery %s: exit code %d\n%s", line.args, code, output)
			continue
		}
		said := map[string]string{}
		for _, m := range nodeBlock.FindAllStringSubmatch(output, -1) {
			said[m[1]] = m[2] + "\n" + strings.NewReplacer(goNode, "NODE", pyNode, "NODE", "'py'", "'QUEUE'", "'go'", "'QUEUE'").Replace(m[3])
		}
		if len(said) != 2 {
			t.Errorf("celery %s: replies of %d nodes\n%s", line.args, len(said), output)
			continue
		}
		diff := cmp.Diff(blank(said[pyNode]), blank(said[goNode]))
		if diff != "" && line.mayDiffer == "" {
			t.Errorf("celery %s (-Python +Go):\n%s", line.args, diff)
		}
	}
	for _, p := range []*process{c.python, c.go_} {
		node := map[*process]string{c.python: pyNode, c.go_: goNode}[p]
		// Nobody answers this one, for which Celery's command line has a code of its own.
		if output, code := c.say(t, "control", "shutdown", "-d", node); code != 69 {
			t.Errorf("shutdown of %s: exit code %d\n%s", node, code, output)
		}
		if code := p.exitCode(t); code != 0 {
			t.Errorf("%s ended with %d", p.name, code)
		}
	}
	for _, key := range c.server.strings(t, "KEYS", "*pidbox*") {
		t.Errorf("%s is left", key)
	}
}

// blank is text without what depends on who comes last.
func blank(text string) string {
	text, _, _ = strings.Cut(text, "\n\n2 nodes online.")
	return strings.TrimSpace(text)
}
