package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/tasks"
)

func testApp() *program { return &program{name: "apium", reg: tasks.NewRegistry()} }

func TestNormalise(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"worker", "worker"},
		{"-A proj worker -l info", "--app=proj worker --loglevel=info"},
		{"worker -A proj -lINFO -c4", "--app=proj worker --loglevel=INFO --concurrency=4"},
		{"--app=proj worker --loglevel=info --concurrency=4", "--app=proj worker --loglevel=info --concurrency=4"},
		{"worker --loglevel info --concurrency 4", "worker --loglevel=info --concurrency=4"},
		{"worker -Qa,b -Q c -c=4", "worker --queues=c --concurrency=4"},
		{"worker -l info --queues a -Q b --loglevel=debug -EE", "worker --queues=b --loglevel=debug --task-events"},
		{"-b redis://x -A a worker -A b", "--broker=redis://x --app=b worker"},
		{"worker --unknown-task fail --unknown-task a=park", "worker --unknown-task=fail --unknown-task=a=park"},
		{"worker --version -l info", "--version"},
		{"call add -k {}", "send --kwargs={} -- add"},
		{"-b redis://x worker", "--broker=redis://x worker"},
		{"worker -b redis://x", "--broker=redis://x worker"},
		{"worker -El info -P prefork", "worker --task-events --loglevel=info --pool=prefork"},
		{"worker --without-gossip -O fair", "worker --without-gossip --optimization=fair"},
		{"-qC worker", "--quiet --no-color worker"},
		{"worker extra", "worker -- extra"},
		{"worker -n -odd", "worker --hostname=-odd"},
		{"send add 1 -2 --wait", "send --wait -- add 1 -2"},
		{"send add -.5 -- --wait -x", "send -- add -.5 --wait -x"},
		{"send --queue q add -k {}", "send --queue=q --kwargs={} -- add"},
		{"--help", "--help"},
		{"worker --help", "worker --help"},
		{"worker -h", "worker --help"},
		{"--version", "--version"},
		{"", ""},
	}
	for _, test := range tests {
		got, err := normalise(testApp().app(), strings.Fields(test.in))
		if err != nil {
			t.Errorf("%q: %v", test.in, err)
			continue
		}
		if diff := cmp.Diff(strings.Fields(test.want), append([]string{}, got...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.in, diff)
		}
	}
}

func TestNormaliseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, command, message string }{
		{"worker --bogus", "apium worker", "No such option '--bogus'."},
		{"worker --concurency 3", "apium worker", "No such option '--concurency'. Did you mean '--concurrency'?"},
		{"worker --conc 3", "apium worker", "No such option '--conc'. Did you mean '--concurrency'?"},
		{"worker -Z", "apium worker", "No such option '-Z'."},
		{"worker -é", "apium worker", "No such option '-é'."},
		{"worker -l", "apium worker", "Option '-l' requires an argument."},
		{"worker --loglevel", "apium worker", "Option '--loglevel' requires an argument."},
		{"--bogus worker", "apium", "No such option '--bogus'."},
		{"bogus", "apium", "No such command 'bogus'."},
		{"-A shop multi start w1 -c3", "apium", "There is no command 'multi' here. Each worker is a service of its own: systemd, Docker or Kubernetes start and stop them (docs/deployment.md)."},
		{"wroker", "apium", "No such command 'wroker'. Did you mean 'worker'?"},
	}
	for _, test := range tests {
		_, err := normalise(testApp().app(), strings.Fields(test.in))
		want := "Usage: " + test.command + " [OPTIONS]\nTry '" + test.command + " --help' for help.\n\nError: " + test.message
		if err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", test.in, err, want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add("-A proj worker -lINFO --concurrency=4 -- x")
	f.Add("send add 1 -2 -k {} -")
	f.Fuzz(func(t *testing.T, line string) {
		out, err := normalise(testApp().app(), strings.Split(line, " "))
		if err != nil {
			return
		}
		again, err := normalise(testApp().app(), out)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", line, out, err)
		}
		if diff := cmp.Diff(out, again); diff != "" {
			t.Fatalf("%q became %q, and that something else:\n%s", line, out, diff)
		}
	})
}
