package compat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/internal/doctor"
	"github.com/apium/apium/internal/rabbittest"
)

// doctor runs apium doctor beside the app.
func (a app) doctor(t *testing.T, args ...string) *process {
	t.Helper()
	args = append([]string{"-A", "tapp", "--python", a.python(), "doctor", "--timeout", "5"}, args...)
	return start(t, "doctor", appDir, a.env(t), apiumBinary, args...)
}

// examined is what it says in JSON, and how it ends.
func (a app) examined(t *testing.T) (r doctor.Report, status int) {
	t.Helper()
	p := a.doctor(t, "--json")
	status = p.exitCode(t)
	if err := json.Unmarshal([]byte(p.log.String()), &r); err != nil {
		t.Fatal(err)
	}
	return r, status
}

// wantFindings checks what each check has found; "" is nothing.
func wantFindings(t *testing.T, r doctor.Report, want map[string]string) {
	t.Helper()
	for check, says := range want {
		found := ""
		for _, f := range r.Findings {
			if f.Check == check {
				found += fmt.Sprintf("%s: %s %q\n", f.Severity, f.Title, f.Details)
			}
		}
		for part := range strings.SplitSeq(says, "|") {
			if says == "" && found != "" || !strings.Contains(found, part) {
				t.Errorf("%s: %q is not in\n%s", check, part, found)
			}
		}
	}
}

// shifted is an environment in which Python's clock is so many seconds ahead.
func shifted(t *testing.T, seconds int) []string {
	t.Helper()
	dir := t.TempDir()
	code := fmt.Sprintf("import time\nreal = time.time\ntime.time = lambda: real() + %d\n", seconds)
	if err := os.WriteFile(filepath.Join(dir, "sitecustomize.py"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"PYTHONPATH=" + dir}
}

// TestDoctorInAnIllFleet has workers of each Celery and ours on one Redis, with different settings, clocks and tasks, of which one was
// killed.
func TestDoctorInAnIllFleet(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--appendonly", "yes")
	a := server.app()
	launch := func(venv, node, queue string, settings map[string]any, variables ...string) *process {
		b := a
		b.venv, b.settings, b.variables = venv, settings, variables
		return start(t, node, appDir, b.env(t), b.python(), celeryCommand(venv, []string{"worker", "-n", node, "-Q", queue, "-c", "1", "-l", "info"})...)
	}
	fleet := []*process{
		launch(celery57, "early@h", "celery", nil, shifted(t, 100)...),
		launch(celery52, "late@h", "celery", map[string]any{"broker_transport_options": map[string]any{"visibility_timeout": 100}}, shifted(t, -100)...),
		launch(celery44, "old@h", "celery", nil),
		launch(celery44, "gone@h", "lost", nil),
	}
	for _, p := range fleet {
		p.waitLog(t, " ready.")
	}
	startWorker(t, a, "-n", "go@h")
	a.run(t, nil, `
import tapp
tapp.wait_late.apply_async(("k",), queue="lost", task_id="held-by-the-dead")
tapp.add.apply_async((1, 2), queue="nobodys")
tapp.add.apply_async((1, 2), queue="nobodys")
`)
	eventually(t, patience, "the task has started", func() bool { return server.journalLen(t, "started") == 1 })
	fleet[3].kill()
	r, status := a.examined(t)
	if status != 1 {
		t.Errorf("status %d", status)
	}
	wantFindings(t, r, map[string]string{
		"unacked":            "warning: 1 message is unacked|tapp.wait_late held-by-the-dead",
		"queues":             "nobodys: 2 messages wait",
		"clocks":             "late@h is at least | s behind|early@h is at least | s ahead",
		"silent-workers":     "",
		"visibility-timeout": "100 s: late@h|3600 s: ",
		"versions":           "Celery 5.2.7: late@h|Celery 4.4.7: old@h",
		"tasks":              "not known to go@h (Apium (devel)): tapp.python_only",
		"one-kind":           "only Python's workers: tapp.python_only",
		"redis-persistence":  "", "redis-eviction": "", "rights": "", "content": "", "dead-letters": "", "settings-apart": "",
	})
	if len(r.Unseen) > 0 {
		t.Errorf("not looked at: %v", r.Unseen)
	}
}

// TestDoctorIsContent has a worker of Celery's and one of ours with the same app: there is nothing to say, and little is said.
func TestDoctorIsContent(t *testing.T) {
	t.Parallel()
	for kind, on := range map[string]brokerKind{"Redis": startRedis, "RabbitMQ": startRabbit} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := on(t, "--appendonly", "yes").app()
			python := start(t, "celery", appDir, a.env(t), a.python(), celeryCommand(a.venv, []string{"worker", "-n", "py@h", "-c", "1", "-l", "info"})...)
			a.startChildren(t, "-n", "go@h")
			python.waitLog(t, " ready.")
			p := a.doctor(t, "--strict")
			status, said := p.exitCode(t), strings.Split(strings.TrimSpace(p.log.String()), "\n")
			want := fmt.Sprintf("All is well: %d checks, nothing to do.", len(doctor.Checks()))
			if status != 0 || len(said) != 4 || !strings.HasPrefix(said[0], kind+" ") || said[3] != want ||
				said[1] != "1 worker of Celery, 1 of Apium; 1 queue, 0 messages waiting" {
				t.Errorf("status %d:\n%s", status, strings.Join(said, "\n"))
			}
		})
	}
}

// TestDoctorOnRabbitMQ finds what is wrong there.
func TestDoctorOnRabbitMQ(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	rabbit := rabbittest.Start(t)
	a := redis.app()
	vhost := rabbit.VHost(t)
	a.broker = vhost.URL()
	a.settings = map[string]any{"task_routes": map[string]any{"tapp.add": map[string]any{"queue": "mail"}}}
	a.run(t, nil, `import tapp; tapp.add.delay(1, 2)`)
	startWorker(t, a, "-n", "go@h")
	r, status := a.examined(t)
	if status != 1 {
		t.Errorf("status %d", status)
	}
	wantFindings(t, r, map[string]string{"queues": "mail: 1 message waits", "rabbitmq-blocked": "", "workers": ""})

	// A user with no right at all is told what it may not see, and does not wait for what it cannot hear.
	rich := a.broker
	a.broker = vhost.User(t, "poor", "^$", "^$", "^$")
	r, _ = a.examined(t)
	for _, what := range []string{"workers", "the clocks of the workers"} {
		if !slices.ContainsFunc(r.Unseen, func(u doctor.Unseen) bool { return u.What == what && strings.Contains(u.Why, "refused for user") }) {
			t.Errorf("%s is not in %+v", what, r.Unseen)
		}
	}
	a.broker = rich

	rabbit.Alarm(t)
	r, _ = a.examined(t)
	wantFindings(t, r, map[string]string{"rabbitmq-blocked": "low on memory"})

	a.broker = strings.Replace(a.broker, "guest:guest", "guest:wrong", 1)
	r, status = a.examined(t)
	wantFindings(t, r, map[string]string{"broker": "the user name or the password is wrong"})
	if status != 69 {
		t.Errorf("a wrong password: status %d", status)
	}
}
