package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/tasks"
)

// buffer can be waited on.
type buffer struct{ logtest.Buffer }

func (b *buffer) waitFor(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(b.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in:\n%s", text, b.String())
		}
		time.Sleep(time.Millisecond)
	}
}

func testRegistry() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("proj.add", func(x, y float64) float64 { return x + y }, tasks.Params("x, y"))
	reg.Register("proj.echo", func(value any) any { return value }, tasks.Params("value"))
	reg.Register("proj.fail", func(message string) error { return tasks.Raise("ValueError", message) }, tasks.Params("message"))
	reg.Register("proj.stubborn", func() {
		fmt.Fprintln(os.Stderr, "proj.stubborn runs")
		select {}
	})
	reg.Register("proj.nap", func(seconds float64) float64 {
		fmt.Fprintln(os.Stderr, "proj.nap runs")
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return seconds
	}, tasks.Params("seconds"))
	return reg
}

// call runs one command to its end.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	status = run(t.Context(), testRegistry(), append([]string{"apium"}, args...), &out, &errs)
	return status, out.String(), errs.String()
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	const noPython = "Cannot run /no/such/python: no such file or directory\n" +
		"Name the project's Python with --python, or do without: export the app's settings " +
		"(scripts/export_settings.py -A mysite > celery.json) and give them with --config celery.json"
	tests := []struct {
		args    string
		message string // after "Error: "
	}{
		{"worker --bogus", "No such option '--bogus'."},
		{"worker -l bogus", "Invalid value for '-l' / '--loglevel': 'BOGUS' is not one of 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL'"},
		{"worker -c abc", "Invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got 'abc'"},
		{"worker -c -1", "Invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got '-1'"},
		{"worker --port x", "Invalid value for '--port': 'x' is not a valid integer"},
		{"worker --prefetch-multiplier=-1", "Invalid value for '--prefetch-multiplier': -1 is negative"},
		{"worker --go-concurrency=-1", "Invalid value for '--go-concurrency': -1 is negative"},
		{"worker --log-format xml", "Invalid value for '--log-format': 'xml' is not one of text, json"},
		{"worker --shutdown-timeout soon", `Invalid value for '--shutdown-timeout': 'soon' is not a number of seconds, nor a duration like 1h30m`},
		{"worker --result-expires nan", "Invalid value for '--result-expires': 'nan' is not a number of seconds from 0 to 3153600000"},
		{"worker extra", "Got unexpected argument 'extra'"},
		{"worker -Q a -X a", "No queue is left to consume from"},
		{"worker --autoscale 3,a", "Invalid value for '--autoscale': expected two comma separated integers or one integer, got '3,a'"},
		{"worker --autoscale 0", "Invalid value for '--autoscale': the larger number must be at least 1, not 0"},
		{"worker -P bogus", "Invalid value for '-P' / '--pool': 'bogus' is not one of 'prefork', 'eventlet', 'gevent', 'solo', 'processes', 'threads', 'custom'"},
		{"worker worker_pool=bogus", "Invalid value for '-P' / '--pool': 'bogus' is not one of 'prefork', "},
		{"worker -O bogus", "Invalid value for '-O' / '--optimization': 'bogus' is not one of 'default', 'fair'"},
		{"worker --result-backend django-db", "Result backend: django-db leaves open which database: name it, django-db+postgresql://user:password@host/name, or let scripts/export_settings.py write the settings file, which takes it from Django's DATABASES"},
		{"worker --result-backend db+oracle://u:secret@h/x", "Result backend: there is no driver for oracle://: PostgreSQL, MySQL, MariaDB and SQLite are supported"},
		{"worker --result-backend mongodb://u:secret@h/x", "Result backend: 'mongodb://' is not supported yet: only Python's worker stores results there. Results can be stored in Redis, where Python reads them, with a redis:// URL; disabled:// stores none"},
		{"worker -b redis://h?foo=1", "Broker: redis URL redis://h/: unexpected query parameter foo: such options belong in broker_transport_options"},
		{"-A mysite --python /no/such/python worker", noPython + "; then all tasks run in Go"},
		{"worker -A mysite --python /no/such/python -E", noPython + "; then all tasks run in Go"},
		{"-A mysite purge -f --python /no/such/python", noPython},
		{"-A mysite status --python /no/such/python", noPython},
		{"-A mysite send x --python /no/such/python", noPython},
		{"-A mysite events --python=/no/such/python", noPython},
		{"-A mysite inspect ping --python=/no/such/python", noPython},
		{"-A mysite control shutdown --python=/no/such/python", noPython},
		{"-A mysite list queues --python=/no/such/python", noPython},
		{"-A mysite result x --python=/no/such/python", noPython},
		{"-A mysite report --python=/no/such/python", noPython},
		{"-A mysite unpark --python=/no/such/python -b redis://h", noPython},
		{"-A mysite dlq list --python /no/such/python", noPython},
		{"worker -B --scheduler proj.Own", "Scheduler 'proj.Own': it is a class in Python, and cannot be used here"},
		{"worker -D", "Option '--detach': run the worker under systemd, a container or nohup"},
		{"worker worker_concurency=3", "Command line: worker_concurency: unknown setting. Did you mean 'worker_concurrency'?"},
		{"worker --broker-transport-options visibility_timeout=0", "--broker-transport-options: visibility_timeout: 0s is less than a second"},
		{"send", "Missing argument 'NAME'"},
		{"send x --wait", "--wait needs a --result-backend to read the result from"},
		{"send x [1,", "Argument '[1,' is not JSON: Expecting value: line 1 column 4 (char 3)"},
		{"send x 1 -a [1]", "Give arguments one by one or as --args, not both"},
		{"send x --eta soon", "Invalid value for '--eta'"},
		{"nosuch", "No such command 'nosuch'."},
	}
	for _, test := range tests {
		status, stdout, stderr := call(t, strings.Fields(test.args)...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, "\n\nError: "+test.message) {
			t.Errorf("%q: status %d, stdout %q, stderr:\n%s\nwant %s", test.args, status, stdout, stderr, test.message)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                 "COMMANDS",
		"--help":           "COMMANDS",
		"worker --help":    "--prefetch-multiplier",
		"send --help":      "--countdown",
		"version":          "apium ",
		"--version":        "apium ",
		"worker --version": "apium ",
		"call --help":      "--routing-key",
		"-A x --help":      "COMMANDS",
		"worker -E -h":     "--metrics-addr",
		"demo --help":      "--keep",
		"version --help":   "print the version",
		"worker -A p  -h":  "CELERY_WORKER_QUEUES",
	} {
		if status, stdout, stderr := call(t, strings.Fields(args)...); status != exitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("%q: status %d, stderr %q, stdout:\n%s", args, status, stderr, stdout)
		}
	}
}

func TestWrongBrokerPassword(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	url := strings.Replace(server.URL(), "redis://", "redis://:secret@", 1)
	status, stdout, stderr := call(t, "worker", "-b", url)
	if status != exitUnavailable || !strings.HasPrefix(stderr, "Error: cannot connect to redis://:**@127.0.0.1:") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	if strings.Contains(stdout+stderr, "secret") {
		t.Errorf("the password is shown:\n%s%s", stdout, stderr)
	}
}

func TestWorkerAndSend(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	url := server.URL()

	ctx, stop := context.WithCancel(t.Context())
	var out, log buffer
	ended := make(chan int, 1)
	config := writeConfig(t, "")
	go func() {
		ended <- run(ctx, testRegistry(), []string{
			"apium", "-A", "proj", config, "worker", "-linfo", "-c2", "-nw1@%h", "-Qcelery,other",
			"-b", url, "--result-backend", url, "-Ofair",
		}, &out, &log)
	}()
	log.waitFor(t, "ready.")

	tests := []struct {
		args   string
		status int
		stdout string
	}{
		{"proj.add 1 2.5", 0, "3.5"},
		{"proj.add 1 -2", 0, "-1.0"},
		{"proj.add -k {\"x\":1,\"y\":2}", 0, "3.0"},
		{"proj.add -a [1,2] --queue other --priority 9", 0, "3.0"},
		{"proj.echo Grüße", 0, `"Gr\u00fc\u00dfe"`},
		{"proj.echo null --countdown 0.01 --expires 60", 0, "null"},
		{"proj.fail bad", 1, "ValueError: bad"},
		{"proj.add 1", 1, "TypeError: add() missing 1 required positional argument: 'y'"},
		{"proj.nosuch", 1, "celery.exceptions.NotRegistered: proj.nosuch"},
	}
	for _, test := range tests {
		args := append([]string{"send", "-b", url, "--result-backend", url, "--wait", "--timeout", "20"}, strings.Fields(test.args)...)
		status, stdout, stderr := call(t, args...)
		if status != test.status || strings.TrimSpace(stdout) != test.stdout {
			t.Errorf("send %s: status %d, stdout %q, stderr %q; want %d, %q", test.args, status, stdout, stderr, test.status, test.stdout)
		}
	}
	status, stdout, _ := call(t, "send", "-b", url, "proj.echo", "1", "--task-id", "my-id")
	if status != exitOK || stdout != "my-id\n" {
		t.Errorf("send without --wait: status %d, %q", status, stdout)
	}
	log.waitFor(t, "Task proj.echo[my-id] succeeded in ")
	stop()
	if status := <-ended; status != exitOK {
		t.Errorf("worker ended with %d:\n%s", status, log.String())
	}
	for _, want := range []string{"- ** ---------- .> transport:   " + url, ".> other            exchange=other(direct) key=other", "  . proj.add\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the banner lacks %q:\n%s", want, out.String())
		}
	}
	for _, want := range []string{
		"INFO/MainProcess] Connected to " + url,
		"INFO/MainProcess] Task proj.echo[my-id] received",
		"INFO/MainProcess] mingle: all alone",
		"WARNING/MainProcess] -O/--optimization has no effect",
		"raised unexpected: ValueError('bad')",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := call(t, "demo")
	if status != exitOK || stderr != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{
		"For trying out only", "demo.add(2, 3) ", "'Grüße, κόσμε'", "ValueError: no tea left",
		"TypeError: add() missing 1 required positional argument: 'y'", "NotRegistered",
		"1000 of 1000 right", `pip install "celery[redis]"`, "demo --keep --port", "countdown=1",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the demo does not print %q:\n%s", want, stdout)
		}
	}
}

func TestDemoKeepsRunning(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var out, log buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, testRegistry(), []string{"apium", "demo", "--keep"}, &out, &log) }()
	out.waitFor(t, "Ctrl-C ends them")
	_, rest, _ := strings.Cut(out.String(), "the Redis is at ")
	url, _, _ := strings.Cut(rest, "\n")
	status, stdout, stderr := call(t, "send", "-b", url, "--result-backend", url, "-w", "--timeout", "20", "proj.add", "1", "2")
	if status != exitOK || stdout != "3.0\n" {
		t.Errorf("send: status %d, %q, %q", status, stdout, stderr)
	}
	log.waitFor(t, "Task proj.add[")
	stop()
	if status := <-ended; status != exitOK {
		t.Errorf("demo ended with %d", status)
	}
}
