package cli

import (
	"strings"
	"testing"

	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

func TestStubsInPython(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   []string
		status int
		out    string // what the output has
		not    string // and what it has not
	}{
		{[]string{"stubs", "--python"}, exitOK, `def add(`, ""},
		{[]string{"stubs", "--python", "demo.sl*", "demo.fail"}, exitOK, `@shared_task(name="demo.fail")`, `demo.add`},
		{[]string{"stubs", "--python", "demo.ad"}, exitUsage, `There is no task "demo.ad". Did you mean "demo.add"?`, "shared_task"},
		{[]string{"stubs", "--python", "[z-a]*"}, exitUsage, `"[z-a]*" is no pattern`, "shared_task"},
	} {
		var out buffer
		reg := tasks.NewRegistry()
		sample.Register(reg)
		status := run(t.Context(), reg, append([]string{"shopworker"}, c.args...), &out, &out)
		if text := out.String(); status != c.status || !strings.Contains(text, c.out) || c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("%q: exit status %d\n%s", c.args, status, text)
		}
	}
}

func TestStubsUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		out  string
	}{
		{[]string{"stubs"}, "Missing option '-A' / '--app'"},
		{[]string{"stubs", "-A", "mysite", "--package", "a b"}, "Invalid value for '--package': 'a b' is no name of a Go package"},
		{[]string{"stubs", "-A", "mysite", "--interpreter", "/nowhere/python"}, "Cannot run /nowhere/python"},
		{[]string{"stubs", "-A", "mysite", "--python", "/nowhere/python"}, "name the Python /nowhere/python with --interpreter"},
		{[]string{"--python", "/nowhere/else", "stubs", "-A", "mysite"}, "Cannot run /nowhere/else"},
	} {
		var out buffer
		status := run(t.Context(), tasks.NewRegistry(), append([]string{"shopworker"}, c.args...), &out, &out)
		if text := out.String(); status != exitUsage || !strings.Contains(text, c.out) {
			t.Errorf("%q: exit status %d\n%s", c.args, status, text)
		}
	}
}
