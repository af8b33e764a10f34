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
)

// secret stands for all passwords of this test.
const secret = "Zq9xMARK"

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
func unusable(server, dead string) []string {
	return []string{
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
		"cache+memcached://u:" + secret + "@h", "mongodb://u:" + secret + "@h", "rpc://u:" + secret + "@h", "https://u:" + secret + "@h/",
	}
}

// TestSecretsAreNotShown: passwords are in no log, error, answer, figure nor command line, whatever goes wrong with what they are for.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	var s outputs
	server := startRedis(t)
	server.do(t, "CONFIG", "SET", "requirepass", secret)
	good := "redis://:" + secret + "@" + server.addr() + "/0"
	dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))

	t.Run("unusable", func(t *testing.T) {
		for i, url := range unusable(server.addr(), dead) {
			t.Run(fmt.Sprint("broker ", i), func(t *testing.T) {
				t.Parallel()
				env := []string{"CELERY_BROKER_URL=" + url}
				s.attempt(t, url, env, workerBinary, "worker", "-l", "debug")
				s.attempt(t, url, env, apiumBinary, "beat", "-l", "debug")
				s.attempt(t, url, env, apiumBinary, "status")
			})
		}
		for i, url := range unusableResults(server.addr(), dead) {
			t.Run(fmt.Sprint("results ", i), func(t *testing.T) {
				t.Parallel()
				env := []string{"CELERY_BROKER_URL=" + good, "CELERY_RESULT_BACKEND=" + url}
				s.attempt(t, url, env, workerBinary, "worker", "-l", "debug")
				s.attempt(t, url, env, apiumBinary, "result", "some-id", "--timeout", "0.1")
			})
		}
	})
	running(t, &s, server, good)
	if s.looked < 95 {
		t.Errorf("only %d outputs were looked at", s.looked)
	}
	for _, leak := range s.leaks {
		t.Error(leak)
	}
}

// running looks at workers that run, and at what goes wrong while they do.
func running(t *testing.T, s *outputs, server *redisServer, good string) {
	t.Helper()
	config := settingsFile(t, map[string]any{
		"broker_url": good, "result_backend": good, "broker_transport_options": map[string]any{"sentinel_kwargs": map[string]any{"password": secret}},
		"s3_secret_access_key": secret, "security_key_password": secret, "my_api_token": secret, "redis_password": secret,
		"beat_schedule": map[string]any{"e": map[string]any{"task": "tapp.add", "schedule": 1, "args": []any{1, 2}}},
	})
	w := start(t, "apium worker", "", nil, workerBinary, "worker", "-B", "-E", "-l", "debug", "-n", "go@h", "--config", config, "--metrics-addr", "127.0.0.1:0")
	a := app{broker: good, settings: map[string]any{"s3_secret_access_key": secret}}
	children := start(t, "apium worker", appDir, a.env(t), apiumBinary, "-A", "tapp", "--python", a.python(), "worker", "-c", "1", "-l", "debug", "-n", "children@h")
	w.waitLog(t, " ready.")
	children.waitLog(t, " ready.")
	w.waitLog(t, "succeeded in")

	env := append(os.Environ(), "CELERY_BROKER_URL="+good, "CELERY_RESULT_BACKEND="+good)
	var asked []*process
	for _, line := range []string{
		"inspect conf", "inspect conf --json", "inspect stats", "inspect report", "report", "status", "list queues", "beat list", "dlq list", "send tapp.add 1 2",
		"report --config " + config, "inspect conf --config " + config, "control rate_limit tapp.add 1/zz",
	} {
		asked = append(asked, start(t, "apium "+line, "", env, apiumBinary, strings.Fields(line)...))
	}
	for _, p := range asked {
		eventually(t, patience, p.name+" ends", p.stopped)
		s.look(p.name, p.log.String())
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
		if text, err := os.ReadFile(line); err == nil { // else it has ended
			s.look(line, string(text))
		}
	}
	for _, p := range []*process{w, children} {
		p.signal(t, syscall.SIGUSR1) // all stacks
	}
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
