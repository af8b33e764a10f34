package compat_test

import (
	"fmt"
	"strings"
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
				before := journal.intIn(t, 1, "LLEN", "done")
				eventually(t, patience, "work goes on", func() bool { return journal.intIn(t, 1, "LLEN", "done") > before+20 })
				stop(t, server)
				time.Sleep(time.Duration(300*round) * time.Millisecond) // an outage of some length
				server.start(t)
			}
			eventually(t, time.Minute, "all messages are settled", func() bool { return server.idle(t, "celery") })
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
			for _, line := range []string{"onnection", "econnect"} {
				if !w.log.contains(line) {
					t.Errorf("no %q in the log", line)
				}
			}
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestRedisRefuses starts workers on a Redis that cannot serve them: the log says
// why in words, and the exit code is not 0.
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
		url  string
		says []string // any of them
	}{
		"wrong password": {fmt.Sprintf("redis://:wrong@%s/0", locked.addr()), []string{"password"}},
		"no password":    {locked.url(0), []string{"password", "uthentication"}},
		"wrong database": {open.url(99), []string{"database"}},
		"read-only":      {replica.url(0), []string{"read-only", "read only", "replica"}},
		"out of memory":  {full.url(0), []string{"memory"}},
		"not a URL":      {"redis://%zz", []string{"URL", "url"}},
		"other broker":   {"amqp://guest@localhost//", []string{"amqp"}},
		"port in words":  {"redis://localhost:http/0", []string{"port"}},
		"nobody there":   {fmt.Sprintf("redis://127.0.0.1:%d/0", nobody), []string{"refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := launchWorker(t, app{broker: test.url})
			if name == "nobody there" {
				w.waitLog(t, "refused") // as Celery, it tries again until Redis is there
				w.signal(t, syscall.SIGTERM)
				w.exitCode(t)
				return
			}
			if code := w.exitCode(t); code == 0 {
				t.Errorf("exit code 0")
			}
			said := false
			for _, word := range test.says {
				said = said || w.log.contains(word)
			}
			if !said {
				t.Errorf("none of %q in the log", test.says)
			}
			for _, secret := range []string{"wrong@", "WRONG@"} {
				if strings.Contains(w.log.String(), secret) {
					t.Error("the password is in the log")
				}
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
			eventually(t, patience, "work goes on", func() bool { return journal.intIn(t, 1, "LLEN", "done") > 20 })
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
