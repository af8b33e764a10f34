package cli

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/tasks"
)

func TestMistakesWithShards(t *testing.T) {
	t.Parallel()
	const form = "write NAME=BROKER_URL or NAME=BROKER_URL,RESULT_BACKEND, such as orders=redis://redis-1:6379/0,redis://redis-1:6379/1"
	for args, message := range map[string]string{
		"--shard orders":                               "Invalid value for '--shard': a broker without a name: " + form,
		"--shard redis://:secret@h/0?a=b":              "Invalid value for '--shard': a broker without a name: " + form,
		"--shard a/b=redis://:secret@h":                "Invalid value for '--shard': 'a/b' is no name for a shard, which has",
		"--shard a=":                                   "Invalid value for '--shard': 'a' has no broker: " + form,
		"--shard a=,redis://:secret@h":                 "Invalid value for '--shard': 'a' has no broker: " + form,
		"--shard a=secret":                             "Invalid value for '--shard': the broker of 'a' is no URL: " + form,
		"--shard a=redis://x --shard a=redis://y":      "Invalid value for '--shard': two are named 'a': give each a name of its own",
		"--shard a=redis://x/0 --shard b=redis://x":    "The shards a and b have the same broker, redis://x:6379/0: leave one out",
		"--shard a=redis://x -b redis://y":             "Option '-b/--broker' cannot be had with --shard: --shard names the brokers",
		"--shard a=redis://x --embedded":               "Option '--embedded' cannot be had with --shard: ",
		"--shard a=redis://x -B":                       "Option '-B/--beat' cannot be had with --shard: each of the brokers would be sent all periodic tasks",
		"--shard a=redis://x --shard b=sqs://:secret@": "Shard b: Broker: sqs:// is not supported yet",
		"--shard a=redis://x,mongodb://u:secret@h":     "Shard a: Result backend: 'mongodb://' is not supported yet",
		"--shard a=redis://x --shard b=redis://y -S s": "-S/--statedb s: the shards a and b would write the same file: put %n into its name",
		"--shard a=redis://x -A m --python /no/such":   "Shard a: Cannot run /no/such: ",
		"--shard a=redis://x -c many":                  "Shard a: Invalid value for '-c' / '--concurrency'",
	} {
		status, stdout, stderr := call(t, append([]string{"worker"}, strings.Fields(args)...)...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, "\n\nError: "+message) || strings.Contains(stderr, "secret") {
			t.Errorf("%q: status %d, stdout %q, stderr:\n%s\nwant %s", args, status, stdout, stderr, message)
		}
	}
}

// What a shard's worker is made of: its URLs, and the flags that all have.
func TestShardsAreCommandLines(t *testing.T) {
	host := nodename.Host()
	for _, test := range []struct {
		env, args string
		want      []string // of each shard: hostname, broker, result backend, state, log
	}{
		{"", "--shard a=redis://x --shard b=redis://:p,w@y/2,rpc://", []string{"a@H redis://x   ", "b@H redis://:p,w@y/2 rpc://  "}},
		{"a=redis://x b=redis://y", "-S %n.state", []string{"a@H redis://x  a.state ", "b@H redis://y  b.state "}},
		{"a=redis://x\nb=redis://y,redis://z", "-n w@h --result-backend redis://r -f %n.log", []string{"w-a@h redis://x redis://r  w.log", "w-b@h redis://y redis://z  w.log"}},
		{"a=redis://x", "-n h", []string{"a@h redis://x   "}},
		{"a=redis://x", "-n @h", []string{"a@h redis://x   "}},
		{"", "-b redis://x -f %n.log", []string{"celery@H redis://x   celery.log"}},
	} {
		if test.env != "" {
			t.Setenv("CELERY_WORKER_SHARD", test.env)
		} else {
			os.Unsetenv("CELERY_WORKER_SHARD")
		}
		p := &program{name: "apium", reg: tasks.NewRegistry()}
		app := p.app()
		var got []string
		app.Command("worker").Action = func(c *cli.Context) error {
			shards, err := readShards(c)
			if err != nil {
				return err
			}
			for _, sh := range shards {
				if err := p.read(sh); err != nil {
					return err
				}
				s := sh.s
				got = append(got, strings.ReplaceAll(strings.Join([]string{
					s.opts.Hostname, s.conf.BrokerURL, s.conf.ResultBackend, nodename.Path(s.conf.WorkerStateDB, s.opts.Hostname), s.logfile,
				}, " "), host, "H"))
			}
			return nil
		}
		args, err := normalise(app, append([]string{"worker", "--concurrency=3"}, strings.Fields(test.args)...))
		if err == nil {
			err = app.RunContext(t.Context(), append([]string{"apium"}, args...))
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s %s: %v\n%q, want\n%q", test.env, test.args, err, got, test.want)
		}
	}
}

// One shard gives up its broker, as settings say, and is served when that is there after all. Meanwhile the other one is, and
// systemd is told that the process is ready.
func TestShardThatGivesUp(t *testing.T) {
	t.Parallel()
	later, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	gone := later.URL()
	at, err := url.Parse(gone)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	later.Close()
	s := startSystemd(t)
	child, out := startChildWith(t, s.environ(), "worker", "-linfo", writeConfig(t, "broker_connection_retry_on_startup = false"),
		"--shard", "gone="+gone, "--shard", "there="+startEmbedded(t))
	out.waitFor(t, "Shard gone cannot be served, and the others go on: cannot connect to "+gone)
	s.waitFor(t, "STATUS=ready, but for gone: ")
	s.waitFor(t, "READY=1")
	s.waitFor(t, "WATCHDOG=1")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // until the port is free
		if later, err = embedded.Start(port); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	t.Cleanup(later.Close)
	out.waitFor(t, fmt.Sprintf("gone@%s ready. shard=gone\n", nodename.Host()))
	sendSignal(t, child, sigterm)
	s.waitFor(t, "STOPPING=1")
	wantExit(t, child, time.Minute)
}
