package compat_test

import (
	"fmt"
	"syscall"
	"testing"
)

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
		"other broker":   {"sqs://guest@localhost//", "sqs", false},
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
