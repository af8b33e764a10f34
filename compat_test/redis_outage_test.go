package compat_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestRedisRestarts stops Redis and starts it again while tasks run: nothing is
// lost, every result is stored, and the log says what happened.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*testing.T, *redisServer){
		"SIGTERM": func(t *testing.T, s *redisServer) {
			t.Helper()
			s.signal(t, syscall.SIGTERM)
			s.exitCode(t)
		},
		"SIGKILL": func(_ *testing.T, s *redisServer) { s.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
			journal := startRedis(t) // a Redis that stays, for what the tasks write down
			a := app{broker: server.url(0), journal: journal.url(1)}
			const n = 400
			load(t, a, "tapp.work_late", n, 0.02, nil)
			w := startWorker(t, a)
			for round := range 3 {
				before := journal.journalLen(t, "done")
				eventually(t, patience, "work goes on", func() bool { return journal.journalLen(t, "done") > before+20 })
				stop(t, server)
				time.Sleep(time.Duration(300*round) * time.Millisecond) // an outage of some length
				server.start(t)
			}
			eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
			j := readJournal(t, journal)
			if lost := j.lost(n); len(lost) > 0 {
				t.Errorf("%d tasks lost: %v", len(lost), lost)
			}
			if results := len(server.strings(t, "KEYS", "celery-task-meta-*")); results != n {
				t.Errorf("%d results of %d tasks", results, n)
			}
			t.Logf("%d runs too many", doubled(j.started))
			if most := 3 * 2 * 4; doubled(j.started) > most {
				t.Errorf("%d runs too many", doubled(j.started))
			}
			if lost, made := w.log.count("Connection to broker lost"), w.log.count("Connected to"); lost < 3 || made < 3 {
				t.Errorf("the log says %d times that the connection was lost, %d times that it was made", lost, made)
			}
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestRedisRefuses starts workers on a Redis that cannot serve them. The log says
// why in words. A wrong configuration ends the worker with an exit code; where Redis
// may recover, it tries again, as Celery does.
func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	locked := startRedis(t, "--requirepass", "right")
	open := startRedis(t)
	replica := startRedis(t)
	replica.do(t, "REPLICAOF", "127.0.0.1", fmt.Sprint(open.port))
	full := startRedis(t)
	full.do(t, "CONFIG", "SET", "maxmemory", "1")
	nobody := freePort(t)
	for name, test := range map[string]struct {
		url     string
		says    string
		retries bool
	}{
		"wrong password": {fmt.Sprintf("redis://:wrong@%s/0", locked.addr()), "password", false},
		"no password":    {locked.url(0), "uthentication", false},
		"wrong database": {open.url(99), "DB index is out of range", false},
		"other broker":   {"amqp://guest@localhost//", "amqp", false},
		"port in words":  {"redis://localhost:http/0", "port", false},
		"read-only":      {replica.url(0), "read only replica", true},
		"out of memory":  {full.url(0), "maxmemory", true},
		"nobody there":   {fmt.Sprintf("redis://127.0.0.1:%d/0", nobody), "refused", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := launchWorker(t, app{broker: test.url})
			w.waitLog(t, test.says)
			if test.retries {
				w.waitLog(t, "Trying again in")
				w.signal(t, syscall.SIGTERM)
			}
			if code := w.exitCode(t); (code == 0) != test.retries {
				t.Errorf("exit code %d", code)
			}
			if w.log.contains(":wrong@") {
				t.Error("the password is in the log")
			}
		})
	}
}

// TestRedisRefusesLater lets a running worker meet a Redis that has become full, or
// a replica: it waits, says why, and goes on when Redis does.
func TestRedisRefusesLater(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refuse, serve []any
		says          string
	}{
		"out of memory": {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}, "memory"},
		"read-only":     {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}, "read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, journal := startRedis(t), startRedis(t)
			a := app{broker: server.url(0), journal: journal.url(1)}
			load(t, a, "tapp.work_late", 200, 0.01, nil)
			w := startWorker(t, a)
			eventually(t, patience, "work goes on", func() bool { return journal.journalLen(t, "done") > 20 })
			server.do(t, test.refuse[0].(string), test.refuse[1:]...)
			w.waitLog(t, test.says)
			server.do(t, test.serve[0].(string), test.serve[1:]...)
			eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
			j := readJournal(t, journal)
			if lost := j.lost(200); len(lost) > 0 || doubled(j.started) > 0 {
				t.Errorf("lost %v, %d runs too many", lost, doubled(j.started))
			}
			if results := len(server.strings(t, "KEYS", "celery-task-meta-*")); results != 200 {
				t.Errorf("%d results of 200 tasks", results)
			}
		})
	}
}
