package compat_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/rabbittest"
)

// secret stands for all passwords of this test.
const secret = rabbittest.Password

// outputs are what the secret must not be in.
type outputs struct {
	mu     sync.Mutex
	leaks  []string
	looked int
}

func (s *outputs) look(where, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked++
	if text == "" {
		s.leaks = append(s.leaks, where+": nothing, so that it shows nothing")
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, secret) {
			s.leaks = append(s.leaks, where+": "+tail(line, 400))
		}
	}
}

// attempt runs a program that cannot do what it is to do until it says so.
func (s *outputs) attempt(t *testing.T, url string, env []string, program string, args ...string) {
	t.Helper()
	p := start(t, "apium "+args[0], "", env, program, args...)
	eventually(t, patience, url+": it says something", func() bool {
		return p.stopped() || p.log.contains("ERROR") || p.log.contains("CRITICAL") || p.log.contains(" ready.")
	})
	p.kill()
	s.look(url+": "+strings.Join(args, " "), p.log.String())
}

// unusable are URLs of brokers that cannot be used, each for another reason.
func unusable(server, dead, rabbit string) []string {
	return []string{
		"redis://u:12/" + secret + "@h/0", "amqp://u:12/" + secret + "@h//", "amqp://guest:" + secret + "@" + rabbit + "//", "amqp://u:" + secret + "@" + rabbit + "//",
		"redis://:" + secret + "@" + dead + "/0", "redis://u:" + secret + "@" + server + "/0", "redis://:x" + secret + "@" + server + "/0",
		"redis://:" + secret + "@127.0.0.1:nope/0", "redis://:" + secret + "%zz@h/0", "redis://:" + secret + "@" + server + "/notadb",
		"redis://" + server + "/0?password=x" + secret, "rediss://:" + secret + "@" + dead + "/0?ssl_cert_reqs=none", "rediss://:" + secret + "@h/0",
		"redis://h:" + secret + "@x:y@z/0", "redis//:" + secret + "@h/0", "//u:" + secret + "@h/0", "http://u:" + secret + "@h/0", "sqs://u:" + secret + "@",
		"amqp://u:" + secret + "@" + dead + "//", "amqp://u:" + secret + "@127.0.0.1:nope//", "amqp://u:" + secret + "%zz@h//", "amqps://u:" + secret + "@" + dead + "//",
		"sentinel://:" + secret + "@" + dead + "/0", "redis+socket://:" + secret + "@/none.sock", "redis+socket:///none.sock?password=" + secret,
		"redis://u:" + secret + "@[::1/0", "redis://u:" + secret + "#@h/0", "redis://u:" + secret + "/x@" + server + "/0", "redis://u:" + secret + "?@h/0",
	}
}

// unusableResults are the same for result backends.
func unusableResults(server, dead string) []string {
	return []string{
		"redis://:x" + secret + "@" + server + "/1", "db+postgresql://u:" + secret + "@" + dead + "/x", "db+postgresql://u:" + secret + "@" + dead + "/x?sslmode=bad",
		"db+mysql://u:" + secret + "@" + dead + "/x", "django-db+postgresql://u:" + secret + "@127.0.0.1:nope/x", "db+oracle://u:" + secret + "@h/x",
		"redis://u:12/" + secret + "@h/0", "redis://" + server + "/1?password=x" + secret, "db+postgresql://u:12/" + secret + "@h/x",
		"cache+memcached://u:" + secret + "@h", "mongodb://u:" + secret + "@h", "rpc://u:" + secret + "@h", "https://u:" + secret + "@h/",
	}
}

// unusableFiles are settings that cannot be read, or not be used.
func unusableFiles(dead string) []string {
	url := "redis://u:" + secret + "@" + dead + "/0"
	return []string{
		`{"broker_url": "` + url + `", "oops"}`, `{"broker_url": {"a": "` + url + `"}}`, `{"broker_url": ["` + url + `", 5]}`, `{"broker_url": "` + url + `", "brokr_url": "` + url + `"}`,
		`{"broker_url": "` + url + `", "broker_transport_options": "` + secret + `"}`, `{"broker_url": "` + url + `", "broker_transport_options": {"password": ["` + secret + `"]}}`,
		`{"broker_url": "` + url + `", "redis_password": ["` + secret + `"]}`, `{"broker_url": "` + url + `", "broker_password": {"x": "` + secret + `"}}`,
		`{"broker_read_url": "` + url + `", "broker_write_url": ["` + url + `"], "result_backend": ["` + url + `"]}`, `{"BROKER_URL": "` + url + `", "broker_url": "x` + url + `"}`,
		`{"broker_url": "sentinel://:` + secret + `@` + dead + `;` + url + `"}`, `{"broker_url": "` + url + `", "beat_schedule": {"e": {"task": 5, "schedule": "` + url + `"}}}`,
		`{"broker_url": "` + url + `", "broker_use_ssl": {"keyfile_password": "` + secret + `", "ssl_keyfile": "/none"}, "mongodb_backend_settings": {"host": "` + url + `"}}`,
		"broker_url = \"" + url + "\" oops", "broker_url = " + url, "broker_url: \"" + url + "\" oops", "broker_url: \"" + url + "\nx: [",
	}
}

// TestSecretsAreNotShown: passwords are in no log, error, answer, figure, event nor command line, whatever goes wrong with what they are for.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	var s outputs
	server := startRedis(t)
	server.do(t, "CONFIG", "SET", "requirepass", secret)
	good := "redis://:" + secret + "@" + server.addr() + "/0"
	dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))

	vhost := rabbittest.New(t)

	t.Run("unusable", func(t *testing.T) {
		for i, url := range unusable(server.addr(), dead, vhost.Server().Addr()) {
			t.Run(fmt.Sprint("broker ", i), func(t *testing.T) {
				t.Parallel()
				env := []string{"CELERY_BROKER_URL=" + url}
				s.attempt(t, url, env, workerBinary, "worker", "-l", "debug")
				s.attempt(t, url, env, apiumBinary, "beat", "-l", "debug")
				s.attempt(t, url, env, apiumBinary, "status")
				s.attempt(t, url, env, apiumBinary, "doctor", "-t", "0.1")
				s.attempt(t, url, env, apiumBinary, "report")
				if i%5 == 4 {
					a := app{broker: url}
					s.attempt(t, url, append(a.env(t), "PYTHONPATH="+appDir), apiumBinary, "-A", "tapp", "--python", a.python(), "worker", "-l", "debug")
				}
			})
		}
		for i, url := range unusableResults(server.addr(), dead) {
			t.Run(fmt.Sprint("results ", i), func(t *testing.T) {
				t.Parallel()
				env := []string{"CELERY_BROKER_URL=" + good, "CELERY_RESULT_BACKEND=" + url}
				s.attempt(t, url, env, workerBinary, "worker", "-l", "debug")
				s.attempt(t, url, env, apiumBinary, "result", "some-id", "--timeout", "0.1")
				s.attempt(t, url, env, apiumBinary, "doctor", "-t", "0.1")
				s.attempt(t, url, env, apiumBinary, "report")
			})
		}
		for i, text := range unusableFiles(dead) {
			t.Run(fmt.Sprint("file ", i), func(t *testing.T) {
				t.Parallel()
				ending := ".json"
				if !strings.HasPrefix(text, "{") {
					ending = []string{".toml", ".yaml"}[i%2]
				}
				file := filepath.Join(t.TempDir(), "celery"+ending)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				s.attempt(t, text, nil, workerBinary, "worker", "-l", "debug", "--config", file)
				s.attempt(t, text, nil, apiumBinary, "doctor", "-t", "0.1", "--config", file)
				s.attempt(t, text, nil, apiumBinary, "report", "--config", file)
			})
		}
		for _, options := range []string{secret, "password=" + secret, `{"password": "` + secret, `{"password": ["` + secret + `"]}`, `["` + secret + `"]`} {
			env := []string{"CELERY_BROKER_URL=redis://" + dead, "CELERY_BROKER_TRANSPORT_OPTIONS=" + options, "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS=" + options}
			s.attempt(t, options, env, apiumBinary, "report")
			s.attempt(t, options, env, workerBinary, "worker", "-l", "debug")
		}
	})
	running(t, &s, server, good)
	runningOnRabbit(t, &s, vhost)
	if s.looked < 250 {
		t.Errorf("only %d outputs were looked at", s.looked)
	}
	for _, leak := range s.leaks {
		t.Error(leak)
	}
}

// running looks at workers that run, and at what goes wrong while they do.
func running(t *testing.T, s *outputs, server *redisServer, good string) {
	t.Helper()
	heard := server.overhear(t, secret)
	query := "redis://" + server.addr() + "/0?password=" + secret
	config := settingsFile(t, map[string]any{
		"broker_url": good + ";" + good, "result_backend": query, "mongodb_backend_settings": map[string]any{"host": good},
		"broker_transport_options": map[string]any{"sentinel_kwargs": map[string]any{"password": secret}},
		"s3_secret_access_key":     secret, "security_key_password": secret, "my_api_token": secret, "redis_password": secret,
		"beat_schedule": map[string]any{"e": map[string]any{"task": "tapp.add", "schedule": 1, "args": []any{1, 2}}},
	})
	w := start(t, "apium worker", "", nil, workerBinary, "worker", "-B", "-E", "-l", "debug", "-n", "go@h", "--config", config, "--metrics-addr", "127.0.0.1:0")
	a := app{broker: good, settings: map[string]any{"s3_secret_access_key": secret}}
	children := start(t, "apium worker", appDir, a.env(t), apiumBinary, "-A", "tapp", "--python", a.python(), "worker", "-c", "1", "-E", "-l", "debug", "-n", "children@h") // either may run what is sent
	w.waitLog(t, " ready.")
	children.waitLog(t, " ready.")
	w.waitLog(t, "succeeded in")

	env := append(os.Environ(), "CELERY_BROKER_URL="+good, "CELERY_RESULT_BACKEND="+query)
	events := start(t, "apium events", "", env, apiumBinary, "events", "--json")
	events.waitLog(t, "worker-heartbeat")
	var asked []*process
	for _, line := range []string{
		"inspect conf", "inspect conf --json", "inspect stats", "inspect report", "report", "status", "list queues", "beat list", "dlq list", "send tapp.add 1 2",
		"doctor -t 0.1", "doctor --json -t 0.1 --config " + config, "--help", "worker --help", "beat --help", "inspect registered", "inspect active_queues", "list bindings", "unpark",
		"send tapp.throw builtins ValueError x", "result no-such --timeout 0.1",
		"report --config " + config, "inspect conf --config " + config, "control rate_limit tapp.add 1/zz",
	} {
		asked = append(asked, start(t, "apium "+line, "", env, apiumBinary, strings.Fields(line)...))
	}
	events.waitLog(t, "task-failed") // before what is sent may be purged
	asked = append(asked, start(t, "apium purge -f", "", env, apiumBinary, "purge", "-f"))
	for _, p := range asked {
		eventually(t, patience, p.name+" ends", p.stopped)
		s.look(p.name, p.log.String())
		if (p.name == "apium report" || p.name == "apium inspect conf") && strings.Count(p.log.String(), "********") < 2 {
			t.Errorf("%s masks nothing:\n%s", p.name, p.log.String())
		}
	}
	for _, page := range []string{metricsURL(t, w), strings.Replace(metricsURL(t, w), "/metrics", "/readyz", 1)} {
		response, err := http.Get(page)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		s.look(page, string(text))
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if text, err := os.ReadFile(line); err == nil && len(text) > 0 { // else it has ended, or is the kernel's
			s.look(line, string(text))
		}
	}
	for _, p := range []*process{w, children} {
		p.signal(t, syscall.SIGUSR1) // all stacks
	}
	s.look("what Redis is told", heard())
	events.kill()
	s.look(events.name, events.log.String())
	server.doAs(t, secret, "CONFIG", "SET", "requirepass", "another")
	server.doAs(t, "another", "CLIENT", "KILL", "TYPE", "normal")
	server.doAs(t, "another", "CLIENT", "KILL", "TYPE", "pubsub")
	for _, p := range []*process{w, children} {
		p.waitLog(t, "WRONGPASS")
	}
	server.kill()
	for _, p := range []*process{w, children} {
		p.waitLog(t, "connection refused")
		p.signal(t, syscall.SIGTERM)
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
	}
	for _, p := range []*process{w, children} {
		eventually(t, patience, "it ends", p.stopped)
		s.look(p.name, p.log.String())
	}
}

// overhear notes all that a server with a password is told from now on, but that password, until the notes are asked for.
func (s *redisServer) overhear(t *testing.T, password string) (heard func() string) {
	t.Helper()
	conn, err := redis.Dial("tcp", s.addr(), redis.DialPassword(password))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Do("MONITOR"); err != nil {
		t.Fatal(err)
	}
	notes := make(chan string)
	go func() {
		var b strings.Builder
		for {
			line, err := redis.String(redis.ReceiveWithTimeout(conn, 0))
			if err != nil {
				notes <- b.String()
				return
			}
			b.WriteString(line + "\n")
		}
	}()
	return func() string { conn.Close(); return <-notes }
}

// runningOnRabbit looks at workers of RabbitMQ that lose it, and are not let in again.
func runningOnRabbit(t *testing.T, s *outputs, vhost *rabbittest.VHost) {
	t.Helper()
	a := app{broker: vhost.User(t, "worker", ".*", ".*", ".*"), backend: "rpc://"}
	workers := []*process{
		start(t, "apium worker", "", []string{"CELERY_BROKER_URL=" + a.broker}, workerBinary, "worker", "-B", "-E", "-l", "debug", "-n", "go@h"),
		start(t, "apium worker", appDir, a.env(t), apiumBinary, "-A", "tapp", "--python", a.python(), "worker", "-c", "1", "-l", "debug", "-n", "children@h"),
	}
	for _, w := range workers {
		w.waitLog(t, " ready.")
	}
	for _, line := range []string{"inspect stats --json", "inspect conf", "doctor", "status", "list queues"} {
		p := start(t, "apium "+line, "", []string{"CELERY_BROKER_URL=" + a.broker}, apiumBinary, strings.Fields(line)...)
		eventually(t, patience, p.name+" ends", p.stopped)
		s.look(p.name, p.log.String())
	}
	vhost.ChangePassword(t, "worker", "another")
	vhost.CloseConnections(t)
	for _, w := range workers {
		w.waitLog(t, "password not allowed")
		w.signal(t, syscall.SIGUSR1)
		_ = w.cmd.Process.Signal(syscall.SIGQUIT)
		eventually(t, patience, "it ends", w.stopped)
		s.look(w.name, w.log.String())
	}
}
