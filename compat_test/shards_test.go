package compat_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apium "github.com/apium/apium/app"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// TestWorkersOnTwoRedis has two workers in one process, each on a Redis of its own, as docs/scale.md has them: Celery's producers on
// either side get their results, a chain goes on where it began, and each side sees one worker.
func TestWorkersOnTwoRedis(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	reg.Register("tapp.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	sides := map[string]app{"orders": startRedis(t).app(), "mail": startRedis(t).app()}
	for name, side := range sides {
		conf := settings.Default()
		conf.BrokerURL, conf.ResultBackend = side.broker, side.backend
		w, err := apium.NewWorker(ctx, reg, conf, apium.Options{Hostname: name + "@h", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		workers.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for name, side := range sides {
		side.run(t, nil, `
import sys, tapp
from celery import chain, group
assert chain(tapp.add.s(1, 2), tapp.add.s(3))().get(timeout=tapp.PATIENCE) == 6
assert group(tapp.add.s(i, i) for i in range(20))().get(timeout=tapp.PATIENCE) == [2 * i for i in range(20)]
nodes = tapp.app.control.inspect(timeout=tapp.PATIENCE, limit=1).ping()
assert list(nodes) == [sys.argv[1] + "@h"], nodes
`, name)
	}
}

// shard is the flag for one of several brokers.
func (a app) shard(name string) string { return "--shard=" + name + "=" + a.broker + "," + a.backend }

// adds has Celery's producer of one side get what its worker has added, and asks which workers it sees.
const adds = `
import sys, tapp, time
from celery import chain
assert chain(tapp.add.s(1, 2), tapp.add.s(3))().get(timeout=tapp.PATIENCE) == 6
nodes, until = None, time.monotonic() + tapp.PATIENCE
while not nodes and time.monotonic() < until:  # a question is lost on who is about to listen again
    nodes = tapp.app.control.inspect(timeout=5, limit=1).ping()
assert [n.split("@")[0] for n in nodes] == [sys.argv[1]], nodes
`

// TestShards has one worker process on two Redis and RabbitMQ: each side's Celery sees one worker, which is its own. Whatever happens
// to one broker, from the start on, the others are served, and it is served again when it is back.
func TestShards(t *testing.T) {
	t.Parallel()
	orders, mail := startRedis(t), startRedis(t)
	orders.kill() // it is away when the worker starts
	rabbit := app{broker: rabbittest.New(t).URL(), backend: mail.url(2), journal: mail.url(1)}
	w := launch(t, workerBinary, nil, "worker", "-c", "2", "-l", "info", "--without-gossip", "--without-mingle", "--metrics-addr", "127.0.0.1:0",
		orders.app().shard("orders"), mail.app().shard("mail"), rabbit.shard("rabbit"))
	w.waitLog(t, "Metrics at ")
	metrics := metricsURL(t, w)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	up := func(shard string, n int) func() bool {
		return func() bool {
			return strings.Contains(get(metrics), fmt.Sprintf("celery_worker_up{hostname=%q,shard=%q} %d\n", host, shard, n))
		}
	}
	othersAreServed := func() {
		t.Helper()
		mail.app().run(t, nil, adds, "mail")
		rabbit.run(t, nil, adds, "rabbit")
		eventually(t, time.Minute, "figures of a shard that is away", up("orders", 0))
		eventually(t, time.Minute, "figures of the others", func() bool { return up("mail", 1)() && up("rabbit", 1)() })
		if ready := get(strings.TrimSuffix(metrics, "metrics") + "readyz"); ready != "ready\n" {
			t.Errorf("/readyz, while two of three are served: %s", ready)
		}
	}
	othersAreServed()
	orders.start(t)
	orders.app().run(t, nil, adds, "orders")
	eventually(t, time.Minute, "its figures", up("orders", 1))
	orders.kill()
	othersAreServed()
	orders.start(t)
	orders.app().run(t, nil, adds, "orders")

	mail.app().run(t, nil, `import tapp; tapp.app.control.shutdown()`) // it has answered to a ping
	w.waitLog(t, "Shard mail was shut down; the others go on shard=mail")
	orders.app().run(t, nil, adds, "orders")
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	for _, line := range []string{"Trying again in 2.00 seconds... (1/100) shard=orders\n", " ready. shard=rabbit\n", " received shard=mail\n"} {
		if !w.log.contains(line) {
			t.Errorf("the log has no line with %q", line)
		}
	}
}

// get reads a page; "" if that fails.
func get(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return ""
	}
	return string(page)
}

const shardedApp = `
import os
from celery import Celery

app = Celery("sharded", broker="redis://nobody.invalid", backend="redis://nobody.invalid")
version = open("version.txt").read()

@app.task
def where(before=()):
    return list(before) + [app.connection_for_read().port, version]

@app.task
def sends():
    return where.delay().id
`

// TestShardsOfChildren has the tasks of a Python app run for two Redis by one process, a set of children for each: what a child
// sends, and what it stores, is on the side that its task came from. SIGHUP has both load the app anew.
func TestShardsOfChildren(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sharded.py", shardedApp)
	write("version.txt", "1")
	orders, mail := startRedis(t), startRedis(t)
	w := start(t, "apium worker", folder, orders.app().env(t), apiumBinary, "-A", "sharded", "--python", app{}.python(), "worker", "-c", "1", "-l", "info",
		"--without-gossip", "--without-mingle", orders.app().shard("orders"), mail.app().shard("mail"))
	runs := func(version string, sides ...*redisServer) {
		t.Helper()
		for _, s := range sides {
			s.app().run(t, nil, `
import sys, tapp
from celery import chain
send = tapp.app.signature
side = [int(sys.argv[1]), sys.argv[2]]
assert chain(send("sharded.where"), send("sharded.where"))().get(timeout=tapp.PATIENCE) == side * 2
sent = send("sharded.sends").delay().get(timeout=tapp.PATIENCE)
assert tapp.app.AsyncResult(sent).get(timeout=tapp.PATIENCE) == side
`, strconv.Itoa(s.port), version)
		}
	}
	runs("1", orders, mail)
	orders.kill()
	runs("1", mail)
	orders.start(t)
	runs("1", orders, mail)
	write("version.txt", "2")
	w.signal(t, syscall.SIGHUP)
	for _, s := range []*redisServer{orders, mail} {
		s.app().run(t, nil, `
import time, tapp
until = time.monotonic() + tapp.PATIENCE
while tapp.app.signature("sharded.where").delay().get(timeout=tapp.PATIENCE)[1] != "2":
    assert time.monotonic() < until, "still the old code"
`)
	}
	runs("2", orders, mail)
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
