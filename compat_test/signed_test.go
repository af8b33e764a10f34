package compat_test

import (
	"syscall"
	"testing"
)

// Messages of tasks are signed and verified in Python; one that is not signed is not run. Remote control and what workers
// say to each other is signed by Celery, too, and verified: ours takes part, in both roles.
func TestSignedMessages(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(0), module: "signed", variables: []string{"KEYS=" + t.TempDir()}}
			python := start(t, "python worker", appDir, a.env(t), a.python(), "-m", "celery", "-A", "signed", "worker", "-c", "1", "-l", "info", "-n", "py@h", "-Q", "theirs")
			python.waitLog(t, " ready.")
			w := a.startChildren(t, "-n", "go@h")
			python.waitLog(t, "sync with go@h")
			var got []any
			a.run(t, &got, `
import json, signed
from signed import app, add, add_later
def outcome(result):
    try: return result.get(timeout=60)
    except Exception as exc: return type(exc).__name__
later = add_later.delay(3, 4).get(timeout=60)
replies = app.control.inspect(timeout=60, limit=2).ping()
print(json.dumps([outcome(add.delay(1, 2)), outcome(app.AsyncResult(later)), outcome(add.apply_async((5, 6), serializer="json")), sorted(replies)]))`)
			if text := toJSON(t, got); text != `[3,7,"ContentDisallowed",["go@h","py@h"]]` {
				t.Errorf("outcomes: %s", text)
			}
			if sum := a.command(t, "call signed.add 3 5 --wait --timeout 60"); sum.status != 0 || sum.stdout != "8\n" {
				t.Errorf("apium call: %d\n%s%s", sum.status, sum.stdout, sum.stderr)
			}
			ask := start(t, "apium inspect", appDir, a.env(t), apiumBinary, "-A", "signed", "--python", a.python(), "inspect", "ping", "-t", "60", "-d", "go@h,py@h")
			if code := ask.exitCode(t); code != 0 || ask.log.count(": OK") != 2 {
				t.Errorf("apium inspect ping: %d\n%s", code, ask.log)
			}
			a.run(t, nil, `
import os, kombu, kombu.pidbox
with kombu.Connection(os.environ["BROKER"]) as c:
    kombu.pidbox.Mailbox("celery", accept=["json"], serializer="json")(c)._broadcast("shutdown", {}, serializer="json")`)
			w.waitLog(t, "Refusing to deserialize")
			if w.stopped() || python.stopped() {
				t.Error("a command that is not signed was obeyed")
			}
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit status %d", code)
			}
			if !w.log.contains("mingle: sync with 1 nodes") || w.log.contains("gossip: ") || w.log.contains("not signed here") {
				t.Errorf("log:\n%s", w.log)
			}
		})
	}
}

// Go handlers run what is signed, and refuse what is not or wrongly; what they send on is signed, and so is what a beat sends.
func TestSignedMessagesInGo(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(0), module: "signed", variables: []string{"KEYS=" + t.TempDir(), "GO_TASKS=^tapp.add$"}}
			w := start(t, "apium worker", appDir, a.env(t), workerBinary, "-A", "signed", "--python", a.python(), "worker", "-c", "1", "-l", "info")
			w.waitLog(t, " ready.")
			var got []any
			a.run(t, &got, `
import json, signed
from kombu.serialization import registry
from signed import app, add, add_in_go
def outcome(result):
    try: return result.get(timeout=60)
    except Exception as exc: return type(exc).__name__
found = [outcome(add_in_go.delay(1, 2)), outcome((add.s(1, 2) | add_in_go.s(4) | add.s(8))()), outcome(add_in_go.apply_async((5, 6), serializer="json"))]
signer = registry._encoders["auth"].encoder.__self__
signer._key.sign = lambda data, digest, sign=signer._key.sign: sign(data + b" ", digest)
found.append(outcome(add_in_go.delay(1, 2)))
print(json.dumps(found))`)
			if text := toJSON(t, got); text != `[3,15,"ContentDisallowed","DecodeError"]` {
				t.Errorf("outcomes: %s", text)
			}
			beat := start(t, "apium beat", appDir, a.env(t), apiumBinary, "-A", "signed", "--python", a.python(), "beat", "-l", "info")
			w.waitLog(t, "s: 42")
			beat.signal(t, syscall.SIGTERM)
			w.signal(t, syscall.SIGTERM)
			for _, p := range []*process{beat, w} {
				if code := p.exitCode(t); code != 0 {
					t.Errorf("exit status of %s: %d", p.name, code)
				}
			}
		})
	}
}
