package compat_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/apium/apium/internal/certtest"
	"github.com/apium/apium/internal/rabbittest"
)

// documentedRights are the patterns that docs/security.md gives for a user: what it may configure, write and read.
func documentedRights(t *testing.T) (configure, write, read string) {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "rabbitmqctl set_permissions")
	patterns := regexp.MustCompile(`'(.*)'`).FindAllStringSubmatch(rest, 3)
	if len(patterns) != 3 {
		t.Fatalf("docs/security.md has the patterns %q", patterns)
	}
	return patterns[0][1], patterns[1][1], patterns[2][1]
}

// TestRightsOnRabbitMQ has workers, producers and operators do all they do as a user that has the documented rights and no others.
func TestRightsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			configure, write, read := documentedRights(t)
			a := server.app()
			a.broker, a.backend = server.vhost.User(t, "apium", configure, write, read), "rpc://"
			a.settings = map[string]any{"task_default_queue_type": kind, "broker_transport_options": map[string]any{"consumer_timeout": 2}}
			workers := map[string]*process{"children@h": a.startChildren(t, "-n", "children@h", "-Q", "celery.children", "-E")}
			workers["go@h"] = start(t, "go@h", "", []string{"JOURNAL=" + a.journal}, workerBinary, "worker", "-b", a.broker, "--result-backend", "rpc://",
				"-n", "go@h", "-Q", "celery.go", "-E", "-l", "info", "task_default_queue_type="+kind, "--broker-transport-options", `{"consumer_timeout": 2}`)
			workers["go@h"].waitLog(t, " ready.")
			a.settings = map[string]any{"task_default_queue_type": kind} // Celery's passes on what it does not know
			workers["py@h"] = start(t, "py@h", appDir, a.env(t), a.python(), celeryCommand(a.venv, []string{"worker", "-n", "py@h", "-Q", "celery.py", "-c", "1", "-E", "-l", "info"})...)
			workers["py@h"].waitLog(t, " ready.")
			a.run(t, nil, `
import tapp
from celery import chain
for queue in ("celery.py", "celery.go", "celery.children"):
    send = lambda task, *args, **options: task.apply_async(args, queue=queue, **options)
    assert chain(tapp.add.s(1, 2).set(queue=queue), tapp.add.s(3).set(queue=queue))().get(timeout=tapp.PATIENCE) == 6
    assert send(tapp.add, 1, 2, countdown=1).get(timeout=tapp.PATIENCE) == 3
    send(tapp.add, 1, 2, countdown=3600)
    assert send(tapp.nap_late, 3).get(timeout=tapp.PATIENCE) == 3
nodes = ["children@h", "go@h", "py@h"]
assert sorted(tapp.app.control.inspect(nodes, timeout=tapp.PATIENCE, limit=3).ping()) == nodes
`)
			for _, line := range []string{"status", "list queues", "purge -f", "dlq list", "send tapp.same x"} {
				command := start(t, line, "", nil, apiumBinary, append(strings.Fields(line), "-b", a.broker)...)
				if code := command.exitCode(t); code != 0 || command.log.contains("refused for user") {
					t.Errorf("%s ended with %d:\n%s", line, code, command.log.String())
				}
			}
			for node, w := range workers {
				w.signal(t, syscall.SIGTERM)
				if code := w.exitCode(t); code != 0 || w.log.contains("refused for user") || w.log.contains("ACCESS_REFUSED") {
					t.Errorf("%s ended with %d, or lacks a right", node, code)
				}
			}
		})
	}
}

// TestMayNotDeclareOnRabbitMQ: a user that may not declare anything uses what is there. Celery's worker ends.
func TestMayNotDeclareOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server := startRabbit(t)
	a := server.app()
	a.startWorker(t).kill()
	guest := a
	a.broker = server.vhost.User(t, "poor", "^$", ".*", ".*")
	python := start(t, "python worker", appDir, a.env(t), a.python(), celeryCommand(a.venv, []string{"worker", "-c", "1"})...)
	if code := python.exitCode(t); code != 1 || !python.log.contains("AccessRefused") {
		t.Errorf("Celery's worker ended with %d", code)
	}
	for name, begin := range map[string]func() *process{
		"Go": func() *process { return startWorker(t, a) }, "children": func() *process { return a.startChildren(t, "-E") },
	} {
		w := begin()
		guest.run(t, nil, `import tapp; assert tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE) == 3`)
		w.waitLog(t, "Queue celery must not be declared by this user, and is used if it is there: (403) ACCESS_REFUSED")
		w.waitLog(t, "pidbox: cannot hear remote control: (403) ACCESS_REFUSED")
		w.signal(t, syscall.SIGTERM)
		if code := w.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}

// TestRefusedByRabbitMQ has workers start with settings that RabbitMQ refuses, Celery's and ours. Ours ends, and says what is
// probably wrong.
func TestRefusedByRabbitMQ(t *testing.T) {
	t.Parallel()
	files, port := certtest.New(t), strconv.Itoa(freePort(t))
	rabbit := rabbittest.Start(t, rabbittest.Config("listeners.ssl.default = "+port, "ssl_options.cacertfile = "+files.CA,
		"ssl_options.certfile = "+files.ServerCert, "ssl_options.keyfile = "+files.ServerKey))
	elsewhere := rabbit.VHost(t)
	elsewhere.User(t, "user", ".*", ".*", ".*")
	at := func(scheme, user, addr string) func(*rabbittest.VHost) string {
		return func(v *rabbittest.VHost) string { return fmt.Sprintf("%s://%s@%s/%s", scheme, user, addr, v.Name) }
	}
	secure := at("amqps", "guest:guest", "localhost:"+port)
	ssl := func(options map[string]any) map[string]any { return map[string]any{"broker_use_ssl": options} }
	const invalid, untrusted = "CERTIFICATE_VERIFY_FAILED", "the server's certificate is not trusted: see ca_certs and cert_reqs of broker_use_ssl"
	for name, test := range map[string]struct {
		url      func(*rabbittest.VHost) string
		settings map[string]any
		celery   string
		ours     string
	}{
		"password":        {at("amqp", "guest:wrong", rabbit.Addr()), nil, "AccessRefused(403,", "the user name or the password is wrong"},
		"virtual host":    {func(*rabbittest.VHost) string { return elsewhere.URL() + "missing" }, nil, "missing not found", "there is no such virtual host: see rabbitmqctl list_vhosts"},
		"not in this one": {at("amqp", elsewhere.Name+"user:"+rabbittest.Password, rabbit.Addr()), nil, "refused for user", "the user has no rights in this virtual host"},
		"not the right": {
			func(v *rabbittest.VHost) string { return v.User(t, "poor", "^$", ".*", ".*") },
			nil, "AccessRefused(403,", "and it is not there (the user lacks a right: rabbitmqctl list_permissions shows what there is, docs/security.md what is needed)",
		},
		"type of queue": {
			(*rabbittest.VHost).URL,
			map[string]any{"task_default_queue": "q", "task_queues": map[string]any{"q": map[string]any{"queue_arguments": map[string]any{"x-queue-type": "qorum"}}}},
			"PreconditionFailed(406,", `unsupported queue type 'qorum'" (RabbitMQ has no queue of this kind: see task_queues`,
		},
		"not TLS":    {at("amqps", "guest:guest", rabbit.Addr()), nil, "SSL", "the server does not speak TLS on this port: use amqp:// instead of amqps://"},
		"unknown CA": {secure, nil, invalid, untrusted},
		"another CA": {secure, ssl(map[string]any{"ca_certs": files.OtherCA}), invalid, untrusted},
		"CA, name":   {secure, ssl(map[string]any{"ca_certs": files.CA, "server_hostname": "other"}), invalid, untrusted},
		"CA":         {secure, ssl(map[string]any{"ca_certs": files.CA, "server_hostname": "localhost"}), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := rabbit.VHost(t)
			a := app{broker: test.url(v), backend: "rpc://", settings: map[string]any{"broker_connection_timeout": 10}, module: "tapp"}
			maps.Copy(a.settings, test.settings)
			words := a.apiumCommand(nil, []string{"-n", "ours@h", "-c", "1", "-l", "info"})
			python := start(t, "python worker", appDir, a.env(t), a.python(), celeryCommand(a.venv, []string{"worker", "-n", "celerys@h", "-c", "1", "-l", "info"})...)
			apium := start(t, "apium worker", appDir, a.env(t), words[0], words[1:]...)
			if test.ours == "" {
				python.waitLog(t, " ready.")
				apium.waitLog(t, " ready.")
				a.run(t, nil, `import tapp; assert [r.get(timeout=tapp.PATIENCE) for r in [tapp.add.delay(1, 2) for _ in range(4)]] == [3] * 4`)
				return
			}
			python.waitLog(t, test.celery) // it may try again for ever
			if code := apium.exitCode(t); code == 0 || !apium.log.contains(test.ours) {
				t.Errorf("ours ended with %d, and does not say %q", code, test.ours)
			}
		})
	}
}
