package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/doctor"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// ill is a Redis with workers, on which the doctor is to find something.
type ill struct {
	*testing.T
	server *redistest.Server
	url    string
	args   []string // of the doctor
}

// safe are the options of a Redis about which there is nothing to say.
var safe = redistest.Args("--appendonly", "yes")

func newIll(t *testing.T, opts ...redistest.Option) *ill {
	t.Helper()
	server := redistest.Start(t, opts...)
	return &ill{T: t, server: server, url: server.URL(0)}
}

// as has the doctor log in as a user with these rights.
func (i *ill) as(user string, rights ...any) *ill {
	i.Helper()
	i.server.Do(i.T, "ACL", append([]any{"SETUSER", user, "on", ">secret"}, rights...)...)
	i.url = strings.Replace(i.url, "redis://", "redis://"+user+":secret@", 1)
	return i
}

// worker starts a worker, which is stopped at the end of the test at the latest.
func (i *ill) worker(reg *tasks.Registry, args ...string) (stop func()) {
	i.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var log buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		args = append([]string{"apium", "worker", "-linfo", "-b", i.url, "--result-backend", i.url}, args...)
		run(ctx, reg, args, &log, &log)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	i.Cleanup(stop)
	log.waitFor(i.T, "ready.")
	return stop
}

// call runs a command.
func (i *ill) call(line string) (status int, stdout string) {
	i.Helper()
	status, stdout, stderr := call(i.T, append([]string{"-b", i.url, "--result-backend", i.url}, strings.Fields(line)...)...)
	return status, stdout + stderr
}

// examine is what the doctor finds. A busy machine is given time.
func (i *ill) examine() (e examined) {
	args := append([]string{"doctor", "--json", "--timeout", "8", "-b", i.url}, i.args...)
	if !slices.Contains(i.args, "--result-backend") {
		args = append(args, "--result-backend", i.url)
	}
	status, stdout, stderr := call(i.T, args...)
	e.status = status
	if e.err = json.Unmarshal([]byte(stdout), &e.report); e.err != nil {
		e.err = fmt.Errorf("%w: %s%s", e.err, stdout, stderr)
	}
	return e
}

// named are the findings of a check.
func named(r doctor.Report, check string) (found []doctor.Finding) {
	for _, f := range r.Findings {
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

// illness is something that the doctor finds.
type illness struct {
	check, severity, says string
	make                  func(t *testing.T) *ill
}

// illnesses are what the doctor finds: by check, each with what brings it about and a part of what is said. What needs Celery
// or RabbitMQ itself is in compat_test/doctor_test.go.
var illnesses = []illness{
	{"broker", "error", "is Redis running", func(t *testing.T) *ill {
		return &ill{T: t, url: "redis://127.0.0.1:1/0"}
	}},
	{"broker", "error", "the user name or the password is wrong", func(t *testing.T) *ill {
		i := newIll(t, redistest.Password("right"))
		i.url = strings.Replace(i.url, "right", "wrong", 1)
		return i
	}},
	{"results", "error", "is Redis running", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.args = []string{"--result-backend", "redis://127.0.0.1:1/0"}
		return i
	}},
	{"settings", "error", "must be a number of seconds", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.args = []string{"--broker-transport-options", `{"visibility_timeout": "soon"}`}
		return i
	}},
	{"settings", "error", "sqs:// is not supported yet", func(t *testing.T) *ill { return &ill{T: t, url: "sqs://"} }},
	{"settings", "error", "Name the project's Python with --python", func(t *testing.T) *ill {
		return &ill{T: t, url: "redis://127.0.0.1:1/0", args: []string{"-A", "no.such.app"}}
	}},
	{"redis-version", "error", "Redis 2.0.15 is too old", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.url = "redis://" + rewriting(t, i.server.Addr(), "redis_version:7.", "redis_version:2.") + "/0"
		return i
	}},
	{"redis-cluster", "error", "Redis is in cluster mode", func(t *testing.T) *ill { return newIll(t, safe, redistest.Args("--cluster-enabled", "yes")) }},
	{"redis-replica", "error", "Redis is a replica", func(t *testing.T) *ill {
		return newIll(t, redistest.ReplicaOf(redistest.Start(t)))
	}},
	{"redis-saving", "error", "the last snapshot failed", func(t *testing.T) *ill {
		i := newIll(t, redistest.Args("--dbfilename", "taken"))
		if err := os.Mkdir(filepath.Join(filepath.Dir(i.server.Socket()), "taken"), 0o700); err != nil {
			t.Fatal(err)
		}
		i.server.Do(t, "SET", "x", "y")
		i.server.Do(t, "BGSAVE")
		for deadline := time.Now().Add(time.Minute); !strings.Contains(string(i.server.Do(t, "INFO", "persistence").([]byte)), "rdb_last_bgsave_status:err"); {
			if time.Now().After(deadline) {
				t.Fatal("the snapshot does not fail")
			}
			time.Sleep(10 * time.Millisecond)
		}
		return i
	}},
	{"redis-eviction", "error", "maxmemory-policy is allkeys-lru", func(t *testing.T) *ill {
		return newIll(t, redistest.Args("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"))
	}},
	{"redis-eviction", "warning", "signs of life", func(t *testing.T) *ill {
		return newIll(t, redistest.Args("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"))
	}},
	{"redis-eviction", "warning", "holds results", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.args = []string{"--result-backend", redistest.Start(t, redistest.Args("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")).URL(0)}
		return i
	}},
	{"redis-memory", "warning", "% full", func(t *testing.T) *ill {
		i := newIll(t, redistest.MaxMemory(64<<20))
		i.server.Do(t, "SETRANGE", "big", 55<<20, "x")
		return i
	}},
	{"redis-connections", "warning", "Redis has", func(t *testing.T) *ill {
		i := newIll(t, redistest.Args("--maxclients", "20"))
		for range 16 {
			i.server.Dial(t, 0)
		}
		return i
	}},
	{"redis-persistence", "warning", "keeps everything in memory only", func(t *testing.T) *ill { return newIll(t) }},
	{"rights", "error", "The user narrow lacks rights that a worker needs", func(t *testing.T) *ill {
		return newIll(t, safe).as("narrow", "~*", "&*", "+@all", "-lpush")
	}},
	{"rights", "error", "~mail", func(t *testing.T) *ill {
		i := newIll(t, safe).as("narrow", append(documentedRights(t)["worker"], "+info", "+time", "+config|get")...)
		i.args = []string{"--config", settingsFileOf(t, `{"task_queues": [{"name": "celery"}, {"name": "mail"}], "broker_transport_options": {"polling_interval": 1}}`)}
		return i
	}},
	{"rights", "note", "has the rights of: beat, operator", func(t *testing.T) *ill {
		return newIll(t, safe).as("narrow", documentedRights(t)["operator"]...)
	}},
	{"workers", "error", "No worker answers", func(t *testing.T) *ill { return newIll(t, safe) }},
	{"silent-workers", "warning", "deaf@h consumes celery", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "deaf@h", "--without-heartbeat", "worker_enable_remote_control=false")
		return i
	}},
	{"double-names", "warning", "w@h", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h")
		i.worker(testRegistry(), "-n", "w@h")
		return i
	}},
	{"queues", "error", "mail: 2 messages wait", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h")
		i.call("send proj.add 1 2 --queue mail")
		i.call("send proj.add 1 2 --queue mail --priority 9")
		return i
	}},
	{"queues", "warning", "mail", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h")
		i.args = []string{"--config", settingsFileOf(t, `{"task_routes": {"proj.mail": {"queue": "mail"}}}`)}
		return i
	}},
	{"tasks", "error", "not known to poor@h (Apium", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "rich@h")
		i.worker(poorRegistry(), "-n", "poor@h")
		return i
	}},
	{"dead-letters", "warning", "2 × not readable", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.server.Do(t, "LPUSH", "celery", "no message", "none either")
		i.worker(testRegistry(), "-n", "w@h")
		i.waitFor("dlq list --json", func(out string) bool { return strings.Count(out, "\n") == 2 })
		return i
	}},
	{"parked", "note", "1 message is parked", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.park()
		return i
	}},
	{"parked", "warning", "celery: 1", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.park()()
		return i
	}},
	{"visibility-timeout", "error", "77 s: w@h", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h", "--visibility-timeout", "77")
		return i
	}},
	{"settings-apart", "error", "result_backend is not the same everywhere", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h", "--result-backend", i.server.URL(3))
		return i
	}},
	{"settings-apart", "error", "priority_steps is not the same everywhere", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h", "--broker-transport-options", `{"priority_steps": [0, 5]}`)
		return i
	}},
	{"content", "error", "w@h accepts json", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.worker(testRegistry(), "-n", "w@h")
		i.args = []string{"--config", settingsFileOf(t, `{"task_serializer": "yaml", "accept_content": ["json", "yaml"]}`)}
		return i
	}},
	{"result-expires", "warning", "result_expires is 0", func(t *testing.T) *ill {
		i := newIll(t, safe)
		i.args = []string{"--config", settingsFileOf(t, `{"result_expires": null}`)}
		return i
	}},
}

// settingsFileOf is a file with settings.
func settingsFileOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "celery.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// poorRegistry lacks most of the tasks of testRegistry.
func poorRegistry() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("proj.add", func(x, y float64) float64 { return x + y }, tasks.Params("x, y"))
	return reg
}

// waitFor repeats a command until it prints what is wanted.
func (i *ill) waitFor(line string, wanted func(out string) bool) {
	i.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		_, out := i.call(line)
		if wanted(out) {
			return
		}
		if time.Now().After(deadline) {
			i.Fatalf("%s prints\n%s", line, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// park has a worker park a message.
func (i *ill) park() (stop func()) {
	i.Helper()
	stop = i.worker(testRegistry(), "-n", "w@h")
	i.call("send proj.add 1 2 --countdown 3600")
	i.waitFor("list queues --json", func(out string) bool { return strings.Contains(out, `"parked": 1`) })
	return stop
}

// rewriting is the address of a server between us and another, whose answers are changed.
func rewriting(t *testing.T, addr, from, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); server.Close() }()
			go func() {
				defer client.Close()
				part := make([]byte, 1<<20)
				for {
					n, err := server.Read(part)
					if _, broken := client.Write([]byte(strings.ReplaceAll(string(part[:n]), from, to))); err != nil || broken != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// examined is what came of an examination.
type examined struct {
	status int
	report doctor.Report
	err    error
}

// Each check finds what it is for, with the real thing, and says something about it. All are examined at the same time: it is
// mostly waiting.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	results := make([]chan examined, len(illnesses))
	for n, illness := range illnesses {
		i := illness.make(t)
		results[n] = make(chan examined, 1)
		go func() { results[n] <- i.examine() }()
	}
	for n, illness := range illnesses {
		e := <-results[n]
		t.Run(illness.check+" "+illness.says, func(t *testing.T) {
			found := named(e.report, illness.check)
			if e.err != nil || len(found) != 1 || string(found[0].Severity) != illness.severity || !strings.Contains(fmt.Sprint(found[0]), illness.says) {
				t.Fatalf("%v, %d found\n%+v", e.err, len(found), e.report)
			}
			if f := found[0]; f.Severity != doctor.Note && (f.Meaning == "" || f.Advice == "") {
				t.Errorf("%+v says too little", f)
			}
			want := exitOK
			switch {
			case illness.check == "settings":
				want = exitUsage
			case illness.check == "broker" || illness.check == "results":
				want = exitUnavailable
			case e.report.Count(doctor.Error) > 0:
				want = exitFailure
			}
			if e.status != want {
				t.Errorf("status %d, want %d", e.status, want)
			}
		})
	}
}

// Where nothing is wrong, all checks are silent, and the text is short.
func TestDoctorIsSilent(t *testing.T) {
	t.Parallel()
	i := newIll(t, safe)
	i.worker(testRegistry(), "-n", "w@h")
	if e := i.examine(); e.err != nil || e.status != exitOK || len(e.report.Findings) > 0 || len(e.report.Unseen) > 0 {
		t.Errorf("status %d, %v\n%+v", e.status, e.err, e.report)
	}
	status, said := i.call("doctor --strict")
	want := fmt.Sprintf("Redis %s at %s, results there, too\n0 workers of Celery, 1 of Apium; 1 queue, 0 messages waiting\n\nAll is well: %d checks, nothing to do.\n",
		i.version(), i.url, len(doctor.Checks()))
	if status != exitOK || said != want {
		t.Errorf("status %d\n%s\nwant\n%s", status, said, want)
	}
}

// A node of a cluster serves, if all keys are in one slot.
func TestDoctorKnowsHashTags(t *testing.T) {
	t.Parallel()
	i := newIll(t, safe, redistest.Cluster())
	config := filepath.Join(t.TempDir(), "celery.json")
	tagged := `{"broker_transport_options": {"global_keyprefix": "{celery}."}, "result_backend_transport_options": {"global_keyprefix": "%s"}}`
	for results, found := range map[string]int{"{celery}.": 0, "celery.": 1} {
		if err := os.WriteFile(config, fmt.Appendf(nil, tagged, results), 0o600); err != nil {
			t.Fatal(err)
		}
		i.args = []string{"--config", config}
		if e := i.examine(); e.err != nil || len(named(e.report, "redis-cluster")) != found {
			t.Errorf("results at %q: %v\n%+v", results, e.err, e.report)
		}
	}
}

// version is that of the server.
func (i *ill) version() string {
	info, _ := i.server.Do(i.T, "INFO", "server").([]byte)
	_, version, _ := strings.Cut(string(info), "redis_version:")
	version, _, _ = strings.Cut(version, "\r")
	return version
}

// Every check has something that it finds.
func TestEveryCheckFinds(t *testing.T) {
	t.Parallel()
	elsewhere, err := os.ReadFile("../compat_test/doctor_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range doctor.Checks() {
		here := slices.ContainsFunc(illnesses, func(i illness) bool { return i.check == check })
		if !here && !strings.Contains(string(elsewhere), `"`+check+`": `) {
			t.Errorf("no test lets %s find something", check)
		}
	}
}

// With --strict warnings count, and without they do not.
func TestDoctorStatus(t *testing.T) {
	t.Parallel()
	i := newIll(t)
	i.worker(testRegistry(), "-n", "w@h")
	for line, want := range map[string]int{"doctor": exitOK, "doctor --strict": exitFailure, "doctor --strict --json": exitFailure, "doctor extra": exitUsage} {
		if status, said := i.call(line); status != want {
			t.Errorf("%s: status %d, want %d\n%s", line, status, want, said)
		}
	}
}

// What this user may not look at is said, and the rest is looked at.
func TestDoctorWithoutRights(t *testing.T) {
	t.Parallel()
	i := newIll(t)
	i.server.Do(t, "ACL", "SETUSER", "poor", "on", ">secret", "~*", "&*", "+@all", "-info", "-time", "-config", "-psubscribe")
	i.worker(testRegistry(), "-n", "w@h")
	i.url = strings.Replace(i.url, "redis://", "redis://poor:secret@", 1)
	e := i.examine()
	if e.status != exitOK || len(e.report.Seen.Workers) != 1 {
		t.Errorf("status %d, %v\n%+v", e.status, e.err, e.report)
	}
	for _, part := range []string{"INFO", "TIME", "PSUBSCRIBE"} {
		if !slices.ContainsFunc(e.report.Unseen, func(u doctor.Unseen) bool {
			return strings.Contains(u.Why, "does not allow this user to run the command "+part)
		}) {
			t.Errorf("%s is not in %+v", part, e.report.Unseen)
		}
	}
	_, said := i.call("doctor")
	if !strings.Contains(said, "\nNot looked at: ") {
		t.Error(said)
	}
}

// An operator reads this at three in the morning.
func TestDoctorText(t *testing.T) {
	t.Parallel()
	r := &doctor.Report{
		Seen: doctor.Seen{Broker: "redis://h:6379/0", Server: "Redis 7.0.15", Results: "redis://h:6379/1", Queues: 2, Waiting: 1, Workers: []*doctor.Worker{
			{Node: "a@h", Software: map[string]string{"apium": "1.0"}}, {Node: "b@h", Software: map[string]string{"celery": "5.7.0"}},
		}},
		Findings: []doctor.Finding{
			{
				Severity: doctor.Error, Title: "It is broken", Details: []string{"here", strings.Repeat("words ", 20)},
				Meaning: "Nothing works. " + strings.Repeat("Really. ", 12), Advice: "Mend it.",
			},
			{Severity: doctor.Note, Title: "It rains"},
		},
		Unseen: []doctor.Unseen{{What: "the sky", Why: "it is dark"}},
	}
	want := `Redis 7.0.15 at redis://h:6379/0, results in redis://h:6379/1
1 worker of Celery, 1 of Apium; 2 queues, 1 message waiting

ERROR   It is broken
          here
          words words words words words words words words words words words words words words words words
            words words words words
        Nothing works. Really. Really. Really. Really. Really. Really. Really. Really. Really. Really. Really.
        Really.
     -> Mend it.

NOTE    It rains

Not looked at: the sky: it is dark

1 error, 0 warnings.
`
	if said := doctorText(r, plain); said != want {
		t.Errorf("%s\nwant\n%s", said, want)
	}
}

// The users of the documentation have the rights of their roles, and each right that is taken from a worker or a producer is missed.
func TestDoctorKnowsTheDocumentedRights(t *testing.T) {
	t.Parallel()
	i := newIll(t)
	urls := i.url
	conf := settings.Default()
	lacks := func(user, role string) (words []string) {
		conf.BrokerURL = strings.Replace(urls, "redis://", "redis://"+user+":secret@", 1)
		places := fromsettings.URLs(conf)
		places.BackendURL = conf.BrokerURL
		if err := places.Read(conf); err != nil {
			t.Fatal(err)
		}
		messages, _, err := places.RedisServers()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := messages.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		of := &redisbroker.Rights{Queues: []string{"celery"}, Exchanges: []string{"celery"}, Control: "celery", Events: "celeryev"}
		words, err = redisconn.Forbidden(t.Context(), conn, append(places.Redis.Consumer.Uses(role, of), places.Redis.Results.Uses(role)...))
		if err != nil {
			t.Fatal(err)
		}
		return words
	}
	optional := strings.Fields("on >secret -@dangerous +ping +eval +evalsha +select +info +client|id +client|unblock +unsubscribe +smembers " +
		"+psubscribe +punsubscribe +sismember +subscribe +publish")
	for role, rights := range documentedRights(t) {
		if role == "monitor" {
			continue
		}
		i.server.Do(t, "ACL", append([]any{"SETUSER", role}, rights...)...)
		if words := lacks(role, role); len(words) > 0 {
			t.Errorf("%s lacks %q", role, words)
		}
		for n, right := range rights {
			if slices.Contains(optional, right.(string)) {
				continue
			}
			i.server.Do(t, "ACL", append([]any{"SETUSER", "less", "reset"}, slices.Delete(slices.Clone(rights), n, n+1)...)...)
			if words := lacks("less", role); len(words) == 0 {
				t.Errorf("%s without %s lacks nothing", role, right)
			}
		}
	}
}
